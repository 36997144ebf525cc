//! Why a command failed, what it prints, and the exit code.

use std::{
    error::Error as _,
    io::{self, Write},
    path::PathBuf,
};

use tradewind_api::{
    command,
    problem::{Kind, Problem},
};
use tradewind_core::{
    names::{Digest, Namespace},
    units::Millis,
};

use super::{args::USAGE, pasted::pasted, tame::tame_lines};
use crate::client::{self, Origin};

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The daemon refused a file.
    #[error("\"{origin}\" was refused: {}", problem.detail)]
    File {
        origin: Origin,
        problem: Box<Problem>,
    },
    /// A file at a URL.
    #[error("\"{url}\" can't be downloaded")]
    Download {
        url: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Several files at once, of which some failed.
    #[error("{summary}")]
    Several { summary: String, errors: Vec<Error> },
    #[error("\"{}\" can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("deployment \"{name}\" failed: {message}")]
    Failed {
        namespace: Namespace,
        name: String,
        message: String,
    },
    /// What was before it goes on.
    #[error("the update of deployment \"{name}\" to revision {to} failed: {reason}; {serving}")]
    UpdateFailed {
        namespace: Namespace,
        name: String,
        to: u64,
        reason: String,
        serving: String,
    },
    #[error("the manifest has no field \"{field}\": {known}")]
    NoField { field: String, known: String },
    #[error("there is no context \"{name}\": there are {known}")]
    NoContext { name: String, known: String },
    #[error("the contexts in \"{}\" can't be read", path.display())]
    ContextFile {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the certificate of {server} is signed by nobody whom this machine trusts")]
    Untrusted {
        server: url::Url,
        fingerprint: Option<Digest>,
    },
    #[error("what was given is no token")]
    NotAToken {
        source: tradewind_core::identity::Malformed,
    },
    #[error("there is no token to log in with")]
    NoToken,
    /// Nothing listens where this machine's daemon would.
    #[error("no daemon runs with the data folder \"{}\", and none answers at {server}, where the settings have it", data.display())]
    NotRunning {
        data: PathBuf,
        server: String,
        /// Where one that has ended without a word listened.
        had: Option<String>,
        source: reqwest::Error,
    },
    #[error("no deployment has the labels \"{selector}\"")]
    NoneSelected { selector: String },
    #[error("deployment \"{name}\" was deleted meanwhile")]
    Deleted { name: String },
    #[error("deployment \"{name}\" is not {wanted} after {after}: {message}")]
    TimedOut {
        namespace: Namespace,
        name: String,
        wanted: &'static str,
        after: Millis,
        message: String,
    },
    #[error("\"{place}\" is not drained: {}", left.join("; "))]
    NotDrained { place: String, left: Vec<String> },
    #[error("\"{place}\" was uncordoned meanwhile: its drain has ended")]
    Uncordoned { place: String },
    #[error("the daemon is not ready after {after}: {message}")]
    NotReady { after: Millis, message: String },
    #[error(transparent)]
    Config(#[from] tradewind_config::Error),
    #[error(transparent)]
    Backup(Box<tradewind_backup::Error>),
    /// A text that can't be laid out anew as it is meant.
    #[error("\"{}\" is left as it is: {why}", file.display())]
    Unformatted { file: PathBuf, why: String },
    #[error("\"{}\" can't be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{what} \"{value}\" can't be used: {rule}")]
    Argument {
        what: &'static str,
        value: String,
        rule: String,
    },
    #[error(transparent)]
    TokenFile(#[from] tradewind_config::TokenFileError),
    #[error("the variable {variable} can't be used")]
    Token {
        variable: &'static str,
        source: tradewind_core::identity::Malformed,
    },
    #[error("decision \"{id}\" does not replay: {difference}")]
    Differs { id: String, difference: String },
    #[error("the editor \"{editor}\" {why}")]
    Editor { editor: String, why: String },
    #[error("the stream broke off: {message}")]
    Stream { message: String },
    #[error("the result can't be printed")]
    Print(#[from] io::Error),
    #[error("the result can't be written as {form}")]
    Encode {
        form: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the runtime can't be started")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Local(Local),
}

/// A failure of a command that needs no daemon, as who ran it sees it.
#[derive(Debug)]
pub struct Local {
    /// What failed, with its causes.
    pub error: Box<dyn std::error::Error + Send + Sync>,
    /// The code with which the process ends, one of `args::EXIT_CODES`.
    pub exit_code: u8,
    /// What can be done about it.
    pub remedy: Option<String>,
    /// It is a daemon's: nobody may read it any more, so it is told for a moment only.
    pub may_be_unheard: bool,
}

impl std::fmt::Display for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Local {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Error {
    /// The code with which the process ends, one of `args::EXIT_CODES`. Of several errors, a manifest that is not valid counts most, else
    /// the first. A reader of the output that has gone makes it 0.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Print(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Several { errors, .. } => {
                let codes: Vec<u8> = errors.iter().map(Self::exit_code).collect();
                let first = codes.first().copied().unwrap_or(1);
                if codes.contains(&4) { 4 } else { first }
            }
            Self::Argument { .. } | Self::Token { .. } | Self::NotAToken { .. } => USAGE,
            Self::Client(client::Error::Server { .. } | client::Error::Clear { .. }) => USAGE,
            Self::Client(client::Error::Unreachable { .. }) => 6,
            Self::Client(client::Error::Refused(problem)) | Self::File { problem, .. } => {
                problem_code(problem)
            }
            Self::TimedOut { .. } | Self::NotReady { .. } | Self::NotDrained { .. } => 7,
            Self::Deleted { .. } | Self::Uncordoned { .. } => 5,
            Self::NoneSelected { .. } | Self::NoContext { .. } | Self::NoField { .. } => 3,
            Self::NotRunning { .. } => 6,
            Self::Untrusted { .. } | Self::NoToken => 8,
            Self::Local(local) => local.exit_code,
            _ => 1,
        }
    }

    /// Once, with every cause and what can be done. A reader that has gone is no error to tell anybody.
    pub fn print(&self) {
        if matches!(self, Self::Print(e) if e.kind() == io::ErrorKind::BrokenPipe) {
            return;
        }
        if let Self::Several { errors, .. } = self {
            errors.iter().for_each(Self::print);
        }
        let mut text = format!("error: {self}\n");
        match self {
            Self::File { origin, problem } => push_problem(&mut text, problem, Some(origin)),
            Self::Client(client::Error::Refused(problem)) => push_problem(&mut text, problem, None),
            _ => {}
        }
        let mut cause = self.source();
        while let Some(e) = cause {
            push(&mut text, &format!("  because: {e}"));
            cause = e.source();
        }
        if let Some(remedy) = self.remedy() {
            push(&mut text, &format!("  help: {}", pasted(&remedy)));
        }
        // Nothing is left to tell it to when this fails too.
        let _ = io::stderr().write_all(tame_lines(&text).as_bytes());
    }

    /// Whether whoever should read it may be gone.
    pub(crate) fn may_be_unheard(&self) -> bool {
        matches!(self, Self::Local(local) if local.may_be_unheard)
    }

    /// What can be done about it.
    pub(crate) fn remedy(&self) -> Option<String> {
        match self {
            Self::Client(client::Error::Refused(problem)) if problem.kind == Kind::Unauthenticated => Some(
                "name a token with --token-file or TRADEWIND_TOKEN, keep one with `tradewind login URL`, or name the data folder of a daemon on this machine with \
                 --data"
                    .to_owned(),
            ),
            Self::Backup(e) => e.remedy().map(str::to_owned),
            Self::Local(local) => local.remedy.clone(),
            Self::Client(error @ client::Error::Unreachable { .. }) => Some(reach(error).to_owned()),
            Self::Client(client::Error::Refused(problem)) | Self::File { problem, .. } => problem.remedy.clone(),
            Self::TimedOut { namespace, name, .. } => Some(format!(
                "the daemon goes on: see {} and {}, or allow more with --timeout",
                command(namespace, &format!("describe {name}")),
                command(namespace, &format!("events {name}"))
            )),
            Self::NotDrained { place, .. } => Some(format!(
                "the drain goes on: make room elsewhere, or end it with `tradewind uncordon {place}`"
            )),
            Self::NotRunning { had: Some(had), .. } => Some(format!(
                "start it with `tradewind serve`: the one that ran there ended without a word, and listened at {had}. Or name another with --server, or a \
                 context with --context"
            )),
            Self::NotRunning { .. } => Some(
                "start it with `tradewind serve`, or name another with --server, or a context with --context".to_owned(),
            ),
            Self::NoContext { .. } => {
                Some("`tradewind context list` shows them, `tradewind login URL` makes one".to_owned())
            }
            Self::NoToken => Some(
                "give it with --token-file FILE, in the variable TRADEWIND_TOKEN, or on standard input".to_owned(),
            ),
            Self::Untrusted { server, fingerprint: Some(fingerprint) } => Some(format!(
                "compare {fingerprint} with what the daemon's log or its daemon.json says, then say so: `tradewind login {server} --fingerprint \
                 {fingerprint}`. Or name the issuer's certificates with --ca"
            )),
            Self::Untrusted { .. } => Some("name the issuer's certificates with --ca".to_owned()),
            Self::Editor { .. } => Some("name an editor with VISUAL or EDITOR".to_owned()),
            Self::NotReady { .. } => Some(
                "start it with `tradewind serve`, see what it says there, or allow more with --timeout".to_owned(),
            ),
            Self::Failed { namespace, name, .. } | Self::UpdateFailed { namespace, name, .. } => Some(format!(
                "see {} and {}",
                command(namespace, &format!("describe {name}")),
                command(namespace, &format!("logs {name}"))
            )),
            _ => None,
        }
    }
}

/// What is to be done about a daemon that can't be reached.
fn reach(error: &client::Error) -> &'static str {
    if error.is_not_http() {
        return "what answers there does not speak plain HTTP: if the daemon speaks TLS, name it with https://";
    }
    match error.handshake() {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "its certificate is not one that you trust. Say by what you know it: its key's fingerprint with --fingerprint, which the daemon's log and its \
             daemon.json tell, or the issuer's certificates with --ca"
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "nobody speaks TLS there: if it is the daemon, name it with http://, or set tls.self-signed = true in its settings"
        }
        _ => {
            "see whether it runs there: `tradewind doctor`. Or name another with --server, or a context with --context"
        }
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Each problem as `FILE:LINE:COLUMN: path: message`, as far as these are known, then the causes. Nothing is told twice.
fn push_problem(text: &mut String, problem: &Problem, origin: Option<&Origin>) {
    let told = |message: &String| *message == problem.detail;
    for p in problem.problems.iter().filter(|p| !told(&p.message)) {
        let bare = || {
            let numbers = [p.line, p.column].into_iter().flatten();
            numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(":")
        };
        let place = origin.map_or_else(bare, |origin| origin.place(p));
        let parts = [&place, &p.path, &p.message];
        let shown: Vec<&str> = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(String::as_str)
            .collect();
        push(text, &shown.join(": "));
    }
    let told = |cause: &String| problem.problems.iter().any(|p| p.message == *cause);
    for cause in problem.causes.iter().filter(|cause| !told(cause)) {
        push(text, &format!("  because: {cause}"));
    }
}

fn problem_code(problem: &Problem) -> u8 {
    match (problem.kind, problem.status) {
        (Kind::NotFound | Kind::Gone, _) => 3,
        (Kind::InvalidManifest, _) => 4,
        (Kind::GenerationMismatch | Kind::Conflict, _) => 5,
        (Kind::PluginFailed, 422) => 4,
        (Kind::Starting, _) => 7,
        (Kind::Unauthenticated | Kind::Forbidden, _) => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, status: u16) -> Error {
        let title = kind.title().to_owned();
        let problem = Problem {
            kind,
            title,
            status,
            detail: "d".into(),
            instance: None,
            request: None,
            problems: vec![],
            causes: vec![],
            remedy: None,
        };
        Error::Client(client::Error::Refused(Box::new(problem)))
    }

    #[test]
    fn exit_codes_mean_what_the_help_says() {
        for (kind, status, code) in [
            (Kind::NotFound, 404, 3),
            (Kind::Gone, 410, 3),
            (Kind::InvalidManifest, 400, 4),
            (Kind::InvalidManifest, 422, 4),
            (Kind::GenerationMismatch, 412, 5),
            (Kind::Conflict, 409, 5),
            (Kind::Internal, 500, 1),
            (Kind::Unauthenticated, 401, 8),
            (Kind::Starting, 503, 7),
            (Kind::Forbidden, 403, 8),
        ] {
            assert_eq!(refused(kind, status).exit_code(), code, "{kind:?}");
        }
        let late = Error::TimedOut {
            namespace: "team".parse().unwrap(),
            name: "x".into(),
            wanted: "running",
            after: Millis(1),
            message: String::new(),
        };
        assert_eq!(late.exit_code(), 7);
        let help = late.remedy().unwrap();
        assert!(help.contains("`tradewind -n team events x`"), "{help}");
    }

    #[test]
    fn problems_are_printed_where_an_editor_can_find_them() {
        let at = |path: &str, line, column| tradewind_manifest::Problem {
            path: path.into(),
            message: "is wrong".into(),
            line,
            column,
        };
        let problem = Problem {
            problems: vec![
                at("spec.a", Some(3), Some(7)),
                at("", Some(1), None),
                at("spec.b", None, None),
            ],
            ..match refused(Kind::InvalidManifest, 422) {
                Error::Client(client::Error::Refused(p)) => *p,
                _ => unreachable!(),
            }
        };
        let mut text = String::new();
        push_problem(
            &mut text,
            &problem,
            Some(&Origin::of(std::path::Path::new("m.yaml"))),
        );
        assert_eq!(
            text,
            "m.yaml:3:7: spec.a: is wrong\nm.yaml:1: is wrong\nm.yaml: spec.b: is wrong\n"
        );
        let twice = Problem {
            problems: vec![at("spec.c", None, None), at("replicas", None, None)],
            causes: vec!["is wrong".to_owned(), "said by p".to_owned()],
            ..problem
        };
        let mut text = String::new();
        push_problem(&mut text, &twice, None);
        assert_eq!(
            text,
            "spec.c: is wrong\nreplicas: is wrong\n  because: said by p\n"
        );
        let once = Problem {
            detail: "is wrong".to_owned(),
            ..twice
        };
        let mut text = String::new();
        push_problem(&mut text, &once, None);
        assert_eq!(text, "  because: said by p\n");
    }
}
