//! Starts one run of a process: files, environment, output, wrapper. It must not decide whether to start. Everything here blocks.
//!
//! A run is a small `/bin/sh` that leads a process group of its own and outlives the daemon. First it writes its id down, so that a
//! daemon that died right after the start finds it; then it runs the command as its child and writes the exit status down, so that a
//! daemon that was away reads it later. A signal to the group reaches the command with its usual meaning, while the wrapper's traps
//! keep it alive until the status is written. Both are lines of one file and count only with their newline, so a half-written one is none.

use std::{
    borrow::Cow,
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::OsStringExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{io::Errno, process::Pid};
use tradewind_core::{
    diagnose::{Diagnosis, diagnose, is_symptom},
    exhausted::BUSY,
    failure::{Failure, FailureKind, WORKLOAD},
    grant::Entry,
    units::Millis,
    workload::{ConfigFile, EnvValue, FileContent, Output},
};
use tradewind_credentials::secrets::{self, Granted};

use super::{
    census,
    check::{Prepared, port_variable},
    confine::{self, Ids, Plan},
    folder::{Folder, Record},
    proc::WRAPPER,
    reserve::{self, Reserve},
    size,
    variables::{self, CARRIED},
};
use crate::facts;

/// Arguments: folder, run, limit on open files (0: as it is), whether its input is the control group to enter, what sets the variables that
/// it must not have itself, program and its arguments. It sets no variable of its own, so none can reach the command. The file is opened once:
/// it is found again when the folder has been moved meanwhile.
///
/// It is confined like the command, from before its start. Variables that would change how the wrapper itself is loaded or interpreted reach it
/// under other names and get their own by the last step.
///
/// Memory is limited by the control group, or by the sweep that looks at what all processes of the replica fill. A limit of the kernel's on a
/// single process would count what it reserves: stacks of threads, and the heaps of runtimes such as Go, Java and WebAssembly engines.
const SCRIPT: &str = r#"exec 9>"$1/run-$2"
echo "$$" >&9
trap : HUP INT QUIT ALRM TERM USR1 USR2
[ -z "$4" ] || echo 0 2>/dev/null >&0
exec </dev/null
(
  exec 9>&-
  [ "$3" = 0 ] || ulimit -S -n "$3" || exit 125
  eval "$5"
  shift 5
  unset PWD OLDPWD SHLVL
  exec "$@"
)
set -- "$?"
echo "$1" >&9
exit "$1"
"#;

/// How often, and after which pause, a start is tried that the machine has no process or memory for at the moment.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// When the daemon tries again by itself what it could not do for want of descriptors, processes or memory.
const AGAIN: Millis = Millis(1_000);

/// What a run and its probes are given. It holds secret values: never print it.
pub(super) struct Surroundings {
    pub(super) env: Vec<(String, OsString)>,
    pub(super) directory: PathBuf,
}

/// Resolves secrets and ports into the environment of a run.
pub(super) fn surroundings(
    folder: &Folder,
    record: &Record,
    secrets: Option<&Path>,
    search: &str,
) -> Result<Surroundings, Failure> {
    let spec = &record.prepared.spec;
    let mut env = vec![("PATH".to_owned(), search.into())];
    for (i, port) in spec.ports.iter().enumerate() {
        if let Some(number) = record.ports.get(&port.name) {
            if i == 0 {
                env.push(("PORT".to_owned(), number.to_string().into()));
            }
            env.push((port_variable(&port.name), number.to_string().into()));
        }
    }
    let entries = record.prepared.secrets();
    let granted = granted(&record.prepared, &entries);
    for (i, var) in spec.env.iter().enumerate() {
        let value = match &var.value {
            EnvValue::Text(text) => text.clone().into(),
            EnvValue::Secret(secret) => {
                let field = format!("env[{i}]");
                let value =
                    secrets::variable(&secrets::read(granted, secrets, secret, &field)?).to_vec();
                if value.contains(&0) {
                    let message = format!(
                        "the value of the secret \"{}\" contains a NUL byte: pass it as a file",
                        secret.name
                    );
                    return Err(Failure::invalid(message).field(field));
                }
                OsString::from_vec(value)
            }
        };
        env.push((var.name.clone(), value));
    }
    if !record.mark.is_empty() {
        env.push((census::MARK.to_owned(), record.run_mark().into()));
    }
    size::fits(
        env.iter().map(|(name, value)| (name.as_str(), value.len())),
        &spec.command,
    )?;
    let directory = record
        .prepared
        .directory
        .clone()
        .unwrap_or_else(|| folder.work());
    Ok(Surroundings { env, directory })
}

/// Writes the config files and starts the wrapper. `piped`: its output is collected.
///
/// # Errors
/// What stands in the way, with its remedy where one is known. Nothing runs then.
pub(super) fn launch(
    folder: &Folder,
    record: &Record,
    around: &Surroundings,
    plan: &Plan,
    secrets: Option<&Path>,
    (reserve, piped): (&Reserve, bool),
) -> Result<Pid, Failure> {
    let prepared = &record.prepared;
    // Secrets are out of reach for what is confined.
    let entries = prepared.secrets();
    let granted = granted(prepared, &entries);
    let contents = prepared
        .spec
        .files
        .iter()
        .enumerate()
        .map(|(i, file)| content(file, granted, secrets, &format!("files[{i}]")));
    let contents = contents.collect::<Result<Vec<_>, _>>()?;
    let (Some(_), arguments) = (
        prepared.spec.command.first(),
        prepared.spec.command.get(1..).unwrap_or_default(),
    ) else {
        return Err(Failure::invalid("the command is empty").field("command"));
    };
    let (environment, set) = carried(&around.env);
    let start = || -> io::Result<Result<Pid, Failure>> {
        folder.make_run_file(record.run)?;
        let (stdout, stderr) = (
            folder.open_output(Output::Stdout, piped)?,
            folder.open_output(Output::Stderr, piped)?,
        );
        if let Some(ids) = plan.ids {
            folder.give(record.run, ids)?;
        }
        // Opened here: the process itself may not be allowed to.
        let group = record.group.as_ref().and_then(|group| {
            OpenOptions::new()
                .write(true)
                .open(group.join("cgroup.procs"))
                .ok()
        });
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, WRAPPER])
            .arg(folder.path())
            .arg(record.run.to_string())
            .arg(reserve::first_open_files().unwrap_or(0).to_string())
            .arg(if group.is_some() { "group" } else { "" })
            .arg(&set)
            .arg(&prepared.program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(k, v)| (k, v)))
            .current_dir(&around.directory)
            .stdin(group.map_or_else(Stdio::null, Stdio::from))
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        if let Some(ids) = plan.ids {
            command.gid(ids.gid).uid(ids.uid);
        }
        confine::run(plan, || {
            for (i, (file, content)) in prepared.spec.files.iter().zip(&contents).enumerate() {
                if let Err(failure) = write_file(
                    prepared,
                    &around.directory,
                    (file, content),
                    plan.ids,
                    &format!("files[{i}]"),
                ) {
                    return Ok(Err(failure));
                }
            }
            // The handle goes, the process stays: it is waited for by its id, like those of an earlier daemon.
            command.spawn().map(|child| Ok(Pid::from_child(&child)))
        })
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        match reserve.spend(start) {
            Err(error) if attempts < ATTEMPTS && is_machines(&error) => std::thread::sleep(PAUSE),
            Ok(started) => return started,
            Err(e) => {
                return Err(of_workload(
                    explain(&e, "the process can't be started"),
                    prepared.directory.is_some(),
                ));
            }
        }
    }
}

/// The wrapper's variables, and the script that gives the command the others. The first of `env` is the daemon's own `PATH`.
fn carried(env: &[(String, OsString)]) -> (Vec<(String, OsString)>, String) {
    let (mut own, mut set) = (Vec::new(), String::new());
    for (i, (name, value)) in env.iter().enumerate() {
        if i == 0 || !variables::is_loaders(name) {
            own.push((name.clone(), value.clone()));
            continue;
        }
        let carrier = format!("{CARRIED}{i}");
        let mut text = OsString::from(format!("{name}="));
        text.push(value);
        set.push_str(&format!("command export \"${carrier}\"; unset {carrier}\n"));
        own.push((carrier, text));
    }
    (own, set)
}

/// Whether the machine had no process or no memory to give at the moment.
fn is_machines(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::AGAIN | Errno::NOMEM)
    )
}

/// Whether a failure says nothing about the process: the daemon had no descriptor for it, or the machine no process and no memory.
pub(super) fn is_passing(failure: &Failure) -> bool {
    failure.retry_after.is_some()
}

fn granted<'a>(prepared: &'a Prepared, entries: &'a [Entry]) -> Granted<'a> {
    Granted {
        capability: "process",
        secrets: entries,
        namespace: prepared.namespace.as_ref(),
    }
}

fn content<'a>(
    file: &'a ConfigFile,
    granted: Granted<'_>,
    secrets: Option<&Path>,
    field: &str,
) -> Result<Cow<'a, [u8]>, Failure> {
    match &file.content {
        FileContent::Data(data) => Ok(Cow::Borrowed(data)),
        FileContent::Secret(secret) => {
            secrets::read(granted, secrets, secret, field).map(Cow::Owned)
        }
    }
}

/// On a confined thread: what is swapped between a check and a write leads nowhere else.
fn write_file(
    prepared: &Prepared,
    directory: &Path,
    (file, content): (&ConfigFile, &[u8]),
    owner: Option<Ids>,
    field: &str,
) -> Result<(), Failure> {
    let shown = file.path.escape_debug();
    let own = prepared.directory.is_some() || Path::new(&file.path).is_absolute();
    let failed = |e: io::Error| {
        let failed = explain(&e, &format!("the file \"{shown}\" can't be written"));
        of_workload(failed, own).field(format!("{field}.path"))
    };
    let denied = || {
        Failure::not_granted(format!("the file \"{shown}\" is not inside a granted folder"), format!("{field}.path"))
            .remedy("give a path relative to the working folder, or add its folder to directories in [grants.process] of the instance file")
    };
    let relative = Path::new(&file.path).is_relative();
    let path = if relative {
        directory.join(&file.path)
    } else {
        PathBuf::from(&file.path)
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(denied());
    };
    let roots = if relative {
        std::slice::from_ref(&directory)
            .iter()
            .map(|d| d.to_path_buf())
            .collect()
    } else {
        prepared.folders.clone()
    };
    let inside = |p: &Path| roots.iter().any(|r| p.starts_with(r));
    // What exists of the path is resolved before anything is created, and the whole again before anything is written: no symbolic
    // link leads out.
    let existing = parent
        .ancestors()
        .find_map(|p| fs::canonicalize(p).ok())
        .unwrap_or_default();
    if !inside(&existing) {
        return Err(denied());
    }
    make_folders(parent, owner).map_err(failed)?;
    let parent = fs::canonicalize(parent).map_err(failed)?;
    if !inside(&parent) {
        return Err(denied());
    }
    let temporary = parent.join(format!(".{}.new", name.to_string_lossy()));
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        out.write_all(content)?;
        if let Some(ids) = owner {
            confine::give(&temporary, ids)?;
        }
        out.set_permissions(fs::Permissions::from_mode(file.mode))?;
        fs::rename(&temporary, parent.join(name))
    };
    write().map_err(failed)
}

/// Makes a folder and those above it that are missing.
fn make_folders(folder: &Path, owner: Option<Ids>) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|at| !at.exists()).collect();
    for at in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(at) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(ids) = owner {
            confine::give(at, ids)?;
        }
    }
    Ok(())
}

/// The limit of the machine behind an error, if there is one that explains it.
fn limit_reached(error: &io::Error) -> Option<Diagnosis> {
    let text = error.to_string();
    if !is_symptom(&text) {
        return None;
    }
    let here = std::env::current_dir().unwrap_or_default();
    diagnose(
        &text,
        &facts::read(
            std::process::id(),
            &[Path::new("/"), &std::env::temp_dir(), &here],
        ),
    )
}

/// A refusal of the system's about a folder that the workload names says nothing of the machine.
fn of_workload(failure: Failure, own_folder: bool) -> Failure {
    if own_folder && failure.kind == FailureKind::Denied {
        failure.code(WORKLOAD)
    } else {
        failure
    }
}

/// An error of the system as a failure with its cause and, where known, its remedy.
pub(super) fn explain(error: &io::Error, what: &str) -> Failure {
    use FailureKind::{Denied, Invalid, OutOfCapacity};
    if reserve::is_own(error) {
        return Failure::unavailable(format!("{what}: the daemon has too many files open"))
            .code(BUSY)
            .remedy("raise the limit on open files (ulimit -n) for the daemon")
            .retry_after(Some(AGAIN));
    }
    let again = is_machines(error).then_some(AGAIN);
    if let Some(found) = limit_reached(error) {
        return Failure::new(OutOfCapacity, format!("{what}: {}", found.cause))
            .code(found.code)
            .remedy(found.remedy)
            .retry_after(again);
    }
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    let (kind, cause, remedy) = match code {
        Some(Errno::NOENT) => (
            Invalid,
            "a folder of its path or /bin/sh does not exist",
            "check that the working folder still exists",
        ),
        Some(Errno::ACCESS | Errno::PERM) => (
            Denied,
            "the daemon's user lacks the permission",
            "check the owner and mode of the folders",
        ),
        Some(Errno::NOEXEC) => (
            Invalid,
            "the program has a format this machine can't run",
            "use a program built for this machine",
        ),
        Some(Errno::AGAIN) => (
            OutOfCapacity,
            "the machine's limit on processes is reached",
            "raise the limit on processes (ulimit -u, or pids.max of the control group)",
        ),
        Some(Errno::NOMEM) => (
            OutOfCapacity,
            "the machine is out of memory",
            "stop something, or lower the grant's memory",
        ),
        Some(Errno::NOSPC | Errno::DQUOT) => (
            OutOfCapacity,
            "the disk or a quota of it is full",
            "free space where the daemon keeps its state",
        ),
        Some(Errno::TOOBIG) => (
            Invalid,
            "its arguments and environment are too large",
            "pass large values as files",
        ),
        Some(Errno::ROFS) => (
            Denied,
            "the file system is read-only",
            "use a folder that can be written",
        ),
        Some(Errno::NAMETOOLONG) => (Invalid, "a name is too long", "shorten it"),
        _ => {
            let cause = error.to_string().to_lowercase();
            return Failure::unavailable(format!("{what}: {cause}"));
        }
    };
    let failure = Failure::new(kind, format!("{what}: {cause}"))
        .remedy(remedy)
        .retry_after(again);
    match error.raw_os_error() {
        Some(number) => failure.code(format!("errno-{number}")),
        None => failure,
    }
}
