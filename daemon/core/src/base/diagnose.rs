//! Why a start failed where the error names only a symptom: from the error's text and the machine's figures to the limit that was reached,
//! and to what raises it. Pure: whoever saw the failure brings the figures.
//!
//! The kernel says "no space left on device" when a disk is full, but just as well when a mount namespace holds too many mounts, a user too
//! many namespaces or inotify watches: an operator who looks at the disks finds them empty.

use std::fmt;

/// How much there is of something, and how much at most. What failed has given back what it took, so a limit that was reached looks almost
/// reached afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// How much is in use.
    pub used: u64,
    /// The limit.
    pub most: u64,
}

/// A file system that the start needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where it is mounted, or a folder on it.
    pub path: String,
    /// Bytes that may still be written.
    pub free: u64,
    /// Files that may still be made; none where the file system has no such limit.
    pub free_inodes: Option<u64>,
}

/// A limit on namespaces of one kind (`user`, `mnt`, `net`, `pid`, …) per user. How many there are can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceLimit {
    /// The kernel's name for the kind.
    pub kind: String,
    /// The limit.
    pub most: u64,
}

/// The machine's figures; what could not be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The file systems that the start needs.
    pub disks: Vec<Disk>,
    /// Mounts of the starter's mount namespace, and `fs.mount-max`.
    pub mounts: Option<Gauge>,
    /// The limits on namespaces, by kind.
    pub namespaces: Vec<NamespaceLimit>,
    /// inotify instances of the starter's user.
    pub inotify_instances: Option<Gauge>,
    /// Open files of the whole machine.
    pub files: Option<Gauge>,
    /// Open files of the starter.
    pub open_files: Option<Gauge>,
    /// Threads of the whole machine, and `kernel.threads-max`.
    pub threads: Option<Gauge>,
    /// Threads of the whole machine, and `kernel.pid_max`.
    pub pids: Option<Gauge>,
    /// Tasks in the starter's control group.
    pub group_tasks: Option<Gauge>,
    /// Threads of the starter's user.
    pub user_tasks: Option<Gauge>,
    /// Keys of the starter's user in the kernel's keyrings.
    pub keys: Option<Gauge>,
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Names the limit: `mount-limit`, `disk-full`, …
    pub code: &'static str,
    /// Lowercase, without a full stop.
    pub cause: String,
    /// What raises the limit, as a command where there is one.
    pub remedy: String,
}

/// The codes of every limit that can be told.
pub const CODES: [&str; 13] = [
    "disk-full",
    "no-inodes",
    "mount-limit",
    "namespace-limit",
    "watch-limit",
    "inotify-limit",
    "file-limit",
    "open-file-limit",
    "group-task-limit",
    "thread-limit",
    "pid-limit",
    "user-task-limit",
    "key-limit",
];

/// What the error says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symptom {
    NoSpace,
    TooManyFiles,
    TryAgain,
    Quota,
}

/// Starting a container makes some thirty mounts, all of which are undone when one of them fails.
const MOUNTS_OF_ONE_START: u64 = 64;
/// A disk with less is full: what is left are blocks kept for the superuser, and what others have freed since.
const FULL_DISK: u64 = 1 << 20;

/// The limit that explains an error. None: the error has none of these symptoms, or no figure explains it.
pub fn diagnose(error: &str, facts: &Facts) -> Option<Diagnosis> {
    let error = error.to_lowercase();
    match symptom(&error)? {
        Symptom::NoSpace => full_disk(facts)
            .or_else(|| mounts(facts))
            .or_else(|| namespaces(&error, facts))
            .or_else(|| watches(&error)),
        Symptom::TooManyFiles => instances(&error, facts)
            .or_else(|| machine_files(facts))
            .or_else(|| open_files(facts)),
        Symptom::TryAgain => tasks(facts),
        Symptom::Quota => keys(&error, facts),
    }
}

/// Whether an error may be one of a limit, so that the figures are worth reading.
pub fn is_symptom(error: &str) -> bool {
    symptom(&error.to_lowercase()).is_some()
}

/// Tells what was looked at where a symptom has no explanation: `disks and inodes are free; mounts 310 of 100000`.
pub fn unexplained(error: &str, facts: &Facts) -> Option<String> {
    if symptom(&error.to_lowercase()) != Some(Symptom::NoSpace) || facts.disks.is_empty() {
        return None;
    }
    let mounts = facts
        .mounts
        .map(|m| format!(", mounts are {m}"))
        .unwrap_or_default();
    Some(format!(
        "disks and inodes are free{mounts}: some other limit of the kernel is reached"
    ))
}

fn symptom(error: &str) -> Option<Symptom> {
    let says = |texts: &[&str]| texts.iter().any(|t| error.contains(t));
    if says(&["no space left on device", "enospc"]) {
        Some(Symptom::NoSpace)
    } else if says(&["too many open files", "emfile", "enfile"]) {
        Some(Symptom::TooManyFiles)
    } else if says(&["resource temporarily unavailable", "eagain"]) {
        Some(Symptom::TryAgain)
    } else if says(&["disk quota exceeded", "edquot"]) {
        Some(Symptom::Quota)
    } else {
        None
    }
}

fn full_disk(facts: &Facts) -> Option<Diagnosis> {
    let full = |d: &&Disk| d.free < FULL_DISK;
    if let Some(disk) = facts.disks.iter().find(full) {
        let cause = format!("the disk that holds \"{}\" is full", disk.path);
        return found(
            "disk-full",
            cause,
            format!("free space on the disk that holds \"{}\"", disk.path),
        );
    }
    let disk = facts.disks.iter().find(|d| d.free_inodes == Some(0))?;
    let cause = format!(
        "the disk that holds \"{}\" has space, but no inode left for another file",
        disk.path
    );
    found(
        "no-inodes",
        cause,
        format!(
            "remove files on the disk that holds \"{}\"; many small ones use the inodes up",
            disk.path
        ),
    )
}

fn mounts(facts: &Facts) -> Option<Diagnosis> {
    let mounts = facts.mounts.filter(|m| m.within(MOUNTS_OF_ONE_START))?;
    let cause = format!("disks and inodes are free, but the limit on mounts is reached: {mounts}");
    let remedy = format!(
        "raise it, for instance by \"sysctl fs.mount-max={}\", or unmount what is not needed",
        mounts.most.saturating_mul(2)
    );
    found("mount-limit", cause, remedy)
}

/// How many there are can't be read, so only a limit that leaves no room, or an error that names the kind, is taken for the cause.
fn namespaces(error: &str, facts: &Facts) -> Option<Diagnosis> {
    const ROOM: u64 = 8;
    let names = |kind: &str| {
        error.contains(&format!("{kind} namespace")) || error.contains(&format!("clone_new{kind}"))
    };
    let making = ["unshare", "clone", "namespace"]
        .iter()
        .any(|word| error.contains(word));
    let named = facts.namespaces.iter().find(|n| names(&n.kind));
    let limit = named.or_else(|| {
        facts
            .namespaces
            .iter()
            .filter(|n| making || n.most < ROOM)
            .min_by_key(|n| n.most)
    })?;
    let cause = format!(
        "disks and inodes are free, but a user may have no more than {} {} namespaces",
        limit.most, limit.kind
    );
    let remedy = format!(
        "raise it, for instance by \"sysctl user.max_{}_namespaces={}\"",
        limit.kind,
        limit.most.max(ROOM).saturating_mul(16)
    );
    found("namespace-limit", cause, remedy)
}

fn watches(error: &str) -> Option<Diagnosis> {
    if !error.contains("inotify") && !error.contains("watch") {
        return None;
    }
    let cause =
        "disks and inodes are free, but the user's limit on watched files is reached".to_owned();
    found(
        "watch-limit",
        cause,
        "raise it, for instance by \"sysctl fs.inotify.max_user_watches=1048576\"".to_owned(),
    )
}

fn instances(error: &str, facts: &Facts) -> Option<Diagnosis> {
    let instances = facts
        .inotify_instances
        .filter(|i| error.contains("inotify") || i.within(0))?;
    let cause = format!("the user's limit on inotify instances is reached: {instances}");
    let remedy = format!(
        "raise it, for instance by \"sysctl fs.inotify.max_user_instances={}\"",
        instances.most.max(128).saturating_mul(4)
    );
    found("inotify-limit", cause, remedy)
}

fn machine_files(facts: &Facts) -> Option<Diagnosis> {
    let files = facts.files.filter(|f| f.within(f.most / 50))?;
    let cause = format!("the machine's limit on open files is reached: {files}");
    found(
        "file-limit",
        cause,
        format!(
            "raise it, for instance by \"sysctl fs.file-max={}\"",
            files.most.saturating_mul(2)
        ),
    )
}

fn open_files(facts: &Facts) -> Option<Diagnosis> {
    let files = facts.open_files?;
    let cause = format!(
        "a process may have no more files open: the limit is {}",
        files.most
    );
    found(
        "open-file-limit",
        cause,
        "raise it for what failed (ulimit -n, LimitNOFILE= of its service)".to_owned(),
    )
}

fn tasks(facts: &Facts) -> Option<Diagnosis> {
    const SLACK: u64 = 16;
    let reached = |gauge: Option<Gauge>| gauge.filter(|g| g.within(SLACK));
    if let Some(tasks) = reached(facts.group_tasks) {
        let cause =
            format!("the control group's limit on processes and threads is reached: {tasks}");
        return found(
            "group-task-limit",
            cause,
            "raise pids.max of the control group (TasksMax= of the service)".to_owned(),
        );
    }
    if let Some(threads) = reached(facts.threads) {
        let cause = format!("the machine's limit on threads is reached: {threads}");
        return found(
            "thread-limit",
            cause,
            format!(
                "raise it, for instance by \"sysctl kernel.threads-max={}\"",
                threads.most.saturating_mul(2)
            ),
        );
    }
    if let Some(pids) = reached(facts.pids) {
        let cause = format!("the machine has no process ids left: {pids}");
        return found(
            "pid-limit",
            cause,
            "raise it by \"sysctl kernel.pid_max=4194304\"".to_owned(),
        );
    }
    let tasks = reached(facts.user_tasks)?;
    let cause = format!("the user's limit on processes and threads is reached: {tasks}");
    found(
        "user-task-limit",
        cause,
        "raise it for what failed (ulimit -u, LimitNPROC= of its service)".to_owned(),
    )
}

fn keys(error: &str, facts: &Facts) -> Option<Diagnosis> {
    let keys = facts
        .keys
        .filter(|k| k.within(1) || error.contains("key"))?;
    let cause = format!("the user's limit on keys in the kernel's keyrings is reached: {keys}");
    found(
        "key-limit",
        cause,
        format!(
            "raise it, for instance by \"sysctl kernel.keys.maxkeys={}\"",
            keys.most.saturating_mul(10)
        ),
    )
}

fn found(code: &'static str, cause: String, remedy: String) -> Option<Diagnosis> {
    Some(Diagnosis {
        code,
        cause,
        remedy,
    })
}

// === impl Gauge ===

impl Gauge {
    /// Whether no more than this is left.
    fn within(self, slack: u64) -> bool {
        self.used.saturating_add(slack) >= self.most
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.used, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(used: u64, most: u64) -> Option<Gauge> {
        Some(Gauge { used, most })
    }

    /// A machine with room for everything.
    fn roomy() -> Facts {
        Facts {
            disks: vec![Disk {
                path: "/var/lib/containers".to_owned(),
                free: 50 << 30,
                free_inodes: Some(1_000_000),
            }],
            mounts: gauge(300, 100_000),
            namespaces: vec![
                NamespaceLimit {
                    kind: "mnt".to_owned(),
                    most: 96_000,
                },
                NamespaceLimit {
                    kind: "user".to_owned(),
                    most: 96_000,
                },
            ],
            inotify_instances: gauge(3, 128),
            files: gauge(4_000, 9_000_000),
            open_files: gauge(40, 20_000),
            threads: gauge(500, 190_000),
            pids: gauge(500, 4_194_304),
            group_tasks: gauge(200, 10_000),
            user_tasks: gauge(300, 20_000),
            keys: gauge(5, 200),
        }
    }

    const MOUNT: &str = "runc create failed: unable to start container process: error during container init: error mounting \"proc\" to rootfs at \
                         \"/proc\": mount proc:/proc: No space left on device";

    /// What is said, what is out of line, and the cause to find.
    type Case = (&'static str, fn(&mut Facts), &'static str);

    #[test]
    fn a_symptom_and_one_figure_out_of_line_give_the_cause() {
        let cases: [Case; 14] = [
            (MOUNT, |f| f.mounts = gauge(99_970, 100_000), "mount-limit"),
            (MOUNT, |f| f.disks[0].free = 4096, "disk-full"),
            (MOUNT, |f| f.disks[0].free_inodes = Some(0), "no-inodes"),
            (
                "unshare: unshare failed: No space left on device",
                |f| f.namespaces[0].most = 0,
                "namespace-limit",
            ),
            (
                "creating new user namespace: ENOSPC",
                |_| {},
                "namespace-limit",
            ),
            (
                "inotify_add_watch: no space left on device",
                |_| {},
                "watch-limit",
            ),
            (
                "inotify_init: too many open files",
                |f| f.inotify_instances = gauge(128, 128),
                "inotify-limit",
            ),
            (
                "open /proc/self: too many open files in system",
                |f| f.files = gauge(9_000_000, 9_000_000),
                "file-limit",
            ),
            ("pipe2: too many open files", |_| {}, "open-file-limit"),
            (
                "fork/exec runc: resource temporarily unavailable",
                |f| f.group_tasks = gauge(10_000, 10_000),
                "group-task-limit",
            ),
            (
                "fork: Resource temporarily unavailable",
                |f| f.threads = gauge(189_990, 190_000),
                "thread-limit",
            ),
            (
                "fork: Resource temporarily unavailable",
                |f| f.pids = gauge(32_760, 32_768),
                "pid-limit",
            ),
            (
                "fork: Resource temporarily unavailable",
                |f| f.user_tasks = gauge(20_000, 20_000),
                "user-task-limit",
            ),
            (
                "unable to join session keyring: unable to create session key: disk quota exceeded",
                |f| f.keys = gauge(200, 200),
                "key-limit",
            ),
        ];
        for (error, change, code) in cases {
            let mut facts = roomy();
            change(&mut facts);
            let diagnosis = diagnose(error, &facts);
            assert_eq!(
                diagnosis.as_ref().map(|d| d.code),
                Some(code),
                "{error}: {diagnosis:?}"
            );
            assert!(CODES.contains(&code), "{code}");
        }
    }

    #[test]
    fn the_mount_limit_is_told_with_its_figures_and_what_raises_it() {
        let facts = Facts {
            mounts: gauge(99_990, 100_000),
            ..roomy()
        };
        let found = diagnose(MOUNT, &facts).unwrap();
        assert_eq!(
            found.cause,
            "disks and inodes are free, but the limit on mounts is reached: 99990 of 100000"
        );
        assert!(
            found.remedy.contains("fs.mount-max=200000"),
            "{}",
            found.remedy
        );
    }

    #[test]
    fn what_no_figure_explains_is_not_explained_away() {
        for error in [
            MOUNT,
            "fork: resource temporarily unavailable",
            "permission denied",
            "disk quota exceeded",
        ] {
            assert_eq!(diagnose(error, &roomy()), None, "{error}");
        }
        assert_eq!(diagnose(MOUNT, &Facts::default()), None);
        assert!(
            unexplained(MOUNT, &roomy())
                .unwrap()
                .contains("mounts are 300 of 100000")
        );
        assert_eq!(unexplained("permission denied", &roomy()), None);
        assert_eq!(
            unexplained(MOUNT, &Facts::default()),
            None,
            "nothing was looked at"
        );
    }
}
