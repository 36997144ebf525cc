//! The grant of processes on the daemon's machine: which programs, as whom, with what. It looks at text alone, never at the machine.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::{Entry, PortRange, pattern, spaces::for_namespace};
use crate::base::{
    names::Namespace,
    units::{Bytes, MilliCpu},
};

/// Folders that every process may write to, whatever its grant says.
pub const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Processes on the daemon's machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessGrant {
    /// Programs that may be run, as written in the workload: a name, an absolute path, or a pattern with `*` (`/usr/bin/*`). `["*"]` for any.
    pub commands: Vec<Entry>,
    /// Absolute folders in which a working folder may lie and to which processes may write. Empty: only the private one and those for
    /// temporary files.
    #[serde(default)]
    pub directories: Vec<Entry>,
    /// Variables that a workload may set, as names or as patterns with `*` (`APP_*`). Absent: any where any program is granted, else any
    /// but those that change how a program is loaded or interpreted.
    #[serde(default)]
    pub environment: Option<Vec<Entry>>,
    /// The user that processes run as, by its name or number; the daemon must be root. Absent: the daemon's user.
    #[serde(default)]
    pub user: Option<String>,
    /// Numbers of users, of which each process gets one of its own; the daemon must be root.
    #[serde(default)]
    pub users: Option<UserRange>,
    /// True: processes may reach whatever their user may, the daemon's own files included.
    #[serde(default)]
    pub unconfined: bool,
    /// Fixed port numbers that may be asked for, as inclusive ranges. Host-chosen ports are always allowed.
    #[serde(default)]
    pub ports: Vec<PortRange>,
    /// Processor cores to promise in all, in millicores. Default: the machine's.
    #[serde(default)]
    pub cpu: Option<MilliCpu>,
    /// Memory to promise in all. Default: the machine's.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// The most processes at once.
    #[serde(default = "ProcessGrant::default_processes")]
    pub processes: u32,
    /// Kept output per process; the oldest half goes when it is full.
    #[serde(default = "ProcessGrant::default_log_size")]
    pub log_size: Bytes,
    /// Secrets that may be passed to processes, by name: files of the daemon's secrets folder, a namespace's own first.
    #[serde(default)]
    pub secrets: Vec<Entry>,
    /// For whose workloads these limits are.
    #[serde(skip)]
    pub namespace: Option<Namespace>,
    /// Folders that workloads of other namespaces may write to.
    #[serde(skip)]
    pub others_directories: Vec<Entry>,
}

/// An inclusive range of user numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserRange {
    /// The lowest.
    pub from: u32,
    /// The highest.
    pub to: u32,
}

impl ProcessGrant {
    /// A grant of these programs, with no limit of its own.
    pub fn of(commands: &[&str]) -> Self {
        Self {
            commands: commands.iter().map(|c| Entry::from(*c)).collect(),
            directories: Vec::new(),
            environment: None,
            user: None,
            users: None,
            unconfined: false,
            ports: Vec::new(),
            cpu: None,
            memory: None,
            processes: Self::default_processes(),
            log_size: Self::default_log_size(),
            secrets: Vec::new(),
            namespace: None,
            others_directories: Vec::new(),
        }
    }

    /// What workloads of one namespace may have of it; none: nobody knows for whom it is asked, and what is for some is left out.
    pub fn for_namespace(&self, namespace: Option<&Namespace>) -> Self {
        Self {
            commands: for_namespace(&self.commands, namespace),
            directories: for_namespace(&self.directories, namespace),
            environment: self
                .environment
                .as_ref()
                .map(|all| for_namespace(all, namespace)),
            ports: PortRange::for_namespace(&self.ports, namespace),
            secrets: for_namespace(&self.secrets, namespace),
            namespace: namespace.cloned(),
            others_directories: self
                .directories
                .iter()
                .filter(|d| !d.is_for(namespace))
                .cloned()
                .collect(),
            ..self.clone()
        }
    }

    fn default_processes() -> u32 {
        2000
    }

    fn default_log_size() -> Bytes {
        Bytes(8 << 20)
    }

    /// Whether any program may be run: by workloads of the namespace that the limits are for, or else of every namespace.
    pub fn is_any(&self) -> bool {
        self.commands
            .iter()
            .any(|c| *c == "*" && c.is_for(self.namespace.as_ref()))
    }

    /// Whether the grant keeps what it says. `search`: the `PATH` in which programs are found.
    ///
    /// # Errors
    /// A sentence that names the field, its value and what would be right.
    pub fn check(&self, search: &str) -> Result<(), String> {
        if let Some(name) = self
            .environment
            .iter()
            .flatten()
            .find(|name| !is_variable(name))
        {
            return Err(format!(
                "grants.process.environment holds \"{}\": use names of letters, digits and _, with * for any characters",
                name.escape_debug()
            ));
        }
        if let Some(UserRange { from, to }) = self.users {
            if self.user.is_some() {
                return Err("grants.process has both user and users: give one of them".to_owned());
            }
            if from == 0 || to < from || to == u32::MAX {
                return Err(format!(
                    "grants.process.users is {from} to {to}: use numbers above 0, the lower one first"
                ));
            }
        }
        if self
            .user
            .as_deref()
            .is_some_and(|user| user.is_empty() || user == "root" || user.parse() == Ok(0u32))
        {
            return Err("grants.process.user is root: give a user without rights of its own, or leave it out".to_owned());
        }
        self.overlap(search)
    }

    /// No folder that workloads may write to holds what a pattern lets them run: one job would write the program, the next would run it.
    fn overlap(&self, search: &str) -> Result<(), String> {
        if self.is_any() {
            return Ok(());
        }
        for directory in &self.directories {
            let written = segments(directory);
            for command in self.commands.iter().filter(|c| **c != "*") {
                let holds = |program: &str| covers(&written, &segments(program));
                let found = if command.contains('/') {
                    holds(command)
                } else {
                    search
                        .split(':')
                        .filter(|d| d.starts_with('/'))
                        .any(|folder| holds(&format!("{folder}/{}", command.name)))
                };
                if found {
                    return Err(format!(
                        "grants.process.directories holds \"{}\", where workloads write, and grants.process.commands lets them run \"{}\" \
                         there: whatever they write would be granted; name programs of other folders, other folders, or commands = [\"*\"]",
                        directory.escape_debug(),
                        command.escape_debug()
                    ));
                }
            }
        }
        Ok(())
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'*')
}

fn segments(path: &str) -> Vec<&str> {
    let normal = |c: Component<'_>| matches!(c, Component::Normal(_));
    Path::new(path)
        .components()
        .filter(|c| normal(*c))
        .filter_map(|c| c.as_os_str().to_str())
        .collect()
}

/// Whether a path that this pattern means can lie below the folder.
fn covers(folder: &[&str], program: &[&str]) -> bool {
    folder.len() < program.len()
        && folder
            .iter()
            .zip(program)
            .all(|(f, p)| pattern::matches(p, f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_workloads_holds_no_granted_program() {
        let search = "/usr/local/bin:/usr/bin";
        for (command, directory, refused) in [
            ("/srv/app/*", "/srv/app", true),
            ("/srv/app/*", "/srv/app/", true),
            ("/srv/app/tool", "/srv", true),
            ("/srv/*/bin/tool", "/srv/app", true),
            ("sleep", "/usr", true),
            ("py*", "/usr/local/bin", true),
            ("/srv/app/*", "/srv/app/data", false),
            ("/srv/app/*", "/srv/apple", false),
            ("sleep", "/srv", false),
            ("*", "/srv", false),
        ] {
            let grant = ProcessGrant {
                directories: vec![directory.into()],
                ..ProcessGrant::of(&[command])
            };
            let checked = grant.check(search);
            assert_eq!(checked.is_err(), refused, "{command} {directory}");
            assert!(
                checked.is_ok()
                    || checked.is_err_and(|e| e.contains(directory) && e.contains(command))
            );
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_field() {
        let of = |change: &dyn Fn(&mut ProcessGrant)| {
            let mut grant = ProcessGrant::of(&["*"]);
            change(&mut grant);
            grant.check("/bin")
        };
        assert!(of(&|g| g.environment = Some(vec!["APP_*".into(), "B".into()])).is_ok());
        assert!(
            of(&|g| g.environment = Some(vec!["A=B".into()]))
                .is_err_and(|e| e.contains("grants.process.environment"))
        );
        assert!(
            of(&|g| g.user = Some("root".to_owned()))
                .is_err_and(|e| e.contains("grants.process.user"))
        );
        assert!(of(&|g| g.user = Some("0".to_owned())).is_err());
        assert!(
            of(&|g| g.users = Some(UserRange { from: 9, to: 8 }))
                .is_err_and(|e| e.contains("grants.process.users"))
        );
        assert!(of(&|g| g.users = Some(UserRange { from: 8, to: 9 })).is_ok());
    }
}
