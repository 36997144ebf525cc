//! What a provider is asked to run: a service and a job, out of the author's manifest or the usual ones.

use tradewind_core::{
    manifest::{self, Manifest, Resolved},
    plugin::Features,
    workload::{EnvValue, EnvVar, Run},
};
use tradewind_manifest::Format;

/// The variable by which versions of the workload differ.
pub(crate) const MARK: &str = "CONFORMANCE";

/// Plain commands that every POSIX machine has.
const USUAL: &str = r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: conformance}
spec:
  services:
    service:
      command: [sh, -c, 'echo "conformance $CONFORMANCE"; exec sleep 3600']
      resources: {cpu: 10m, memory: 16Mi}
  jobs:
    job: {command: [sh, -c, 'exit 0'], resources: {cpu: 10m, memory: 16Mi}}
"#;

/// A service and a job to try a provider with.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    pub(crate) service: Option<Resolved>,
    pub(crate) job: Option<Resolved>,
    /// They are known to write a line with the mark's value.
    pub(crate) speak: bool,
}

impl Tasks {
    /// The first service and the first job of a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        let all = manifest::resolve(manifest);
        let first = |service: bool| {
            all.iter()
                .find(|task| (task.workload.run == Run::Service) == service)
                .cloned()
        };
        Self {
            service: first(true),
            job: first(false),
            speak: false,
        }
    }

    /// Plain commands, for a provider that runs those; nothing for another.
    pub(crate) fn usual(features: Features) -> Self {
        match tradewind_manifest::parse(USUAL.as_bytes(), Format::Yaml) {
            Ok(manifest) if features.commands => Self {
                speak: true,
                ..Self::of(&manifest)
            },
            _ => Self::default(),
        }
    }
}

/// Makes another version of a workload.
pub(crate) fn mark(env: &mut Vec<EnvVar>, value: &str) {
    env.retain(|var| var.name != MARK);
    env.push(EnvVar {
        name: MARK.to_owned(),
        value: EnvValue::Text(value.to_owned()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_tasks_are_a_valid_manifest() {
        let tasks = Tasks::usual(Features {
            commands: true,
            ..Features::default()
        });
        assert!(tasks.service.is_some() && tasks.job.is_some());
        assert!(Tasks::usual(Features::default()).service.is_none());
    }
}
