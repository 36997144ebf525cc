//! What an instance does when it starts: a shell script that runs the container, and writes what it says to the second serial port.

use std::fmt::Write;

use tradewind_plugin_sdk::types::{
    EnvValue, Exposure, Job, Port, Protocol, Run, SecretRef, Workload,
};

/// Where a job's exit status is left for whoever looks: a guest attribute.
pub(crate) const EXIT: &str = "tradewind/exit";

/// The script. Values of secrets come as base64, which stays what it is within a shell's quotes within a JSON string.
pub(crate) fn startup(
    workload: &Workload,
    image: &str,
    env: &[(String, EnvValue)],
    ports: &[(&Port, u16)],
) -> String {
    let mut script = String::from(
        "#!/bin/bash\nexec >/dev/ttyS1 2>&1\nexport HOME=/var/lib/tradewind\nmkdir -p $HOME\n",
    );
    let registry = image.split('/').next().unwrap_or_default();
    if registry.ends_with(".pkg.dev") || registry == "gcr.io" || registry.ends_with(".gcr.io") {
        line(
            &mut script,
            format_args!(
                "docker-credential-gcr configure-docker --registries={}",
                quoted(registry)
            ),
        );
    }
    for (port, number) in ports
        .iter()
        .filter(|(port, _)| port.exposure != Exposure::Local)
    {
        let protocol = if port.protocol == Protocol::Udp {
            "udp"
        } else {
            "tcp"
        };
        line(
            &mut script,
            format_args!("iptables -w -A INPUT -p {protocol} --dport {number} -j ACCEPT"),
        );
    }
    for (i, (_, value)) in env.iter().enumerate() {
        if let EnvValue::Secret(SecretRef { name, key }) = value {
            let key = key
                .as_ref()
                .map_or_else(String::new, |key| format!("/{key}"));
            // What a shell reads from a command loses its line ends: the full stop keeps those of the value.
            line(
                &mut script,
                format_args!(
                    "secret_{i}=\"$(base64 -d <<<'{{{{secret:{name}{key}|base64}}}}'; echo .)\""
                ),
            );
        }
    }
    let run = run(workload, image, env);
    match &workload.run {
        Run::Service => line(
            &mut script,
            format_args!("while :; do\n  {run}\n  echo \"ended with status $?\"\n  sleep 1\ndone"),
        ),
        Run::Job(Job { retries, deadline }) => {
            let bounded = match deadline {
                Some(millis) => format!(
                    "left=$(({} - SECONDS))\n  [ $left -gt 0 ] || break\n  timeout $left {run}",
                    millis.div_ceil(1000)
                ),
                None => run,
            };
            line(
                &mut script,
                format_args!(
                    "code=124\nfor attempt in $(seq 0 {retries}); do\n  {bounded}\n  code=$?\n  [ $code -eq 0 ] && break\ndone"
                ),
            );
            let url = format!(
                "http://metadata.google.internal/computeMetadata/v1/instance/guest-attributes/{EXIT}"
            );
            line(
                &mut script,
                format_args!(
                    "curl -s -X PUT --data \"$code\" -H 'Metadata-Flavor: Google' {url}\npoweroff"
                ),
            );
        }
    }
    script
}

/// The call of docker, on the machine's own network.
fn run(workload: &Workload, image: &str, env: &[(String, EnvValue)]) -> String {
    let mut words = vec!["docker run --rm --name workload --network host".to_owned()];
    words.push(format!("--stop-signal {}", quoted(&workload.stop_signal)));
    if let Some(folder) = &workload.working_directory {
        words.push(format!("--workdir {}", quoted(folder)));
    }
    if !workload.user.is_empty() {
        words.push(format!("--user {}", quoted(&workload.user)));
    }
    for (i, (name, value)) in env.iter().enumerate() {
        words.push(match value {
            EnvValue::Text(text) => format!("--env {}", quoted(&format!("{name}={text}"))),
            EnvValue::Secret(_) => {
                format!("--env {}\"${{secret_{i}%.}}\"", quoted(&format!("{name}=")))
            }
        });
    }
    // A command stands in the place of the image's entry point; arguments go to it.
    let (entry, rest) = workload
        .command
        .split_first()
        .map_or((None, [].as_slice()), |(first, rest)| (Some(first), rest));
    words.extend(entry.map(|program| format!("--entrypoint {}", quoted(program))));
    words.push(quoted(image));
    words.extend(
        rest.iter()
            .chain(&workload.arguments)
            .map(|word| quoted(word)),
    );
    words.join(" ")
}

/// A word that the shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn line(script: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = script.write_fmt(text);
    script.push('\n');
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tradewind_plugin_sdk::testing::workload;

    use super::*;

    /// Runs a script in a real shell, with a `docker` that tells what it was given.
    fn told(script: &str, ends: &str) -> String {
        let script = script
            .replace("exec >/dev/ttyS1 2>&1", "")
            .replace("/var/lib/tradewind", "/tmp")
            .replace("mkdir -p $HOME", "");
        let stand_ins = format!(
            "docker() {{ for word in \"$@\"; do printf '<%s>' \"$word\"; done; echo; {ends}; }}\ntimeout() {{ echo \"within $1\"; shift; \"$@\"; }}\n\
             curl() {{ echo \"status $5\"; }}\niptables() {{ echo \"open $*\"; }}\npoweroff() {{ exit; }}\nsleep() {{ exit; }}\n"
        );
        let output = Command::new("bash")
            .arg("-c")
            .arg(format!("{stand_ins}{script}"))
            .output()
            .unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_shell_hands_on_exactly_what_was_asked_for() {
        let mut web = workload();
        web.command = vec!["/bin/app".to_owned(), "it's $HOME; `x`".to_owned()];
        let env = [
            (
                "A".to_owned(),
                EnvValue::Text("a b\n\"c\" 'd' $e".to_owned()),
            ),
            (
                "B".to_owned(),
                EnvValue::Secret(SecretRef {
                    name: "db".to_owned(),
                    key: Some("password".to_owned()),
                }),
            ),
        ];
        let script = startup(&web, "europe-docker.pkg.dev/p/r/i:1", &env, &[]);
        assert!(
            script.contains("--registries='europe-docker.pkg.dev'"),
            "{script}"
        );
        // As the host fills it: "it's; $secret".
        let filled = script
            .replace("{{secret:db/password|base64}}", "aXQnczsgJHNlY3JldA==")
            .replace("docker-credential-gcr", "true");
        let of_lines = filled.replace("aXQnczsgJHNlY3JldA==", "dHdvCmxpbmVzCg==");
        assert!(
            told(&of_lines, "return 3").contains("<B=two\nlines\n>"),
            "as the host gives it, line ends and all"
        );
        let told = told(&filled, "return 3");
        assert!(
            told.contains("<--env><A=a b\n\"c\" 'd' $e><--env><B=it's; $secret>"),
            "{told}"
        );
        assert!(
            told.contains(
                "<--entrypoint></bin/app><europe-docker.pkg.dev/p/r/i:1><it's $HOME; `x`>"
            ),
            "{told}"
        );
        assert!(told.contains("ended with status 3"), "{told}");
    }

    #[test]
    fn a_job_is_tried_as_often_as_asked_and_leaves_its_status() {
        let mut job = workload();
        job.run = Run::Job(Job {
            retries: 2,
            deadline: Some(90_000),
        });
        let failing = told(&startup(&job, "job:1", &[], &[]), "return 7");
        assert_eq!(
            (
                failing.matches("<run>").count(),
                failing.contains("within 90"),
                failing.contains("status 7")
            ),
            (3, true, true),
            "{failing}"
        );
        job.run = Run::Job(Job {
            retries: 2,
            deadline: None,
        });
        let well = told(&startup(&job, "job:1", &[], &[]), "return 0");
        assert_eq!(
            (well.matches("<run>").count(), well.contains("status 0")),
            (1, true),
            "{well}"
        );
    }
}
