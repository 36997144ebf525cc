//! What an instance runs, as its user data: a script that makes itself a service of the system at the first start. Pure.
//!
//! It has three ways of being called: without an argument by cloud-init (it installs itself), as `run` by systemd, as `once` by itself for one
//! run of the workload. Everything that comes from a workload is quoted here; secrets are quoted where they are read, on the host.

use tradewind_plugin_sdk::{
    host::aws::Piece,
    types::{EnvValue, FileContent, Job, Protocol, Run, Workload},
};

use crate::state::Wired;

/// What a job's instance writes to its console at the end, with the status after it.
pub(crate) const EXIT: &str = "tradewind.dev/exit=";

const FOLDER: &str = "/opt/tradewind";

/// Text and secrets, one after the other.
#[derive(Default)]
struct Script(Vec<Piece>);

impl Script {
    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    fn line(&mut self, text: &str) {
        self.text(text);
        self.text("\n");
    }
}

/// For a workload that was checked by `wanted`.
pub(crate) fn user_data(workload: &Workload, ports: &[Wired]) -> Vec<Piece> {
    let mut script = Script::default();
    script.line("#!/bin/sh\nset -eu\numask 077");
    script.line("case \"${1:-install}\" in\ninstall)");
    install(&mut script, workload);
    script.line("    ;;\nrun)");
    supervise(&mut script, &workload.run, workload.stop_grace);
    script.line("    ;;\nonce)");
    once(&mut script, workload, ports);
    script.line("    ;;\nesac");
    script.0
}

fn install(script: &mut Script, workload: &Workload) {
    script.line(&format!("    mkdir -p {FOLDER}/work {FOLDER}/files\n    cp \"$0\" {FOLDER}/workload\n    chmod 700 {FOLDER}/workload"));
    for (position, file) in workload.files.iter().enumerate() {
        let path = quote(&file_path(workload, position));
        script.line(&format!("    mkdir -p \"$(dirname {path})\""));
        match &file.content {
            FileContent::Data(data) => script.text(&format!(
                "    printf %s {} | base64 -d",
                quote(&base64(data))
            )),
            FileContent::Secret(secret) => {
                script.text("    printf %s ");
                script.0.push(Piece::Secret(secret.clone()));
            }
        }
        script.line(&format!(" >{path}\n    chmod {:o} {path}", file.mode));
    }
    let service = matches!(workload.run, Run::Service);
    let restart = if service { "always" } else { "no" };
    let start = if service {
        "enable --now --no-block"
    } else {
        "start --no-block"
    };
    let grace = workload.stop_grace.div_ceil(1000).max(1);
    script.line("    cat >/etc/systemd/system/tradewind-workload.service <<'UNIT'");
    script.line("[Unit]\nDescription=Tradewind workload\nWants=network-online.target\nAfter=network-online.target docker.service");
    script.line("StartLimitIntervalSec=0\n[Service]");
    script.line(&format!(
        "ExecStart={FOLDER}/workload run\nRestart={restart}\nRestartSec=1\nTimeoutStopSec={grace}"
    ));
    script.line(&format!(
        "KillSignal=SIG{}",
        workload.stop_signal.trim_start_matches("SIG")
    ));
    script.line("StandardOutput=journal+console\nStandardError=journal+console\n[Install]\nWantedBy=multi-user.target\nUNIT");
    script.line(&format!(
        "    systemctl daemon-reload\n    systemctl {start} tradewind-workload.service"
    ));
}

/// A service is restarted by systemd; a job is tried as often as it may be, tells its end and takes the instance with it.
fn supervise(script: &mut Script, run: &Run, grace: u64) {
    let Run::Job(Job { retries, deadline }) = run else {
        script.line("    exec \"$0\" once");
        return;
    };
    let once = match deadline {
        Some(millis) => {
            let (seconds, grace) = (millis.div_ceil(1000), grace.div_ceil(1000).max(1));
            script.line(&format!("    end=$(( $(date +%s) + {seconds} ))"));
            format!(
                "left=$(( end - $(date +%s) )); [ \"$left\" -gt 0 ] || break; timeout -k {grace} \"$left\" \"$0\" once"
            )
        }
        None => "\"$0\" once".to_owned(),
    };
    script.line("    tries=0\n    code=124\n    while :; do");
    script.line(&format!("        {once} && code=0 || code=$?"));
    script.line(&format!(
        "        if [ \"$code\" -eq 0 ] || [ \"$tries\" -ge {retries} ]; then break; fi"
    ));
    script.line("        tries=$((tries + 1))\n        sleep 1\n    done");
    script.line(&format!(
        "    echo \"{EXIT}$code\" | tee /dev/console\n    sync\n    sleep 2\n    systemctl poweroff"
    ));
}

fn once(script: &mut Script, workload: &Workload, ports: &[Wired]) {
    let mut names: Vec<String> = Vec::new();
    let numbers = ports.iter().map(|port| (variable(&port.name), port.number));
    for (name, number) in ports
        .first()
        .map(|first| ("PORT".to_owned(), first.number))
        .into_iter()
        .chain(numbers)
    {
        script.line(&format!("    export {name}={number}"));
        names.push(name);
    }
    for var in &workload.env {
        script.text(&format!("    export {}=", var.name));
        match &var.value {
            EnvValue::Text(text) => script.text(&quote(text)),
            EnvValue::Secret(secret) => script.0.push(Piece::SecretVariable(secret.clone())),
        }
        script.line("");
        names.push(var.name.clone());
    }
    match &workload.image {
        Some(image) => container(script, workload, ports, image, &names),
        None => {
            let folder = workload
                .working_directory
                .clone()
                .unwrap_or_else(|| format!("{FOLDER}/work"));
            script.line(&format!("    cd {}", quote(&folder)));
            let user = if workload.user.is_empty() {
                String::new()
            } else {
                format!("runuser -u {} -- ", quote(&workload.user))
            };
            script.line(&format!(
                "    exec {user}{}",
                words(workload.command.iter().chain(&workload.arguments))
            ));
        }
    }
}

/// In a network of its own, so that the instance's metadata, which this script is a part of, are out of reach.
fn container(
    script: &mut Script,
    workload: &Workload,
    ports: &[Wired],
    image: &str,
    env: &[String],
) {
    script.line("    engine=$(PATH=/usr/local/bin:/usr/bin:/bin; command -v docker || command -v podman) ||");
    script.line(
        "        { echo \"the instance's image has neither docker nor podman\" >&2; exit 127; }",
    );
    script.line("    \"$engine\" rm -f tradewind-workload >/dev/null 2>&1 || :");
    let mut options: Vec<String> = ["--rm", "--init", "--name", "tradewind-workload"]
        .map(str::to_owned)
        .to_vec();
    options.extend(env.iter().flat_map(|name| ["-e".to_owned(), name.clone()]));
    for port in ports {
        let suffix = if port.protocol() == Protocol::Udp {
            "/udp"
        } else {
            ""
        };
        options.extend(["-p".to_owned(), format!("{0}:{0}{suffix}", port.number)]);
    }
    for (position, file) in workload.files.iter().enumerate() {
        let inside = match (&workload.working_directory, file.path.starts_with('/')) {
            (Some(folder), false) => format!("{}/{}", folder.trim_end_matches('/'), file.path),
            _ => file.path.clone(),
        };
        options.extend([
            "-v".to_owned(),
            format!("{}:{inside}:ro", file_path(workload, position)),
        ]);
    }
    if !workload.resources.accelerators.is_empty() {
        options.extend(["--gpus".to_owned(), "all".to_owned()]);
    }
    if !workload.user.is_empty() {
        options.extend(["--user".to_owned(), workload.user.clone()]);
    }
    options.extend(
        workload
            .working_directory
            .iter()
            .flat_map(|folder| ["-w".to_owned(), folder.clone()]),
    );
    let mut rest = workload.arguments.clone();
    if let Some((program, further)) = workload.command.split_first() {
        options.extend(["--entrypoint".to_owned(), program.clone()]);
        rest = further.iter().chain(&workload.arguments).cloned().collect();
    }
    let image = image.to_owned();
    script.line(&format!(
        "    exec \"$engine\" run {}",
        words(options.iter().chain([&image]).chain(&rest))
    ));
}

/// Where a file lies on the instance. One for a container is mounted from a place of ours.
fn file_path(workload: &Workload, position: usize) -> String {
    let Some(file) = workload.files.get(position) else {
        return String::new();
    };
    match (
        &workload.image,
        &workload.working_directory,
        file.path.starts_with('/'),
    ) {
        (Some(_), ..) => format!("{FOLDER}/files/{position}"),
        (None, _, true) => file.path.clone(),
        (None, Some(folder), false) => format!("{}/{}", folder.trim_end_matches('/'), file.path),
        (None, None, false) => format!("{FOLDER}/work/{}", file.path),
    }
}

/// `PORT_<NAME>`.
fn variable(port: &str) -> String {
    format!("PORT_{}", port.to_ascii_uppercase().replace('-', "_"))
}

fn words<'a>(all: impl Iterator<Item = &'a String>) -> String {
    all.map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// As one word of a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(data: &[u8]) -> String {
    let digit = |bits: u32, shift: u32| {
        char::from(
            ALPHABET
                .get((bits >> shift & 63) as usize)
                .copied()
                .unwrap_or(b'='),
        )
    };
    let mut text = String::new();
    for three in data.chunks(3) {
        let byte = |position: usize| u32::from(three.get(position).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend([digit(bits, 18), digit(bits, 12)]);
        text.push(if three.len() > 1 { digit(bits, 6) } else { '=' });
        text.push(if three.len() > 2 { digit(bits, 0) } else { '=' });
    }
    text
}

/// What a console tells of a job's end.
pub(crate) fn exit_code(console: &str) -> Option<i32> {
    let (_, after) = console.rsplit_once(EXIT)?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tradewind_plugin_sdk::{
        testing,
        types::{ConfigFile, EnvVar, SecretRef},
    };

    use super::*;

    fn text(pieces: &[Piece]) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Secret(secret) | Piece::SecretVariable(secret) => {
                format!("'the {} '\\''s value'", secret.name)
            }
        };
        pieces.iter().map(piece).collect()
    }

    fn run(script: &str, how: &str, before: &str) -> String {
        let file = std::env::temp_dir().join(format!(
            "tradewind-script-{}-{how}-{}",
            std::process::id(),
            script.len()
        ));
        std::fs::write(&file, script).unwrap();
        let command = format!("{before} set -- {how}; . {}", file.display());
        let output = Command::new("sh").arg("-c").arg(command).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(
            output.status.success(),
            "{script}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_plain_command_gets_its_words_its_variables_and_its_secrets_as_they_are() {
        let mut workload = testing::workload();
        workload.command = [
            "sh",
            "-c",
            "echo \"$A|$B|$PORT|$PORT_WEB_1|$0|$1\"",
            "it's",
            "$HOME `id`",
        ]
        .map(str::to_owned)
        .to_vec();
        workload.working_directory = Some("/tmp".to_owned());
        let var = |name: &str, value| EnvVar {
            name: name.to_owned(),
            value,
        };
        workload.env = vec![
            var("A", EnvValue::Text("a 'b' \"$c\"\nd".to_owned())),
            var(
                "B",
                EnvValue::Secret(SecretRef {
                    name: "db".to_owned(),
                    key: None,
                }),
            ),
        ];
        let ports = [Wired::new(&testing::port("web-1"), 8080)];
        let script = text(&user_data(&workload, &ports));
        assert_eq!(
            run(&script, "once", ""),
            "a 'b' \"$c\"\nd|the db 's value|8080|8080|it's|$HOME `id`\n"
        );
        workload.files = vec![ConfigFile {
            path: "/key".to_owned(),
            mode: 0o400,
            content: FileContent::Secret(SecretRef {
                name: "db".to_owned(),
                key: None,
            }),
        }];
        let pieces = user_data(&workload, &ports);
        let of = |is: fn(&Piece) -> bool| pieces.iter().filter(|p| is(p)).count();
        let both = (
            of(|p| matches!(p, Piece::Secret(_))),
            of(|p| matches!(p, Piece::SecretVariable(_))),
        );
        assert_eq!(
            both,
            (1, 1),
            "a file gets the value as it is, a variable without its line end"
        );
    }

    #[test]
    fn a_container_is_run_with_what_the_workload_says() {
        let mut workload = testing::workload();
        (workload.image, workload.command) = (
            Some("shop/web:1".to_owned()),
            vec!["serve".to_owned(), "--all".to_owned()],
        );
        workload.env = vec![EnvVar {
            name: "MODE".to_owned(),
            value: EnvValue::Text("x".to_owned()),
        }];
        workload.files = vec![ConfigFile {
            path: "/etc/shop.toml".to_owned(),
            mode: 0o400,
            content: FileContent::Data(b"a = 1".to_vec()),
        }];
        let script = text(&user_data(
            &workload,
            &[Wired::new(&testing::port("http"), 80)],
        ));
        let wanted = "run '--rm' '--init' '--name' 'tradewind-workload' '-e' 'PORT' '-e' 'PORT_HTTP' '-e' 'MODE' '-p' '80:80' \
                      '-v' '/opt/tradewind/files/0:/etc/shop.toml:ro' '--entrypoint' 'serve' 'shop/web:1' '--all'";
        assert!(script.contains(wanted), "{script}");
        assert!(
            script.contains(
                "printf %s 'YSA9IDE=' | base64 -d >'/opt/tradewind/files/0'\n    chmod 400"
            ),
            "{script}"
        );
        assert!(script.contains("Restart=always"));
    }

    #[test]
    fn a_job_is_tried_as_often_as_it_may_tells_its_end_and_ends_its_instance() {
        let mut workload = testing::workload();
        workload.run = Run::Job(Job {
            retries: 2,
            deadline: Some(60_000),
        });
        let script = text(&user_data(&workload, &[]));
        let stubs = "tee() { cat; }; sync() { :; }; sleep() { :; }; systemctl() { echo \"systemctl $*\"; }; timeout() { echo try; return 3; };";
        let told = run(&script, "run", stubs);
        assert_eq!(
            told,
            "try\ntry\ntry\ntradewind.dev/exit=3\nsystemctl poweroff\n"
        );
        assert_eq!((exit_code(&told), exit_code("nothing")), (Some(3), None));
        assert_eq!(
            exit_code("tradewind.dev/exit=1\r\nthen tradewind.dev/exit=0\r\n"),
            Some(0)
        );
        assert!(script.contains("systemctl start --no-block") && script.contains("Restart=no"));
    }

    #[test]
    fn base64_is_as_everybody_writes_it() {
        for (data, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(data.as_bytes()), text);
        }
    }
}
