//! What help texts say beyond the comments of arguments: the groups of the command list, and examples of every command.

use clap::{Command, CommandFactory};

use super::{Cli, exit_codes};

/// The commands of the list, by what they are for.
const GROUPS: [(&str, &[&str]); 8] = [
    (
        "First steps",
        &["dev", "init", "serve", "wait-ready", "version", "doctor"],
    ),
    (
        "Deployments",
        &[
            "apply",
            "plan",
            "plans",
            "diff",
            "validate",
            "fmt",
            "edit",
            "get",
            "describe",
            "wait",
            "logs",
            "exec",
            "port-forward",
            "cp",
            "events",
            "top",
            "run",
            "restart",
            "scale",
            "wake",
            "metric",
            "delete",
        ],
    ),
    (
        "Updates",
        &["rollout", "revisions", "rollback", "promote", "abort"],
    ),
    (
        "Why and cost",
        &[
            "explain",
            "decisions",
            "decision",
            "replay",
            "offers",
            "assess",
            "simulate",
            "replacement",
            "regions",
        ],
    ),
    ("Plugins", &["plugin", "policy"]),
    (
        "Access",
        &[
            "login",
            "logout",
            "context",
            "auth",
            "whoami",
            "token",
            "namespace",
            "credential",
        ],
    ),
    (
        "Operations",
        &[
            "config",
            "cordon",
            "drain",
            "uncordon",
            "audit",
            "backup",
            "restore",
            "support-bundle",
        ],
    ),
    ("Tools", &["schema", "completions", "manual", "extensions"]),
];

/// Where commands go that no group names.
const OTHERS: &str = "Tools";

/// Columns of the command list.
const WIDTH: usize = 80;

/// Examples by command. Each works as it stands, on a daemon that has what it names.
pub const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "exec",
        &[
            "tradewind exec web -- sh",
            "tradewind exec web --task db --replica 1 -- pg_isready",
            "tradewind exec web -i -- psql",
        ],
    ),
    (
        "port-forward",
        &[
            "tradewind port-forward web http",
            "tradewind port-forward web 8080:http 0:metrics --task web",
        ],
    ),
    (
        "cp",
        &[
            "tradewind cp web:log/access.log .",
            "tradewind cp site/. web:public --task web",
        ],
    ),
    (
        "serve",
        &[
            "tradewind serve",
            "tradewind --data ./data serve --listen 127.0.0.1:0 --plugins ./plugins",
        ],
    ),
    (
        "apply",
        &[
            "tradewind apply -f web.yaml",
            "tradewind -n team apply -f web.yaml -f db.yaml --timeout 10m",
            "tradewind apply -f deploy/ -R --prune -l app=shop --set tag=1.4",
        ],
    ),
    (
        "plan",
        &[
            "tradewind plan -f web.yaml",
            "tradewind plan -f web.yaml --out release-7",
        ],
    ),
    ("plan list", &["tradewind plan list --status pending"]),
    ("plan show", &["tradewind plan show release-7"]),
    ("plan diff", &["tradewind plan diff release-6 release-7"]),
    (
        "plan approve",
        &["tradewind plan approve release-7 -m 'as discussed'"],
    ),
    (
        "plan reject",
        &["tradewind plan reject release-7 -m 'too dear'"],
    ),
    ("plan apply", &["tradewind plan apply release-7"]),
    ("plan delete", &["tradewind plan delete release-7"]),
    (
        "plans",
        &[
            "tradewind plans",
            "tradewind plans --status pending,approved -l app=web",
        ],
    ),
    (
        "get",
        &[
            "tradewind get",
            "tradewind get -l app=web --status failed,degraded",
            "tradewind get web --manifest",
            "tradewind get --watch --sort -cost",
        ],
    ),
    (
        "describe",
        &["tradewind describe web", "tradewind -n team describe web"],
    ),
    (
        "revisions",
        &[
            "tradewind revisions web",
            "tradewind revisions web --status healthy",
        ],
    ),
    (
        "diff",
        &[
            "tradewind diff -f web.yaml",
            "tradewind diff web --from 3 --to 4",
        ],
    ),
    (
        "rollback",
        &["tradewind rollback web", "tradewind rollback web --to 3"],
    ),
    ("promote", &["tradewind promote web"]),
    ("rollout pause", &["tradewind rollout pause web"]),
    ("rollout resume", &["tradewind rollout resume web"]),
    (
        "restart",
        &[
            "tradewind restart shop",
            "tradewind restart shop web --reason 'new certificate'",
        ],
    ),
    (
        "top",
        &["tradewind top", "tradewind top shop --sort memory"],
    ),
    ("edit", &["tradewind edit web"]),
    ("dev", &["tradewind dev", "tradewind dev --data ./trial"]),
    ("init", &["tradewind init ./tradewind"]),
    ("abort", &["tradewind abort web"]),
    (
        "rollout status",
        &[
            "tradewind rollout status web",
            "tradewind rollout status web --no-wait",
        ],
    ),
    (
        "wait",
        &[
            "tradewind wait web --for=healthy --timeout 2m",
            "tradewind wait -l app=web --for=gone",
        ],
    ),
    (
        "delete",
        &[
            "tradewind delete web",
            "tradewind -n team delete web --detach",
        ],
    ),
    ("scale", &["tradewind scale shop web --replicas 5"]),
    ("wake", &["tradewind wake shop", "tradewind wake shop web"]),
    (
        "metric push",
        &["tradewind metric push shop web queue-depth=12"],
    ),
    (
        "logs",
        &[
            "tradewind logs web",
            "tradewind logs web -f --tail 20",
            "tradewind logs shop --task web --replica 0",
        ],
    ),
    ("events", &["tradewind events", "tradewind events web -f"]),
    ("audit show", &["tradewind audit show --limit 20"]),
    ("audit head", &["tradewind audit head"]),
    (
        "audit verify",
        &[
            "tradewind audit verify",
            "tradewind audit verify audit.jsonl",
        ],
    ),
    ("audit export", &["tradewind audit export > audit.jsonl"]),
    ("backup", &["tradewind backup tradewind.backup"]),
    (
        "restore",
        &["tradewind --data ./data restore tradewind.backup"],
    ),
    (
        "run",
        &[
            "tradewind run nightly",
            "tradewind run nightly report --detach",
        ],
    ),
    (
        "offers",
        &[
            "tradewind offers",
            "tradewind offers --provider aws -l platform=EKS",
        ],
    ),
    (
        "regions",
        &["tradewind regions", "tradewind regions --status open"],
    ),
    (
        "cordon",
        &["tradewind cordon aws/eu-west-1 --reason 'prices are wrong'"],
    ),
    ("uncordon", &["tradewind uncordon aws/eu-west-1"]),
    (
        "drain",
        &[
            "tradewind drain onprem --deadline 30m --reason 'new kernel'",
            "tradewind drain aws/eu-west-1 --ignore-jobs --no-wait",
        ],
    ),
    ("replacement report", &["tradewind replacement report"]),
    (
        "assess",
        &[
            "tradewind assess -f web.yaml",
            "tradewind assess --cpu 2 --memory 4Gi --replicas 3 --hours 24",
        ],
    ),
    (
        "decisions",
        &["tradewind decisions web", "tradewind decisions --limit 5"],
    ),
    (
        "decision show",
        &["tradewind decision show d-01jz0000000000000000000000"],
    ),
    (
        "replay",
        &[
            "tradewind replay d-01jz0000000000000000000000",
            "tradewind replay d-01jz0000000000000000000000 --policy fastest.wasm",
        ],
    ),
    (
        "explain",
        &[
            "tradewind explain web",
            "tradewind explain spec.services.web.update",
            "tradewind explain manifest",
        ],
    ),
    (
        "simulate",
        &["tradewind simulate --trace trace.csv --offers offers.json --policy cheapest.wasm"],
    ),
    (
        "simulate convert",
        &["tradewind simulate convert --from alibaba-gpu-2020 pai_task_table.csv --out trace.csv"],
    ),
    (
        "plugin list",
        &[
            "tradewind plugin list",
            "tradewind plugin list --status rejected",
        ],
    ),
    (
        "plugin inspect",
        &[
            "tradewind plugin inspect cheapest",
            "tradewind plugin inspect cheapest.wasm",
        ],
    ),
    ("plugin reload", &["tradewind plugin reload"]),
    ("plugin rollback", &["tradewind plugin rollback cheapest"]),
    (
        "plugin canary start",
        &["tradewind plugin canary start cheapest new.wasm --share 10% --for 10m"],
    ),
    (
        "plugin canary status",
        &["tradewind plugin canary status cheapest"],
    ),
    (
        "plugin canary promote",
        &["tradewind plugin canary promote cheapest"],
    ),
    (
        "plugin canary abort",
        &["tradewind plugin canary abort cheapest"],
    ),
    (
        "plugin build",
        &["tradewind plugin build my-policy --out ./plugins"],
    ),
    ("plugin test", &["tradewind plugin test my-policy.wasm"]),
    (
        "plugin new",
        &["tradewind plugin new my-policy --kind policy"],
    ),
    (
        "policy shadow start",
        &["tradewind policy shadow start fastest.wasm"],
    ),
    ("policy shadow list", &["tradewind policy shadow list"]),
    (
        "policy shadow report",
        &["tradewind policy shadow report fastest"],
    ),
    (
        "policy shadow promote",
        &["tradewind policy shadow promote fastest"],
    ),
    (
        "policy shadow stop",
        &["tradewind policy shadow stop fastest"],
    ),
    ("namespace list", &["tradewind namespace list"]),
    ("namespace show", &["tradewind namespace show team"]),
    ("namespace set", &["tradewind namespace set -f team.yaml"]),
    ("namespace delete", &["tradewind namespace delete team"]),
    ("credential list", &["tradewind credential list"]),
    (
        "credential seal",
        &["tradewind credential seal registry < password.txt"],
    ),
    (
        "credential remove",
        &["tradewind credential remove registry"],
    ),
    (
        "token create",
        &["tradewind token create ci --role operator --reach team --expires 30d"],
    ),
    ("token list", &["tradewind token list --status active"]),
    ("token revoke", &["tradewind token revoke ci"]),
    (
        "token reset-admin",
        &["tradewind --data ./data token reset-admin"],
    ),
    ("whoami", &["tradewind whoami"]),
    (
        "login",
        &[
            "tradewind login https://tradewind.example.com:7180 --name prod",
            "tradewind login tradewind.example.com:7180 --token-file ci.token",
        ],
    ),
    ("logout", &["tradewind logout", "tradewind logout prod"]),
    ("context list", &["tradewind context list"]),
    (
        "context use",
        &["tradewind context use prod", "tradewind context use local"],
    ),
    ("context show", &["tradewind context show"]),
    (
        "context rename",
        &["tradewind context rename prod production"],
    ),
    (
        "context set-namespace",
        &[
            "tradewind context set-namespace team",
            "tradewind context set-namespace --unset",
        ],
    ),
    ("context remove", &["tradewind context remove prod"]),
    (
        "auth can-i",
        &[
            "tradewind auth can-i delete deployments -n team",
            "tradewind auth can-i get deployments/logs",
            "tradewind auth can-i --list",
        ],
    ),
    ("auth whoami", &["tradewind auth whoami"]),
    ("wait-ready", &["tradewind wait-ready --timeout 30s"]),
    ("config show", &["tradewind config show"]),
    (
        "config check",
        &["tradewind --config ./config.toml config check"],
    ),
    ("config", &["tradewind config"]),
    (
        "validate",
        &[
            "tradewind validate -f web.yaml",
            "tradewind validate -f web.yaml -f team.yaml",
        ],
    ),
    (
        "fmt",
        &[
            "tradewind fmt",
            "tradewind fmt web.yaml",
            "tradewind fmt deploy/ -R --check --diff",
        ],
    ),
    ("schema", &["tradewind schema > manifest.schema.json"]),
    (
        "version",
        &["tradewind version", "tradewind version -o json"],
    ),
    (
        "doctor",
        &["tradewind doctor", "tradewind --context prod doctor"],
    ),
    (
        "support-bundle",
        &["tradewind support-bundle bundle.tar.gz --log daemon.log"],
    ),
    (
        "completions",
        &[
            "source <(tradewind completions bash)",
            "tradewind completions fish | source",
        ],
    ),
    ("manual", &["tradewind manual ./man"]),
    ("extensions", &["tradewind extensions"]),
];

/// The command line, with all that its help says.
pub fn command() -> Command {
    let command = examples(Cli::command(), "");
    let list = list(&command);
    command
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}\nOptions:\n{{options}}{{after-help}}"
        ))
        .after_help(
            "Words in <angle brackets> are values that you give, those in [square brackets] can be left out.\n\
             `tradewind help COMMAND` shows what a command takes, with examples.",
        )
        .after_long_help(format!(
            "Words in <angle brackets> are values that you give, those in [square brackets] can be left out.\n\
             `tradewind help COMMAND` shows what a command takes, with examples. A command NAME that is not listed \
             runs the program tradewind-NAME, if the search path has one.\n\n{}",
            exit_codes()
        ))
}

fn examples(command: Command, path: &str) -> Command {
    let own = EXAMPLES.iter().find(|(name, _)| *name == path);
    let command = match own {
        Some((_, lines)) => {
            let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
            command.after_long_help(format!("Examples:\n{}", lines.join("\n")))
        }
        None => command,
    };
    command.mut_subcommands(|inner| {
        let name = format!("{path} {}", inner.get_name());
        examples(inner, name.trim_start())
    })
}

/// The visible commands in their groups.
fn list(command: &Command) -> String {
    let of_no_group = command.get_subcommands().filter(|c| {
        !c.is_hide_set()
            && !GROUPS
                .iter()
                .any(|(_, names)| names.contains(&c.get_name()))
    });
    let of_no_group: Vec<&Command> = of_no_group.collect();
    let visible = |name: &&str| {
        let found = command.find_subcommand(name);
        found.filter(|command| !command.is_hide_set())
    };
    let width = command
        .get_subcommands()
        .map(|command| command.get_name().len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (title, names) in GROUPS {
        let mut commands: Vec<&Command> = names.iter().filter_map(visible).collect();
        if title == OTHERS {
            commands.extend(&of_no_group);
        }
        if commands.is_empty() {
            continue;
        }
        text.push_str(&format!("{title}:\n"));
        for command in commands {
            let about = command.get_about().map(ToString::to_string);
            let about = first_sentence(about.as_deref().unwrap_or_default()).to_owned();
            let name = command.get_name();
            text.push_str(&format!("  {name:width$}  "));
            text.push_str(&wrapped(&about, width + 4));
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first)
}

/// In lines of bounded width, those after the first behind a margin.
fn wrapped(text: &str, margin: usize) -> String {
    let mut out = String::new();
    let mut width = margin;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > margin && width + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(margin));
            width = margin;
        } else if width > margin {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(command: &Command, path: &str, visit: &mut impl FnMut(&str)) {
        let visible = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
        for inner in command.get_subcommands().filter(visible) {
            let name = format!("{path} {}", inner.get_name());
            let name = name.trim_start();
            if inner.get_subcommands().next().is_none() {
                visit(name);
            }
            leaves(inner, name, visit);
        }
    }

    #[test]
    fn every_command_has_examples_and_every_example_is_of_a_command() {
        let mut all = Vec::new();
        leaves(&command(), "", &mut |name| all.push(name.to_owned()));
        let lacking: Vec<_> = all
            .iter()
            .filter(|name| !EXAMPLES.iter().any(|(command, _)| command == name))
            .collect();
        assert!(
            lacking.is_empty(),
            "commands without examples in args/help.rs: {lacking:?}"
        );
        let root = command();
        for (name, lines) in EXAMPLES {
            let mut found = Some(&root);
            for word in name.split(' ') {
                found = found.and_then(|command| command.find_subcommand(word));
            }
            assert!(found.is_some(), "there is no command \"{name}\"");
            assert!(
                lines.iter().all(|line| line.contains(name)),
                "{name}: {lines:?}"
            );
        }
    }

    #[test]
    fn every_example_is_understood() {
        for line in EXAMPLES.iter().flat_map(|(_, lines)| *lines) {
            let line = line.trim_start_matches("source <(").trim_end_matches(')');
            let line = line
                .split([' ', '\n'])
                .take_while(|w| !matches!(*w, ">" | "<" | "|"));
            let mut words: Vec<String> = Vec::new();
            let mut open = false;
            for word in line {
                match words.last_mut().filter(|_| open) {
                    Some(last) => last.push_str(&format!(" {}", word.replace('\'', ""))),
                    None => words.push(word.replace('\'', "")),
                }
                open ^= word.matches('\'').count() % 2 == 1;
            }
            let parsed = command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_command_is_in_a_group() {
        let command = command();
        let lacking: Vec<_> = command
            .get_subcommands()
            .filter(|c| !c.is_hide_set() && c.get_name() != "help")
            .map(Command::get_name)
            .filter(|name| !GROUPS.iter().any(|(_, names)| names.contains(name)))
            .collect();
        assert!(
            lacking.is_empty(),
            "commands without a group in args/help.rs: {lacking:?}"
        );
        let mut short = command;
        let help = short.render_help().to_string();
        let wide: Vec<_> = list(&short)
            .lines()
            .filter(|l| l.chars().count() > WIDTH)
            .map(str::to_owned)
            .collect();
        assert!(wide.is_empty(), "{wide:?}");
        assert!(help.contains("Why and cost:\n  explain"), "{help}");
    }
}
