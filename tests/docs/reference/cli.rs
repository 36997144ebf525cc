//! The command line reference, made of the definition of the command line.

use clap::{Arg, Command};
use tradewind_cli::args;

use super::{
    schema::NONE,
    table::{code, lowered, meaning, paragraph, sentence, table},
};

pub(super) fn parts() -> Vec<(&'static str, String)> {
    let mut command = tradewind_cli::args::command();
    command.build();
    let mut commands = String::new();
    visible(&command).for_each(|c| describe(c, "", &mut commands));
    let list = visible(&command).map(|c| {
        let name = c.get_name();
        [format!("[{name}](#{name})"), about(c)]
    });
    let global: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .collect();
    let codes = args::EXIT_CODES.map(|(code, meaning)| [code.to_string(), meaning.to_owned()]);
    let plan = paragraph(args::EXIT_CODES_OF_PLAN);
    vec![
        ("commands", table(["command", "what it does"], list)),
        ("global options", arguments(&global)),
        (
            "exit codes",
            format!("{}\n{plan}", table(["code", "means"], codes)),
        ),
        ("each command", commands),
    ]
}

/// What `--help` prints for every command, on a terminal of 80 columns. What all commands share stands at the first one alone.
pub(super) fn help() -> String {
    fn each(command: &mut Command, name: &str, out: &mut String) {
        let shown_before = !out.is_empty();
        let shown = command.clone().mut_args(|arg| {
            let hidden = shown_before && arg.is_global_set();
            if hidden { arg.hide(true) } else { arg }
        });
        let help = shown.term_width(80).render_long_help();
        out.push_str(&format!("$ {name} --help\n{help}\n"));
        for inner in command.get_subcommands_mut() {
            if !inner.is_hide_set() && inner.get_name() != "help" {
                let name = format!("{name} {}", inner.get_name());
                each(inner, &name, out);
            }
        }
    }
    let mut command = tradewind_cli::args::command();
    command.build();
    let mut out = String::new();
    each(&mut command, "tradewind", &mut out);
    out
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let commands = command.get_subcommands();
    commands.filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

fn about(command: &Command) -> String {
    let about = command
        .get_about()
        .unwrap_or_else(|| panic!("{} has no comment", command.get_name()));
    sentence(&about.to_string())
}

fn describe(command: &Command, above: &str, text: &mut String) {
    let name = format!("{above}{}", command.get_name());
    let level = if above.is_empty() { "##" } else { "###" };
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage
        .lines()
        .map(|line| line.trim_start_matches("Usage:").trim())
        .collect();
    text.push_str(&format!(
        "{level} {name}\n\n{}\n```text\n{}\n```\n\n",
        paragraph(&about(command)),
        usage.join("\n")
    ));
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|a| {
            !a.is_global_set()
                && !a.is_hide_set()
                && !matches!(a.get_id().as_str(), "help" | "version")
        })
        .collect();
    if !own.is_empty() {
        text.push_str(&format!("{}\n", arguments(&own)));
    }
    visible(command).for_each(|c| describe(c, &format!("{name} "), text));
}

fn arguments(arguments: &[&Arg]) -> String {
    table(
        ["argument or option", "default", "meaning"],
        arguments.iter().map(|arg| argument(arg)),
    )
}

fn argument(arg: &Arg) -> [String; 3] {
    let short = arg
        .get_short()
        .map(|c| format!("-{c}, "))
        .unwrap_or_default();
    let name = code(format_args!("{short}{arg}"));
    let help = arg
        .get_help()
        .unwrap_or_else(|| panic!("{arg} has no comment"));
    let (mut meaning, own_default) = meaning(&help.to_string());
    let takes_values = arg.get_action().takes_values();
    let default = arg
        .get_default_values()
        .first()
        .filter(|v| takes_values && !v.is_empty());
    let default = match (own_default, default) {
        (Some(default), _) => default,
        (None, Some(default)) => code(default.display()),
        (None, None) if arg.is_required_set() => "required".to_owned(),
        (None, None) => NONE.to_owned(),
    };
    if let Some(variable) = arg.get_env() {
        meaning.push_str(&format!(" Environment: {}.", code(variable.display())));
    }
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| takes_values && !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!(
                "{} ({})",
                code(value.get_name()),
                lowered(&help.to_string())
            ),
            None => code(value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        meaning.push_str(&format!(" One of {}.", values.join(", ")));
    }
    [name, default, meaning]
}
