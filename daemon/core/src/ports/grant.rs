//! Grants: the operator's permission for a plugin instance to use a capability, with limits. Nothing is open by default.

mod aws;
mod containers;
mod http;
mod kubernetes;
pub mod pattern;
mod process;
mod spaces;

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    aws::{AwsChain, AwsCredentials, AwsGrant},
    containers::{ContainersGrant, RegistryGrant, RegistrySource},
    http::{AwsSigv4, CredentialGrant, GoogleServiceAccount, HttpGrant, Injection, Oauth2},
    kubernetes::KubernetesGrant,
    process::{ProcessGrant, TEMPORARY, UserRange},
    spaces::{EVERY, Entry, Spaces},
};
use crate::{base::names::Namespace, ports::identity::Scope};

/// Capabilities that need no grant: every provider has them.
pub const FREE: [&str; 2] = ["clock", "log"];

/// The capabilities lent to one plugin instance: the `[grants]` of its instance file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Grants {
    /// Processes of the daemon's machine.
    pub process: Option<ProcessGrant>,
    /// Requests to servers.
    pub http: Option<HttpGrant>,
    /// A container engine.
    pub containers: Option<ContainersGrant>,
    /// A Kubernetes cluster.
    pub kubernetes: Option<KubernetesGrant>,
    /// An AWS account.
    pub aws: Option<AwsGrant>,
    /// Not lent to the plugin: what the daemon itself may do with the addresses that it reports.
    pub probe: Option<ProbeGrant>,
}

impl Grants {
    /// Whether the grants keep what they say. `search`: the `PATH` in which programs are found.
    ///
    /// # Errors
    /// A sentence that names the field, its value and what would be right.
    pub fn check(&self, search: &str) -> Result<(), String> {
        self.process
            .as_ref()
            .map_or(Ok(()), |process| process.check(search))?;
        let mounts = [
            (
                "containers",
                self.containers.as_ref().map(|g| &g.host_paths),
            ),
            (
                "kubernetes",
                self.kubernetes.as_ref().map(|g| &g.host_paths),
            ),
        ];
        for (capability, paths) in mounts {
            let names = paths.into_iter().flatten().map(|entry| entry.name.as_str());
            if let Some((above, below)) = pattern::nested(names) {
                return Err(format!(
                    "grants.{capability}.host-paths holds \"{}\" and, below it, \"{}\": whoever writes to the one could put a link in the place of the other; grant folders that lie beside each other",
                    above.escape_debug(),
                    below.escape_debug()
                ));
            }
        }
        Ok(())
    }

    /// What whoever reaches these namespaces may have workloads use, by capability and list. With all namespaces: everything, and for whom.
    pub fn usable(&self, scope: &Scope) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |list: &str, spaces: Option<&Spaces>, what: &dyn fmt::Display| {
            // Whom else it is for is for who reaches them all to know.
            let whom = spaces
                .filter(|_| scope.is_all())
                .map_or_else(String::new, |spaces| format!(" (for {spaces})"));
            if scope.sees(spaces.unwrap_or(&EVERY)) {
                found
                    .entry(list.to_owned())
                    .or_default()
                    .push(format!("{what}{whom}"));
            }
        };
        for (list, entries) in self.lists() {
            entries
                .iter()
                .for_each(|entry| add(list, entry.namespaces.as_ref(), &entry.name));
        }
        for (list, ranges) in [
            ("process.ports", self.process.as_ref().map(|g| &g.ports)),
            (
                "containers.ports",
                self.containers.as_ref().map(|g| &g.ports),
            ),
        ] {
            for range in ranges.into_iter().flatten() {
                let spaces = Some(&range.namespaces).filter(|spaces| !spaces.is_all());
                add(list, spaces, &format_args!("{}-{}", range.from, range.to));
            }
        }
        found
    }

    fn lists(&self) -> Vec<(&'static str, &[Entry])> {
        let mut lists: Vec<(&'static str, &[Entry])> = Vec::new();
        if let Some(g) = &self.process {
            lists.extend([
                ("process.commands", g.commands.as_slice()),
                ("process.directories", &g.directories),
                ("process.secrets", &g.secrets),
            ]);
        }
        if let Some(g) = &self.http {
            lists.push(("http.secrets", &g.secrets));
        }
        if let Some(g) = &self.containers {
            lists.extend([
                ("containers.images", g.images.as_slice()),
                ("containers.host-paths", &g.host_paths),
                ("containers.secrets", &g.secrets),
            ]);
        }
        if let Some(g) = &self.kubernetes {
            lists.extend([
                ("kubernetes.annotations", g.annotations.as_slice()),
                ("kubernetes.cluster-secrets", &g.cluster_secrets),
                ("kubernetes.host-paths", &g.host_paths),
                ("kubernetes.secrets", &g.secrets),
                ("kubernetes.service-accounts", &g.service_accounts),
            ]);
        }
        if let Some(g) = &self.aws {
            lists.extend([
                ("aws.images", g.images.as_slice()),
                ("aws.instance-profiles", &g.instance_profiles),
                ("aws.instance-types", &g.instance_types),
                ("aws.key-names", &g.key_names),
                ("aws.secrets", &g.secrets),
                ("aws.security-groups", &g.security_groups),
                ("aws.subnets", &g.subnets),
            ]);
        }
        lists
    }

    /// The secrets that are lent, by whichever capability.
    pub fn secrets(&self) -> impl Iterator<Item = &Entry> {
        let lists = [
            self.process.as_ref().map(|g| &g.secrets),
            self.http.as_ref().map(|g| &g.secrets),
            self.containers.as_ref().map(|g| &g.secrets),
            self.kubernetes.as_ref().map(|g| &g.secrets),
            self.aws.as_ref().map(|g| &g.secrets),
        ];
        lists.into_iter().flatten().flatten()
    }
}

/// An inclusive range of port numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PortRange {
    /// The lowest.
    pub from: u16,
    /// The highest.
    pub to: u16,
    /// Whose workloads may have them. Default: those of every namespace.
    #[serde(default, skip_serializing_if = "Spaces::is_all")]
    pub namespaces: Spaces,
}

impl PortRange {
    /// For every namespace.
    pub fn new(from: u16, to: u16) -> Self {
        Self {
            from,
            to,
            namespaces: Spaces::All,
        }
    }

    fn for_namespace(ranges: &[Self], namespace: Option<&Namespace>) -> Vec<Self> {
        ranges
            .iter()
            .filter(|r| r.namespaces.admits_known(namespace))
            .cloned()
            .collect()
    }
}

/// Health checks that the daemon makes of the endpoints this instance reports, where its cloud does not know how a replica is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProbeGrant {
    /// `*` for all public addresses; `vm.example.com` or `*.example.com` for public ones of these names; `10.0.0.0/8` or an address for
    /// exactly those, private ones included. Link-local and metadata addresses never.
    pub hosts: Vec<String>,
}

/// Where a credential's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CredentialSource {
    /// An environment variable of the daemon.
    Env(String),
    /// A file, read anew each time: its first line, or all of it where the credential is a document.
    File(String),
    /// What a program prints, likewise, asked for again after five minutes or a refusal. The program and its arguments; no shell.
    Command(Vec<String>),
    /// A value that `tradewind credential seal` has stored in the data folder, by its name.
    Sealed(String),
    /// A credential of the daemon's own settings (`[credentials]`), by its name there.
    Credential(String),
}

impl std::fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "environment variable {variable}"),
            Self::File(path) => write!(f, "file {path}"),
            // Its arguments may be nobody's business.
            Self::Command(words) => {
                write!(f, "program {}", words.first().map_or("", String::as_str))
            }
            Self::Sealed(name) => write!(f, "sealed {name}"),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_its_part_of_every_list_and_is_told_no_other() {
        let grants: Grants = serde_json::from_str(
            r#"{
                "process": { "commands": ["sleep", {"name": "*", "namespaces": ["ops"]}], "directories": [{"name": "/srv/shop", "namespaces": ["shop"]}],
                    "ports": [{"from": 1, "to": 2, "namespaces": ["shop"]}, {"from": 3, "to": 4}], "secrets": [{"name": "a", "namespaces": ["shop"]}] },
                "containers": { "images": ["x"], "registries": [{"host": "r", "source": {"env": "R"}, "namespaces": ["shop"]}],
                    "host-paths": [{"name": "/srv", "namespaces": ["ops"]}] },
                "http": { "hosts": [], "secrets": ["b", {"name": "c", "namespaces": ["shop"]}] }
            }"#,
        )
        .unwrap();
        let named = |namespace: &str| -> Namespace { namespace.parse().unwrap() };
        let whole = grants.process.as_ref().unwrap();
        let process = |namespace: &str| whole.for_namespace(Some(&named(namespace)));
        assert!(process("ops").is_any() && !process("shop").is_any() && !whole.is_any());
        assert_eq!(
            (process("shop").ports.len(), process("team").ports.len()),
            (2, 1)
        );
        assert_eq!(
            (process("shop").secrets.len(), process("team").secrets.len()),
            (1, 0)
        );
        let folders = |p: ProcessGrant| (p.directories.len(), p.others_directories.len());
        assert_eq!(
            (folders(process("shop")), folders(process("team"))),
            ((1, 0), (0, 1))
        );
        let containers = |namespace: &str| {
            grants
                .containers
                .as_ref()
                .unwrap()
                .for_namespace(Some(&named(namespace)))
        };
        assert_eq!(
            (
                containers("shop").registries.len(),
                containers("team").registries.len()
            ),
            (1, 0)
        );
        assert_eq!(
            (
                containers("ops").host_paths.len(),
                containers("team").host_paths.len()
            ),
            (1, 0)
        );
        let http = grants
            .http
            .as_ref()
            .unwrap()
            .for_namespace(Some(&named("team")));
        assert_eq!(
            http.secrets
                .iter()
                .filter(|s| s.is_for(http.namespace.as_ref()))
                .count(),
            1,
            "all are looked for, one is sent"
        );
        assert_eq!(
            whole.for_namespace(None).commands,
            ["sleep"],
            "nobody in particular has what is for some"
        );

        let team = Scope::try_from(vec!["team".to_owned()]).unwrap();
        let told = grants.usable(&team);
        assert_eq!(
            (
                told["process.commands"].as_slice(),
                told["http.secrets"].as_slice()
            ),
            (&["sleep".to_owned()][..], &["b".to_owned()][..])
        );
        assert!(
            !told.contains_key("process.directories")
                && !told.contains_key("containers.host-paths"),
            "{told:?}"
        );
        assert_eq!(
            grants.usable(&Scope::All)["process.directories"],
            ["/srv/shop (for shop)"]
        );
        assert_eq!(told["process.ports"], ["3-4"]);
    }

    #[test]
    fn one_namespaces_folder_holds_no_program_that_another_may_run() {
        let grant = |commands: &str| -> ProcessGrant {
            let text = format!(
                r#"{{"commands": [{commands}], "directories": [{{"name": "/srv/app", "namespaces": ["shop"]}}]}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let limited = r#"{"name": "*", "namespaces": ["shop"]}, "/srv/app/*""#;
        assert!(
            grant(limited)
                .check("/bin")
                .is_err_and(|e| e.contains("/srv/app")),
            "any program for one is not any for all"
        );
        assert!(
            grant(r#"{"name": "*", "namespaces": ["shop"]}, "/srv/bin/*""#)
                .check("/bin")
                .is_ok()
        );
    }
}
