//! Processes for real: `/bin/sh` and `sleep`, a supervisor on a folder of its own, and another one after it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::runtime::Runtime;
use tradewind_cloud::process::{Change, Changes, Error, Notice, Options, Supervisor};
use tradewind_core::{
    capability::{ProcessKey, ProcessSpec, ProcessStatus, Processes},
    failure::FailureKind,
    grant::{Entry, PortRange, ProcessGrant, Spaces},
    names::{InstanceName, Namespace},
    units::{Bytes, MilliCpu, Millis},
    workload::{
        Check, ConfigFile, EnvValue, EnvVar, Exposure, FileContent, Health, LogQuery, Output,
        Phase, Port, Probe, Protocol, Resources, SecretRef,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A supervisor on a folder of its own. Whatever it started is removed at the end.
struct Bench {
    supervisor: Supervisor,
    changes: Changes,
    owner: InstanceName,
    grant: ProcessGrant,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::with(options).await
    }

    async fn with(options: impl Fn(&Path) -> Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("shared")).unwrap();
        let supervisor = Supervisor::start(options(folder.path())).await.unwrap();
        let changes = supervisor.changes();
        Self {
            supervisor,
            changes,
            owner: "local".parse().unwrap(),
            grant: grant(),
            folder,
        }
    }

    /// Something in a folder that processes may write to.
    fn shared(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("shared").join(name)
    }

    /// Lets the supervisor go as a stopping daemon would, and starts the next one.
    async fn restart(&mut self) {
        self.supervisor.shutdown().await;
        self.supervisor = Supervisor::start(options(self.folder.path()))
            .await
            .unwrap();
        self.changes = self.supervisor.changes();
    }

    async fn ensure(
        &self,
        key: &ProcessKey,
        spec: ProcessSpec,
    ) -> Result<ProcessStatus, tradewind_core::failure::Failure> {
        self.supervisor
            .ensure(&self.owner, &self.grant, key.clone(), spec)
            .await
    }

    async fn status(&self, key: &ProcessKey) -> Option<ProcessStatus> {
        self.supervisor
            .status(&self.owner, std::slice::from_ref(key))
            .await
            .unwrap()
            .remove(0)
    }

    /// Waits for changes until the status is as wanted.
    async fn until(
        &mut self,
        key: &ProcessKey,
        wanted: impl Fn(&ProcessStatus) -> bool,
    ) -> ProcessStatus {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(status) = self.status(key).await.filter(|s| wanted(s)) {
                    return status;
                }
                self.changes.next().await.unwrap();
            }
        });
        match waited.await {
            Ok(status) => status,
            Err(_) => panic!("it never came to that: {:?}", self.status(key).await),
        }
    }

    async fn ended(&mut self, key: &ProcessKey) -> ProcessStatus {
        self.until(key, |s| matches!(s.phase, Phase::Succeeded | Phase::Failed))
            .await
    }

    async fn output(&self, key: &ProcessKey) -> Vec<String> {
        let query = LogQuery {
            replica: Some(key.replica),
            tail: 1000,
            after: None,
            previous: false,
        };
        let chunk = self
            .supervisor
            .logs(&self.owner, &key.allocation, &query)
            .await
            .unwrap();
        chunk.lines.into_iter().map(|l| l.text).collect()
    }

    async fn clear(mut self) {
        for key in self.supervisor.owned(&self.owner).await.unwrap() {
            self.gone(&key).await;
        }
        self.supervisor.shutdown().await;
    }

    async fn gone(&mut self, key: &ProcessKey) {
        let all = tokio::time::timeout(PATIENCE, async {
            while !self.supervisor.remove(&self.owner, key).await.unwrap() {
                self.changes.next().await.unwrap();
            }
        });
        all.await.unwrap();
        assert_eq!(self.status(key).await, None);
    }
}

impl Drop for Bench {
    /// A failed test leaves nothing running.
    fn drop(&mut self) {
        let processes = self.folder.path().join("processes/local");
        let below = |p: std::path::PathBuf| {
            std::fs::read_dir(p)
                .into_iter()
                .flatten()
                .map(|e| e.unwrap().path())
        };
        for file in below(processes)
            .flat_map(below)
            .flat_map(below)
            .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("run-"))
        {
            // The supervisor may be removing it at this moment.
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let Some(pid) = text.lines().next().filter(|_| text.lines().count() == 1) else {
                continue;
            };
            let _ = rustix::process::kill_process_group(
                rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

fn options(folder: &Path) -> Options {
    // Control groups have tests of their own: the others show that nothing depends on them.
    Options {
        groups: false,
        ..Options::new(folder.join("processes"), Some(folder.join("secrets")))
    }
}

fn grant() -> ProcessGrant {
    let programs = ProcessGrant::of(&["sh", "sleep", "no-such-program", "/usr/bin/*"]);
    ProcessGrant {
        processes: 100,
        secrets: vec!["key".into()],
        namespace: Some(Namespace::default_namespace()),
        ..programs
    }
}

fn key(name: &str) -> ProcessKey {
    ProcessKey {
        allocation: name.parse().unwrap(),
        replica: 0,
    }
}

fn command(words: &[&str]) -> ProcessSpec {
    ProcessSpec {
        command: words.iter().map(|w| (*w).to_owned()).collect(),
        env: Vec::new(),
        working_directory: None,
        ports: Vec::new(),
        files: Vec::new(),
        limits: None,
        promised: None,
        startup: None,
        readiness: None,
        liveness: None,
        restarts: 0,
        restart_always: false,
        deadline: None,
        stop_signal: "TERM".to_owned(),
        stop_grace: Millis(5000),
    }
}

fn sh(script: &str) -> ProcessSpec {
    command(&["sh", "-c", script])
}

fn port(name: &str, number: u16) -> Port {
    Port {
        name: name.to_owned(),
        number,
        published: None,
        protocol: Protocol::Http,
        exposure: Exposure::Local,
    }
}

fn probe(check: Check) -> Probe {
    Probe {
        check,
        initial_delay: Millis(0),
        interval: Millis(200),
        timeout: Millis(1000),
        healthy_after: 1,
        unhealthy_after: 2,
    }
}

fn alive(pid: u32) -> bool {
    // An ended process that its parent has not fetched yet has no command line any more.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_end_with_their_status_and_output() {
    let mut bench = Bench::new().await;
    let (good, bad) = (key("good"), key("bad"));
    bench
        .ensure(&good, sh("echo out; echo err >&2"))
        .await
        .unwrap();
    bench.ensure(&bad, sh("exit 3")).await.unwrap();
    let status = bench.ended(&good).await;
    assert_eq!(
        (status.phase, status.exit_code, status.pid),
        (Phase::Succeeded, Some(0), 0)
    );
    assert!(status.ended_at >= status.started_at && status.started_at.is_some());
    assert_eq!(bench.output(&good).await, ["out", "err"]);
    let status = bench.ended(&bad).await;
    assert_eq!(
        (status.phase, status.exit_code, status.message.as_str()),
        (Phase::Failed, Some(3), "ended with status 3")
    );
    // The same spec again: a job that has ended is not run twice.
    assert_eq!(
        bench.ensure(&bad, sh("exit 3")).await.unwrap().phase,
        Phase::Failed
    );
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_common_secret_is_for_those_whom_the_grant_names() {
    let mut bench = Bench::new().await;
    let secrets = bench.folder.path().join("secrets");
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&secrets)
        .unwrap();
    std::fs::write(secrets.join("key"), "common\n").unwrap();
    let secret = SecretRef {
        name: "key".to_owned(),
        key: None,
    };
    let mut variable = sh("echo $KEY");
    variable.env = vec![EnvVar {
        name: "KEY".to_owned(),
        value: EnvValue::Secret(secret.clone()),
    }];
    let mut file = sh("cat key");
    file.files = vec![ConfigFile {
        path: "key".to_owned(),
        mode: 0o640,
        content: FileContent::Secret(secret),
    }];
    let team: Namespace = "team".parse().unwrap();
    let shared = ProcessGrant {
        secrets: vec![Entry {
            name: "key".to_owned(),
            namespaces: Some(Spaces::All),
        }],
        ..grant()
    };
    for (name, spec, field) in [("variable", variable, "env[0]"), ("file", file, "files[0]")] {
        bench.grant = grant().for_namespace(Some(&team));
        let refused = bench.ensure(&key(name), spec.clone()).await.unwrap_err();
        assert_eq!(
            (refused.code.as_deref(), refused.field.as_deref()),
            (Some("secret"), Some(field)),
            "{refused:?}"
        );
        assert!(
            refused.message.contains("of namespace \"team\""),
            "{refused:?}"
        );
        bench.grant = shared.for_namespace(Some(&team));
        bench.ensure(&key(name), spec).await.unwrap();
        bench.ended(&key(name)).await;
        assert_eq!(bench.output(&key(name)).await, ["common"]);
    }
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_given_reaches_the_process() {
    let mut bench = Bench::new().await;
    let secrets = bench.folder.path().join("secrets");
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&secrets)
        .unwrap();
    std::fs::write(secrets.join("key"), "s3cret\n").unwrap();
    let secret = SecretRef {
        name: "key".to_owned(),
        key: None,
    };
    let mut spec =
        sh("/usr/bin/env | sort; cat conf/token; stat -c %a conf/token; [ -w . ] && echo writable");
    spec.env = vec![
        EnvVar {
            name: "PLAIN".to_owned(),
            value: EnvValue::Text("a b\nc".to_owned()),
        },
        EnvVar {
            name: "TOKEN".to_owned(),
            value: EnvValue::Secret(secret.clone()),
        },
    ];
    spec.ports = vec![port("web-ui", 0), port("admin", 0)];
    spec.files = vec![ConfigFile {
        path: "conf/token".to_owned(),
        mode: 0o640,
        content: FileContent::Secret(secret),
    }];
    let id = key("env");
    let status = bench.ensure(&id, spec).await.unwrap();
    bench.ended(&id).await;
    let [ui, admin] = [0, 1].map(|i: usize| status.endpoints[i].number);
    assert!(ui != 0 && admin != 0 && ui != admin);
    let mut lines = bench.output(&id).await;
    // The inner shell adds its own working folder.
    lines.retain(|l| !l.starts_with("PATH=") && !l.starts_with("PWD=") && !l.starts_with("_="));
    // What belongs to the replica is known by this, whatever becomes of it.
    assert_eq!(
        lines
            .iter()
            .filter(|l| l.starts_with("TRADEWIND_RUN="))
            .count(),
        1,
        "{lines:?}"
    );
    lines.retain(|l| !l.starts_with("TRADEWIND_RUN="));
    let mut expected = vec![
        format!("PORT={ui}"),
        format!("PORT_ADMIN={admin}"),
        format!("PORT_WEB_UI={ui}"),
        "PLAIN=a b".to_owned(),
        "TOKEN=s3cret".to_owned(),
        "c".to_owned(),
    ];
    expected.sort();
    let (environment, rest) = lines.split_at(6);
    let mut environment = environment.to_vec();
    environment.sort();
    assert_eq!(environment, expected);
    assert_eq!(rest, ["s3cret", "640", "writable"]);
    let record = bench
        .folder
        .path()
        .join("processes/local/env/0/process.jsonl");
    assert!(!std::fs::read_to_string(record).unwrap().contains("s3cret"));
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_refused_by_name() {
    let mut bench = Bench::new().await;
    let root = bench.folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("open/inner")).unwrap();
    std::fs::create_dir(root.join("closed")).unwrap();
    std::os::unix::fs::symlink(root.join("closed"), root.join("open/link")).unwrap();
    bench.grant.directories = vec![root.join("open").display().to_string().into()];
    bench.grant.ports = vec![PortRange::new(4000, 4001)];
    bench.grant.cpu = Some(MilliCpu(1000));
    let inside = |path: &str| {
        let mut spec = sh("pwd");
        spec.working_directory = Some(root.join(path).display().to_string());
        spec
    };
    let with = |change: &dyn Fn(&mut ProcessSpec)| {
        let mut spec = sh("true");
        change(&mut spec);
        spec
    };
    let file = |path: String| {
        move |s: &mut ProcessSpec| {
            s.files = vec![ConfigFile {
                path: path.clone(),
                mode: 0o600,
                content: FileContent::Data(b"x".to_vec()),
            }];
        }
    };
    let secret = |name: &str, key: Option<&str>| EnvVar {
        name: "S".to_owned(),
        value: EnvValue::Secret(SecretRef {
            name: name.to_owned(),
            key: key.map(str::to_owned),
        }),
    };
    use FailureKind::{Denied, Invalid, OutOfCapacity};
    let cases: Vec<(&str, ProcessSpec, FailureKind, &str)> = vec![
        ("not granted", command(&["cat"]), Denied, "command[0]"),
        (
            "missing",
            command(&["no-such-program"]),
            Invalid,
            "command[0]",
        ),
        (
            "climbing",
            command(&["/usr/bin/../../bin/sh"]),
            Invalid,
            "command[0]",
        ),
        ("relative", command(&["./sh"]), Invalid, "command[0]"),
        ("empty", command(&[]), Invalid, "command"),
        ("nul", command(&["sh", "-c", "a\0b"]), Invalid, "command[2]"),
        ("outside", inside("closed"), Denied, "working-directory"),
        ("link out", inside("open/link"), Denied, "working-directory"),
        (
            "dots out",
            inside("open/../closed"),
            Denied,
            "working-directory",
        ),
        (
            "absent",
            inside("open/absent"),
            Invalid,
            "working-directory",
        ),
        (
            "port",
            with(&|s| s.ports = vec![port("a", 4002)]),
            Denied,
            "ports[0].number",
        ),
        (
            "port twice",
            with(&|s| s.ports = vec![port("a", 0), port("a", 0)]),
            Invalid,
            "ports[1].name",
        ),
        (
            "signal",
            with(&|s| s.stop_signal = "STOP".to_owned()),
            Invalid,
            "stop-signal",
        ),
        (
            "name",
            with(&|s| {
                s.env = vec![EnvVar {
                    name: "A=B".to_owned(),
                    value: EnvValue::Text(String::new()),
                }]
            }),
            Invalid,
            "env[0].name",
        ),
        (
            "mark",
            with(&|s| {
                s.env = vec![EnvVar {
                    name: "TRADEWIND_RUN".to_owned(),
                    value: EnvValue::Text("mine".to_owned()),
                }]
            }),
            Invalid,
            "env[0].name",
        ),
        (
            "secret",
            with(&|s| s.env = vec![secret("other", None)]),
            Denied,
            "env[0]",
        ),
        (
            "secret path",
            with(&|s| s.env = vec![secret("key", Some("../x"))]),
            Invalid,
            "env[0]",
        ),
        (
            "secret absent",
            with(&|s| s.env = vec![secret("key", None)]),
            Denied,
            "env[0]",
        ),
        (
            "file out",
            with(&file(root.join("closed/f").display().to_string())),
            Denied,
            "files[0].path",
        ),
        (
            "file link",
            with(&file(root.join("open/link/f").display().to_string())),
            Denied,
            "files[0].path",
        ),
        (
            "file dots",
            with(&file("../f".to_owned())),
            Invalid,
            "files[0].path",
        ),
        (
            "probe port",
            with(&|s| {
                s.readiness = Some(probe(Check::Tcp {
                    port: "x".to_owned(),
                }))
            }),
            Invalid,
            "readiness.check.port",
        ),
        (
            "probe command",
            with(&|s| {
                s.liveness = Some(probe(Check::Command {
                    command: vec!["cat".to_owned()],
                }))
            }),
            Denied,
            "liveness.check.command[0]",
        ),
    ];
    for (name, spec, kind, field) in cases {
        let failure = bench.ensure(&key("refused"), spec).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.field.as_deref()),
            (kind, Some(field)),
            "{name}: {failure}"
        );
    }
    let big = |cpu| {
        with(&|s| {
            s.limits = Some(Resources {
                cpu: MilliCpu(cpu),
                ..Resources::default()
            })
        })
    };
    assert_eq!(
        bench.ensure(&key("big"), big(1001)).await.unwrap_err().kind,
        OutOfCapacity
    );
    assert!(
        bench
            .supervisor
            .owned(&bench.owner)
            .await
            .unwrap()
            .is_empty(),
        "a refused process leaves nothing"
    );
    let good = key("good");
    bench.ensure(&good, inside("open/inner")).await.unwrap();
    bench.ended(&good).await;
    assert_eq!(
        bench.output(&good).await,
        [root.join("open/inner").display().to_string()]
    );
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_are_counted_and_given_back() {
    let mut bench = Bench::new().await;
    bench.grant.cpu = Some(MilliCpu(1000));
    bench.grant.processes = 2;
    let sized = |cpu| {
        let mut spec = command(&["sleep", "300"]);
        spec.limits = Some(Resources {
            cpu: MilliCpu(cpu),
            ..Resources::default()
        });
        spec
    };
    bench.ensure(&key("a"), sized(600)).await.unwrap();
    let failure = bench.ensure(&key("b"), sized(600)).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::OutOfCapacity, Some("grant-exhausted"))
    );
    assert_eq!(
        bench
            .supervisor
            .machine(&bench.owner, &bench.grant)
            .await
            .unwrap()
            .free_cpu,
        400
    );
    bench.ensure(&key("b"), sized(400)).await.unwrap();
    assert_eq!(
        bench.ensure(&key("c"), sized(0)).await.unwrap_err().kind,
        FailureKind::OutOfCapacity
    );
    bench.gone(&key("a")).await;
    bench.ensure(&key("c"), sized(600)).await.unwrap();
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_was_placed_with_is_promised_and_not_its_limits() {
    let mut bench = Bench::new().await;
    bench.grant.cpu = Some(MilliCpu(1000));
    let sized = |promised, limit| {
        let of = |cpu| {
            Some(Resources {
                cpu: MilliCpu(cpu),
                ..Resources::default()
            })
        };
        ProcessSpec {
            limits: of(limit),
            promised: of(promised),
            ..command(&["sleep", "300"])
        }
    };
    let free = async |bench: &Bench| {
        bench
            .supervisor
            .machine(&bench.owner, &bench.grant)
            .await
            .unwrap()
            .free_cpu
    };
    let a = bench.ensure(&key("a"), sized(100, 2000)).await.unwrap();
    assert_eq!(free(&bench).await, 900);
    // It runs on when only that changes.
    assert_eq!(
        bench.ensure(&key("a"), sized(700, 2000)).await.unwrap().pid,
        a.pid
    );
    assert_eq!(free(&bench).await, 300);
    assert!(
        bench
            .ensure(&key("a"), sized(1100, 2000))
            .await
            .unwrap_err()
            .message
            .contains("1100 millicores")
    );
    assert_eq!(
        bench
            .ensure(&key("b"), sized(301, 301))
            .await
            .unwrap_err()
            .code
            .as_deref(),
        Some("grant-exhausted")
    );
    bench.restart().await;
    assert_eq!(free(&bench).await, 300, "also after a restart");
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_supervisor_finds_everything_and_starts_nothing_twice() {
    let mut bench = Bench::new().await;
    let gate = bench.shared("gate");
    let starts = bench.shared("starts");
    let service = sh(&format!("echo x >>{}; exec sleep 300", starts.display()));
    let job = sh(&format!(
        "until [ -e {} ]; do sleep 0.02; done; exit 7",
        gate.display()
    ));
    let (of_service, of_job, over) = (key("service"), key("job"), key("over"));
    let mut with_port = service.clone();
    with_port.ports = vec![port("http", 0)];
    let before = bench.ensure(&of_service, with_port.clone()).await.unwrap();
    bench.ensure(&of_job, job.clone()).await.unwrap();
    bench.ensure(&over, sh("exit 4")).await.unwrap();
    bench.ended(&over).await;
    let job_pid = bench.status(&of_job).await.unwrap().pid;

    // Only one daemon at a time.
    assert!(matches!(
        Supervisor::start(options(bench.folder.path())).await,
        Err(Error::InUse(_))
    ));
    bench.supervisor.shutdown().await;
    // The job ends while nobody watches.
    std::fs::write(&gate, "").unwrap();
    tokio::time::timeout(PATIENCE, async {
        while alive(job_pid) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    bench.restart().await;

    let after = bench.status(&of_service).await.unwrap();
    assert_eq!(
        (after.pid, &after.endpoints, after.phase),
        (before.pid, &before.endpoints, Phase::Running)
    );
    assert_eq!(after.started_at, before.started_at);
    assert_eq!(
        bench.ensure(&of_service, with_port).await.unwrap().pid,
        before.pid
    );
    assert_eq!(bench.ended(&of_job).await.exit_code, Some(7));
    assert_eq!(bench.ended(&over).await.exit_code, Some(4));
    assert_eq!(std::fs::read_to_string(&starts).unwrap(), "x\n");
    assert_eq!(bench.supervisor.owned(&bench.owner).await.unwrap().len(), 3);
    // One that was found again is stopped like one's own.
    bench.gone(&of_service).await;
    assert!(!alive(before.pid));
    bench.clear().await;
}

#[test]
fn a_supervisor_that_dies_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let owner: InstanceName = "local".parse().unwrap();
    // A runtime that is torn down stands for a daemon that is killed: nothing gets to run to its end.
    let first = Runtime::new().unwrap();
    let supervisor = first
        .block_on(Supervisor::start(options(folder.path())))
        .unwrap();
    let status = first
        .block_on(supervisor.ensure(&owner, &grant(), key("a"), command(&["sleep", "300"])))
        .unwrap();
    drop(supervisor);
    first.shutdown_timeout(PATIENCE);
    // Killed between the start and its record: the record does not know the process yet.
    let path = folder.path().join("processes/local/a/0/process.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let (intent, started) = text.trim().split_once("\n\n").unwrap();
    assert!(started.contains(&format!("\"pid\":{}", status.pid)) && !intent.contains("\"pid\""));
    std::fs::write(&path, intent).unwrap();
    Runtime::new().unwrap().block_on(async {
        let supervisor = Supervisor::start(options(folder.path())).await.unwrap();
        let found = supervisor
            .ensure(&owner, &grant(), key("a"), command(&["sleep", "300"]))
            .await
            .unwrap();
        assert_eq!(found.pid, status.pid);
        let mut changes = supervisor.changes();
        while !supervisor.remove(&owner, &key("a")).await.unwrap() {
            changes.next().await.unwrap();
        }
        assert!(!alive(status.pid));
        supervisor.shutdown().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spec_takes_the_place_of_the_first() {
    let mut bench = Bench::new().await;
    let id = key("a");
    let mut spec = sh("trap 'exit 0' TERM; while :; do sleep 0.05; done");
    spec.ports = vec![port("http", 0)];
    let first = bench.ensure(&id, spec.clone()).await.unwrap();
    spec.command = vec!["sleep".to_owned(), "300".to_owned()];
    assert_eq!(
        bench.ensure(&id, spec.clone()).await.unwrap().phase,
        Phase::Starting
    );
    let second = bench
        .until(&id, |s| s.phase == Phase::Running && s.pid != first.pid)
        .await;
    assert!(!alive(first.pid));
    assert_eq!(second.endpoints, first.endpoints, "a chosen port stays");
    assert_eq!(bench.ensure(&id, spec).await.unwrap().pid, second.pid);
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_restarted_as_often_as_allowed() {
    let mut bench = Bench::new().await;
    let (flaky, always) = (key("flaky"), key("always"));
    let mut spec = sh("[ -e second ] && exit 0; touch second; exit 1");
    spec.restarts = 3;
    bench.ensure(&flaky, spec).await.unwrap();
    let mut spec = sh("exit 0");
    (spec.restarts, spec.restart_always) = (1, true);
    bench.ensure(&always, spec).await.unwrap();
    let status = bench.ended(&flaky).await;
    assert_eq!(
        (status.phase, status.restarts, status.exit_code),
        (Phase::Succeeded, 1, Some(0))
    );
    let status = bench.ended(&always).await;
    assert_eq!((status.phase, status.restarts), (Phase::Failed, 1));
    assert!(
        status.message.contains("no restarts left"),
        "{}",
        status.message
    );
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stubborn_processes_are_killed_with_all_they_started() {
    let mut bench = Bench::new().await;
    let (stubborn, late) = (key("stubborn"), key("late"));
    let mut spec = sh("trap '' TERM; sleep 300 & echo $! >child; while :; do sleep 0.05; done");
    spec.stop_grace = Millis(200);
    let status = bench.ensure(&stubborn, spec).await.unwrap();
    let child = bench
        .folder
        .path()
        .join("processes/local/stubborn/0/work/child");
    let child: u32 = tokio::time::timeout(PATIENCE, async {
        loop {
            match std::fs::read_to_string(&child)
                .ok()
                .and_then(|t| t.trim().parse().ok())
            {
                Some(pid) => return pid,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await
    .unwrap();
    assert!(alive(child));
    bench.gone(&stubborn).await;
    // The kernel ends a group a moment after it was told to.
    let dead = async {
        while alive(status.pid) || alive(child) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, dead).await.unwrap();

    let mut spec = command(&["sleep", "300"]);
    spec.deadline = Some(Millis(150));
    bench.ensure(&late, spec).await.unwrap();
    let status = bench.ended(&late).await;
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.contains("deadline"), "{}", status.message);
    bench.clear().await;
}

/// Keeps a processor busy until it is dropped.
struct Busy(std::process::Child);

impl Busy {
    fn new() -> Self {
        let started = std::process::Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .spawn();
        Self(started.unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine with so much to do that a start takes its time: what is told to stop before its command has begun waits for no grace, which is a
/// minute here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_while_it_starts_does_not_wait_for_its_grace() {
    let mut bench = Bench::new().await;
    let busy: Vec<Busy> = (0..8).map(|_| Busy::new()).collect();
    let mut spec = command(&["sleep", "300"]);
    spec.stop_grace = Millis::from_secs(60);
    let keys: Vec<ProcessKey> = (0..40).map(|n| key(&format!("early-{n}"))).collect();
    let brief = keys.iter().map(|key| async {
        bench.ensure(key, spec.clone()).await.unwrap();
        let _asked = bench.supervisor.remove(&bench.owner, key).await.unwrap();
    });
    futures::future::join_all(brief).await;
    drop(busy);
    for key in &keys {
        bench.gone(key).await;
    }
    bench.clear().await;
}

/// Fills so many bytes, says so, and holds them.
fn filling(bytes: usize) -> String {
    format!(
        "x=0123456789abcdef; while [ ${{#x}} -lt {bytes} ]; do x=$x$x; done; echo filled; while :; do sleep 0.2; done"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_limit_holds_for_all_processes_together_and_for_what_they_fill() {
    let mut bench = Bench::new().await;
    let limited = |script: &str, memory: u64| {
        let mut spec = sh(script);
        spec.limits = Some(Resources {
            memory: Bytes(memory << 20),
            ..Resources::default()
        });
        spec
    };
    // One alone, and several that are small each.
    let (one, several, modest) = (key("one"), key("several"), key("modest"));
    bench
        .ensure(&one, limited(&filling(64 << 20), 16))
        .await
        .unwrap();
    let four = format!("for i in 1 2 3 4; do ({}) & done; wait", filling(8 << 20));
    bench.ensure(&several, limited(&four, 30)).await.unwrap();
    bench
        .ensure(&modest, limited(&filling(8 << 20), 64))
        .await
        .unwrap();
    for (id, limit) in [(&one, "16Mi"), (&several, "30Mi")] {
        let status = bench.ended(id).await;
        assert_eq!(
            (status.phase, status.exit_code),
            (Phase::Failed, Some(137)),
            "{status:?}"
        );
        let told = format!("outgrew its memory limit of {limit}: it filled");
        assert!(
            status.message.contains(&told) && status.message.contains("resources.memory"),
            "{}",
            status.message
        );
    }
    let filled = async {
        while bench.output(&modest).await != ["filled"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, filled).await.unwrap();
    let status = bench.status(&modest).await.unwrap();
    assert_eq!(
        (status.phase, status.restarts),
        (Phase::Running, 0),
        "{status:?}"
    );
    bench.clear().await;
}

/// Not a test by itself: others start this program again as a process that serves. It answers 503 as long as there is a file `sick`.
#[test]
fn a_server_for_the_other_tests() {
    let Some(folder) = std::env::var_os("TEST_SERVES") else {
        return;
    };
    let port = std::env::var("PORT").unwrap();
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        // A check that only connects sends nothing.
        let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
        let status = if Path::new(&folder).join("sick").exists() {
            "503 Service Unavailable"
        } else {
            "200 OK"
        };
        let _ = std::io::Write::write_all(
            &mut stream,
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes(),
        );
    }
}

impl Bench {
    /// A process that serves on the port it is given.
    fn server(&mut self) -> ProcessSpec {
        let program = std::env::current_exe().unwrap().display().to_string();
        self.grant.commands.push(program.clone().into());
        let mut spec = command(&[
            &program,
            "--exact",
            "a_server_for_the_other_tests",
            "--nocapture",
        ]);
        let folder = self.folder.path().display().to_string();
        spec.env = vec![EnvVar {
            name: "TEST_SERVES".to_owned(),
            value: EnvValue::Text(folder),
        }];
        spec.ports = vec![port("http", 0)];
        let http = Check::Http {
            port: "http".to_owned(),
            path: "/health".to_owned(),
            headers: BTreeMap::new(),
            status_min: 200,
            status_max: 299,
        };
        spec.readiness = Some(probe(http));
        spec
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_health_and_life() {
    let mut bench = Bench::new().await;
    let spec = bench.server();
    let ready = key("ready");
    let first = bench.ensure(&ready, spec).await.unwrap();
    assert_eq!(
        (first.phase, first.health),
        (Phase::Starting, Health::Unknown)
    );
    bench
        .until(&ready, |s| {
            s.health == Health::Healthy && s.phase == Phase::Running
        })
        .await;
    let mark = bench.folder.path().join("sick");
    std::fs::write(&mark, "").unwrap();
    let status = bench.until(&ready, |s| s.health == Health::Unhealthy).await;
    assert!(status.message.contains("503"), "{}", status.message);
    std::fs::remove_file(&mark).unwrap();
    bench.until(&ready, |s| s.health == Health::Healthy).await;

    let sick = key("sick");
    let mut spec = sh("touch fine; exec sleep 300");
    spec.liveness = Some(probe(Check::Command {
        command: vec!["sh".to_owned(), "-c".to_owned(), "[ -e fine ]".to_owned()],
    }));
    bench.ensure(&sick, spec).await.unwrap();
    bench.until(&sick, |s| s.health == Health::Healthy).await;
    std::fs::remove_file(bench.folder.path().join("processes/local/sick/0/work/fine")).unwrap();
    let status = bench.ended(&sick).await;
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.contains("liveness"), "{}", status.message);
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_answer_makes_nothing_ready() {
    let mut bench = Bench::new().await;
    let (http, tcp, own) = (key("http"), key("tcp"), key("own"));
    let mut spec = bench.server();
    bench.ensure(&own, spec.clone()).await.unwrap();
    bench.until(&own, |s| s.health == Health::Healthy).await;
    // These never listen; this test does so in their place.
    spec.command = vec!["sleep".to_owned(), "300".to_owned()];
    let number = bench.ensure(&http, spec.clone()).await.unwrap().endpoints[0].number;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", number))
        .await
        .unwrap();
    let server = tokio::spawn(async move {
        axum::serve(
            listener,
            axum::Router::new().route("/health", axum::routing::get(|| async {})),
        )
        .await
    });
    spec.readiness = Some(probe(Check::Tcp {
        port: "http".to_owned(),
    }));
    let other = bench.ensure(&tcp, spec).await.unwrap().endpoints[0].number;
    let _stranger = std::net::TcpListener::bind(("0.0.0.0", other)).unwrap();
    let this = std::process::id();
    for id in [&http, &tcp] {
        let status = bench.until(id, |s| s.health == Health::Unhealthy).await;
        let told = format!("not of this replica (pid {this})");
        assert!(
            status.phase == Phase::Starting && status.message.contains(&told),
            "{status:?}"
        );
    }
    bench.clear().await;
    server.abort();
}

/// Waits until a file has at least so many lines.
async fn until_lines(path: &Path, least: usize) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while std::fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .count()
            < least
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("{} never had {least} lines", path.display()));
}

fn script(text: &str) -> Check {
    Check::Command {
        command: vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_is_not_ended_by_its_liveness_probe() {
    let mut bench = Bench::new().await;
    let slow = key("slow");
    let work = bench.folder.path().join("processes/local/slow/0/work");
    let mut spec = command(&["sleep", "300"]);
    spec.restarts = 5;
    spec.liveness = Some(probe(script("echo x >> looked; [ -e fine ]")));
    bench.ensure(&slow, spec).await.unwrap();
    // Three times as often as it may fail once it has been alive.
    until_lines(&work.join("looked"), 6).await;
    std::fs::write(work.join("fine"), "").unwrap();
    let status = bench.until(&slow, |s| s.health == Health::Healthy).await;
    assert_eq!(
        (status.phase, status.restarts),
        (Phase::Running, 0),
        "{status:?}"
    );
    // From its first success on, its failures count.
    std::fs::remove_file(work.join("fine")).unwrap();
    let status = bench.until(&slow, |s| s.message.contains("liveness")).await;
    assert!(
        !status.message.contains("initialDelay"),
        "{}",
        status.message
    );
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_probes_wait_for_the_startup_probe_and_its_failures_end_the_run() {
    let mut bench = Bench::new().await;
    let slow = key("slow");
    let work = bench.folder.path().join("processes/local/slow/0/work");
    let mut spec = command(&["sleep", "300"]);
    spec.startup = Some(Probe {
        unhealthy_after: 1_000,
        ..probe(script("echo x >> looked; [ -e started ]"))
    });
    spec.readiness = Some(probe(script("echo x >> asked")));
    spec.liveness = Some(probe(script("echo x >> lived; [ -e fine ]")));
    bench.ensure(&slow, spec.clone()).await.unwrap();
    until_lines(&work.join("looked"), 4).await;
    let status = bench.status(&slow).await.unwrap();
    assert_eq!(
        (status.phase, status.health),
        (Phase::Starting, Health::Unknown),
        "{status:?}"
    );
    assert!(!work.join("asked").exists() && !work.join("lived").exists());
    std::fs::write(work.join("fine"), "").unwrap();
    std::fs::write(work.join("started"), "").unwrap();
    bench
        .until(&slow, |s| {
            s.health == Health::Healthy && s.phase == Phase::Running
        })
        .await;
    until_lines(&work.join("lived"), 1).await;
    let looked = std::fs::read_to_string(work.join("looked")).unwrap();
    until_lines(&work.join("asked"), 3).await;
    assert_eq!(
        std::fs::read_to_string(work.join("looked")).unwrap(),
        looked,
        "what has started is not asked again whether it has"
    );

    // Without a check of being ready, having started is enough.
    let (alone, never) = (key("alone"), key("never"));
    let started = ProcessSpec {
        readiness: None,
        liveness: None,
        startup: Some(probe(script("[ -e up ]"))),
        ..spec
    };
    let up = ProcessSpec {
        command: sh("touch up; exec sleep 300").command,
        ..started.clone()
    };
    bench.ensure(&alone, up).await.unwrap();
    bench
        .until(&alone, |s| {
            s.health == Health::Healthy && s.phase == Phase::Running
        })
        .await;
    bench.ensure(&never, started).await.unwrap();
    let status = bench.ended(&never).await;
    assert_eq!(status.phase, Phase::Failed);
    assert!(
        status.message.contains("startup probe failed")
            && status.message.contains("startup.unhealthyAfter"),
        "{}",
        status.message
    );
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_of_all_attempts_together() {
    let mut bench = Bench::new().await;
    let (again, long) = (key("again"), key("long"));
    let mut spec = sh("echo try; exit 3");
    (spec.restarts, spec.deadline) = (50, Some(Millis(2_500)));
    bench.ensure(&again, spec).await.unwrap();
    let mut spec = command(&["sleep", "300"]);
    (spec.restarts, spec.deadline) = (50, Some(Millis(150)));
    bench.ensure(&long, spec).await.unwrap();
    let status = bench.ended(&long).await;
    assert_eq!(
        (status.phase, status.restarts),
        (Phase::Failed, 0),
        "what is past its deadline is not started again: {status:?}"
    );
    assert!(status.message.contains("deadline"), "{}", status.message);
    let status = bench.ended(&again).await;
    // At once and after a second: the next pause of two seconds would lead past the deadline.
    assert_eq!(
        (status.phase, bench.output(&again).await.len()),
        (Phase::Failed, 2),
        "{status:?}"
    );
    assert!(
        status
            .message
            .contains("deadline of 2s 500ms leaves no time"),
        "{}",
        status.message
    );
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_run_is_told_as_such_and_is_no_failed_attempt() {
    let mut bench = Bench::new().await;
    let id = key("lost");
    let work = bench.folder.path().join("processes/local/lost/0/work");
    let trace = work.join("trace");
    let spec = sh("echo ran >> trace; until [ -e gate ]; do sleep 0.02; done");
    let kill = |status: &ProcessStatus| {
        let group = rustix::process::Pid::from_raw(i32::try_from(status.pid).unwrap()).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    };
    // As at the end of a machine: the wrapper goes with the process, once under a supervisor and once between two.
    let first = bench.ensure(&id, spec).await.unwrap();
    until_lines(&trace, 1).await;
    kill(&first);
    let status = bench
        .until(&id, |s| s.message.contains("starts again"))
        .await;
    assert!(
        status.message.starts_with("lost: ") && status.exit_code.is_none(),
        "{status:?}"
    );
    let second = bench
        .until(&id, |s| s.phase == Phase::Running && s.restarts == 1)
        .await;
    until_lines(&trace, 2).await;
    bench.supervisor.shutdown().await;
    kill(&second);
    bench.supervisor = Supervisor::start(options(bench.folder.path()))
        .await
        .unwrap();
    bench.changes = bench.supervisor.changes();
    let third = bench
        .until(&id, |s| s.phase == Phase::Running && s.restarts == 2)
        .await;
    std::fs::write(work.join("gate"), "").unwrap();
    let status = bench.ended(&id).await;
    assert_eq!(
        (status.phase, status.exit_code),
        (Phase::Succeeded, Some(0)),
        "{third:?} {status:?}"
    );
    until_lines(&trace, 3).await;
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_port_that_somebody_has_is_refused_and_a_chosen_one_chosen_anew() {
    let mut bench = Bench::new().await;
    let stranger = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let number = stranger.local_addr().unwrap().port();
    bench.grant.ports = vec![PortRange::new(number, number)];
    let mut spec = bench.server();
    (spec.restarts, spec.restart_always) = (u32::MAX, true);
    let (fixed, chosen) = (key("fixed"), key("chosen"));
    let mut with_number = spec.clone();
    with_number.ports = vec![port("http", number)];
    let failure = bench.ensure(&fixed, with_number.clone()).await.unwrap_err();
    let told = format!(
        "port {number} is taken by something that Tradewind did not start (pid {})",
        std::process::id()
    );
    assert_eq!(
        (failure.message.as_str(), failure.code.as_deref()),
        (told.as_str(), Some("port-taken"))
    );
    assert_eq!(failure.field.as_deref(), Some("ports[0].number"));
    drop(stranger);
    bench.ensure(&fixed, with_number).await.unwrap();
    let up = bench.until(&fixed, |s| s.health == Health::Healthy).await;

    // It ends, and somebody is faster than its next start: that is told, and tried again until the number is free.
    bench.supervisor.shutdown().await;
    kill_group(up.pid);
    let stranger = take(number).await;
    bench.restart().await;
    let status = bench
        .until(&fixed, |s| s.message.contains("is taken by"))
        .await;
    assert_eq!(
        (status.phase, status.pid),
        (Phase::Starting, 0),
        "{status:?}"
    );
    drop(stranger);
    bench.until(&fixed, |s| s.health == Health::Healthy).await;

    // A chosen number is let go, and the process told the new one.
    let before = bench.ensure(&chosen, spec).await.unwrap();
    bench.until(&chosen, |s| s.health == Health::Healthy).await;
    let old = before.endpoints[0].number;
    bench.supervisor.shutdown().await;
    kill_group(before.pid);
    let _stranger = take(old).await;
    bench.restart().await;
    let mut notices = bench.supervisor.notices().unwrap();
    let after = bench.until(&chosen, |s| s.health == Health::Healthy).await;
    assert_ne!(after.endpoints[0].number, old);
    let Notice::PortMoved {
        allocation,
        message,
        ..
    } = notices.recv().await.unwrap()
    else {
        panic!("another notice")
    };
    assert_eq!(allocation, chosen.allocation);
    assert!(
        message.contains(&format!("{old} was taken by")),
        "{message}"
    );
    bench.clear().await;
}

/// Ends a wrapper and all of its group, as a reboot does.
fn kill_group(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
    // The wrapper is a child of this test: the next supervisor is another process's, and would not find it.
    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
}

/// Listens on a number as soon as it is free.
async fn take(number: u16) -> std::net::TcpListener {
    let taken = async {
        loop {
            match std::net::TcpListener::bind(("127.0.0.1", number)) {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap()
}

/// The processes that this file tells of: each line is an id.
fn noted(path: &Path) -> Vec<u32> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .filter_map(|l| l.trim().parse().ok())
        .collect()
}

async fn all_ended(pids: Vec<u32>) {
    assert!(!pids.is_empty());
    let ended = async {
        while pids.iter().any(|pid| alive(*pid)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .unwrap_or_else(|_| panic!("some of {pids:?} still run"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_its_group_ends_with_its_replica() {
    // Once known by marks alone, once by control groups as well where this machine has some.
    for groups in [false, true] {
        let mut bench = Bench::with(|folder| Options {
            groups,
            ..options(folder)
        })
        .await;
        let at = |name: &str| bench.shared(name);
        let (job, service, crashing, checked) =
            (key("job"), key("service"), key("crashing"), key("checked"));
        let escape = |name: &str| {
            // A session of its own, its parent gone, its output elsewhere.
            format!(
                "setsid -f sh -c 'echo $$ >>{}; exec sleep 301' >/dev/null 2>&1; ",
                at(name).display()
            )
        };
        let escaped = |name: &str| {
            let path = at(name);
            async move {
                let there = async {
                    while noted(&path).is_empty() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::time::timeout(PATIENCE, there).await.unwrap();
                noted(&path)
            }
        };
        bench
            .ensure(
                &job,
                sh(&(escape("of-job")
                    + &format!(
                        "until [ -s {} ]; do sleep 0.01; done; exit 0",
                        at("of-job").display()
                    ))),
            )
            .await
            .unwrap();
        bench
            .ensure(&service, sh(&(escape("of-service") + "exec sleep 300")))
            .await
            .unwrap();
        let mut spec = sh(&(escape("of-crashing")
            + &format!(
                "until [ -s {} ]; do sleep 0.01; done; exit 3",
                at("of-crashing").display()
            )));
        (spec.restarts, spec.restart_always) = (u32::MAX, true);
        bench.ensure(&crashing, spec).await.unwrap();
        let mut spec = command(&["sleep", "300"]);
        let script = escape("of-check")
            + &format!(
                "until [ -s {} ]; do sleep 0.01; done",
                at("of-check").display()
            );
        spec.readiness = Some(probe(Check::Command {
            command: vec!["sh".to_owned(), "-c".to_owned(), script],
        }));
        bench.ensure(&checked, spec).await.unwrap();

        let (of_job, of_service, of_crashing, of_check) = (
            escaped("of-job"),
            escaped("of-service"),
            escaped("of-crashing"),
            escaped("of-check"),
        );
        let status = bench.ended(&job).await;
        assert_eq!(
            (status.phase, status.message.as_str()),
            (
                Phase::Succeeded,
                "ended; a process that it left running was ended"
            )
        );
        all_ended(of_job.await).await;
        // Each restart ends what the one before has left.
        bench.until(&crashing, |s| s.restarts > 0).await;
        let first = of_crashing.await[..1].to_vec();
        all_ended(first).await;
        // What a check has started ends with the check: the process itself goes on.
        bench.until(&checked, |s| s.health == Health::Healthy).await;
        let first = of_check.await[..1].to_vec();
        all_ended(first).await;
        let of_service = of_service.await;
        assert!(alive(of_service[0]), "it lives as long as its replica does");
        // The next daemon knows it as well.
        bench.supervisor.shutdown().await;
        bench.supervisor = Supervisor::start(Options {
            groups,
            ..options(bench.folder.path())
        })
        .await
        .unwrap();
        bench.changes = bench.supervisor.changes();
        assert!(alive(of_service[0]));
        bench.gone(&service).await;
        all_ended(of_service).await;
        bench.clear().await;
    }
}

/// The folder of the control group, version 2, that a process is in below the daemon's.
fn group_of(pid: u32) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let folder = Path::new(mount.split(' ').nth(4)?).join(group);
    (group.contains("tradewind-") && folder.is_dir()).then_some(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shows_no_sign_of_its_replica_ends_by_its_control_group_and_no_folder_is_left() {
    let mut bench = Bench::with(|folder| Options {
        groups: true,
        ..options(folder)
    })
    .await;
    let (service, note) = (key("service"), bench.shared("escaped"));
    // Without its mark, its parent, its process group and the replica's output.
    let escape = format!(
        "setsid -f env -i sh -c 'echo $$ >>{}; exec sleep 302' >/dev/null 2>&1 </dev/null; exec sleep 300",
        note.display()
    );
    bench.ensure(&service, sh(&escape)).await.unwrap();
    let there = async {
        while noted(&note).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap();
    let escaped = noted(&note);
    let Some(group) = group_of(escaped[0]) else {
        eprintln!(
            "skipped: this machine has no control groups of version 2 in which groups can be made"
        );
        let pid = rustix::process::Pid::from_raw(escaped[0].cast_signed());
        let _ = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL);
        return bench.clear().await;
    };
    let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
    assert!(
        members.lines().any(|pid| pid == escaped[0].to_string()),
        "{members}"
    );
    bench.gone(&service).await;
    all_ended(escaped).await;
    assert!(!group.exists());
    bench.supervisor.shutdown().await;
    assert!(!group.parent().unwrap().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_elsewhere_by_now_is_taken_over_only_when_told_and_nothing_starts_twice() {
    let mut bench = Bench::new().await;
    let (old, new) = (
        bench.folder.path().join("old"),
        bench.folder.path().join("new"),
    );
    let (starts, gate) = (bench.shared("starts"), bench.shared("gate"));
    let start = async |folder: &Path, moved| {
        Supervisor::start(Options {
            moved,
            ..options(folder)
        })
        .await
    };
    for copied in [false, true] {
        std::fs::create_dir(&old).unwrap();
        bench.supervisor.shutdown().await;
        bench.supervisor = start(&old, false).await.unwrap();
        let (service, job) = (key("service"), key("job"));
        bench
            .ensure(
                &service,
                sh(&format!("echo x >>{}; exec sleep 300", starts.display())),
            )
            .await
            .unwrap();
        let wait = format!(
            "until [ -e {} ]; do sleep 0.02; done; echo done; exit 7",
            gate.display()
        );
        bench.ensure(&job, sh(&wait)).await.unwrap();
        let started = async {
            while !starts.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, started).await.unwrap();
        let before = bench.status(&service).await.unwrap();
        let in_use = |error: Result<Supervisor, Error>| matches!(error, Err(Error::InUse(_)));
        let carry = |from: &Path, to: &Path, how: &[&str]| {
            assert!(
                std::process::Command::new(how[0])
                    .args(&how[1..])
                    .arg(from)
                    .arg(to)
                    .status()
                    .unwrap()
                    .success()
            );
        };
        if copied {
            carry(&old, &new, &["cp", "-a"]);
            assert!(in_use(start(&new, true).await), "the original is at work");
            bench.supervisor.shutdown().await;
        } else {
            bench.supervisor.shutdown().await;
            carry(&old, &new, &["mv"]);
        }
        let refused = start(&new, false).await.err().unwrap().to_string();
        for part in [
            "/new\" was at",
            "/old\" when it was used last",
            "2 replicas of it run",
            &before.pid.to_string(),
            "--moved",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        bench.supervisor = start(&new, true).await.unwrap();
        bench.changes = bench.supervisor.changes();
        let after = bench.status(&service).await.unwrap();
        assert_eq!(
            (after.pid, after.phase, after.started_at),
            (before.pid, Phase::Running, before.started_at)
        );
        // The status of what ends now is found, wherever it is written.
        std::fs::write(&gate, "").unwrap();
        assert_eq!(bench.ended(&job).await.exit_code, Some(7));
        assert_eq!(bench.output(&job).await, ["done"]);
        assert_eq!(
            std::fs::read_to_string(&starts).unwrap(),
            "x\n",
            "nothing is started twice"
        );
        if copied {
            bench.supervisor.shutdown().await;
            let refused = start(&old, false).await.err().unwrap().to_string();
            assert!(
                refused.contains("/new\" when it was used last"),
                "the original knows who has taken over: {refused}"
            );
            bench.supervisor = start(&new, false).await.unwrap();
            bench.changes = bench.supervisor.changes();
        }
        for id in [service, job] {
            bench.gone(&id).await;
        }
        assert!(!alive(before.pid));
        bench.supervisor.shutdown().await;
        for path in [&old, &new] {
            let _ = std::fs::remove_dir_all(path);
        }
        std::fs::remove_file(&starts).unwrap();
        std::fs::remove_file(&gate).unwrap();
    }
    // A link, or the same folder mounted twice, is no other folder.
    std::fs::create_dir(&old).unwrap();
    std::os::unix::fs::symlink(&old, &new).unwrap();
    for path in [&old, &new] {
        bench.supervisor = start(path, false).await.unwrap();
        bench.supervisor.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_gives_every_line_once_and_survives_a_restart() {
    let mut bench = Bench::new().await;
    let allocation = key("talk").allocation;
    let at = |replica| ProcessKey {
        allocation: allocation.clone(),
        replica,
    };
    let gate = bench.shared("gate");
    let script = format!(
        "for i in 1 2 3; do echo $i; done; until [ -e {} ]; do sleep 0.02; done; echo 4 >&2; printf 5",
        gate.display()
    );
    for replica in [0, 1] {
        bench.ensure(&at(replica), sh(&script)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    let read =
        async |bench: &Bench, after: Option<String>, seen: &mut Vec<(u32, Output, String)>| {
            let query = LogQuery {
                replica: None,
                tail: 100,
                after,
                previous: false,
            };
            let chunk = bench
                .supervisor
                .logs(&bench.owner, &allocation, &query)
                .await
                .unwrap();
            seen.extend(
                chunk
                    .lines
                    .into_iter()
                    .map(|l| (l.replica, l.output, l.text)),
            );
            chunk.next
        };
    while seen.len() < 6 {
        after = read(&bench, after, &mut seen).await;
        assert!(after.is_some());
    }
    bench.restart().await;
    std::fs::write(&gate, "").unwrap();
    for replica in [0, 1] {
        bench.ended(&at(replica)).await;
    }
    assert_eq!(
        read(&bench, after, &mut seen).await,
        None,
        "nothing more can come"
    );
    seen.sort_by_key(|(replica, _, text)| (*replica, text.clone()));
    let expected = [0, 1].into_iter().flat_map(|r| {
        (1..=5).map(move |n| {
            (
                r,
                if n == 4 {
                    Output::Stderr
                } else {
                    Output::Stdout
                },
                n.to_string(),
            )
        })
    });
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let failure = bench
        .supervisor
        .logs(
            &bench.owner,
            &allocation,
            &LogQuery {
                replica: None,
                tail: 1,
                after: Some("x".to_owned()),
                previous: false,
            },
        )
        .await;
    assert_eq!(failure.unwrap_err().field.as_deref(), Some("after"));
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_output_is_bounded_and_its_end_stays() {
    let mut bench = Bench::new().await;
    bench.grant.log_size = Bytes(256 << 10);
    let id = key("loud");
    bench
        .ensure(
            &id,
            sh("i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done"),
        )
        .await
        .unwrap();
    bench.ended(&id).await;
    let file =
        std::fs::metadata(bench.folder.path().join("processes/local/loud/0/stdout")).unwrap();
    assert!(std::os::unix::fs::MetadataExt::blocks(&file) * 512 <= (256 << 10) + 8192);
    let query = |tail, after| LogQuery {
        replica: None,
        tail,
        after,
        previous: false,
    };
    let tail = bench
        .supervisor
        .logs(&bench.owner, &id.allocation, &query(2, None))
        .await
        .unwrap();
    assert_eq!(
        tail.lines
            .iter()
            .map(|l| l.text.as_str())
            .collect::<Vec<_>>(),
        ["line 59998", "line 59999"]
    );
    // A cursor into what is gone goes on with the oldest whole line that is kept.
    let kept = bench
        .supervisor
        .logs(
            &bench.owner,
            &id.allocation,
            &query(0, Some("v1.0-10-0".to_owned())),
        )
        .await
        .unwrap();
    let first = kept
        .lines
        .first()
        .unwrap()
        .text
        .strip_prefix("line ")
        .unwrap()
        .parse::<u32>()
        .unwrap();
    assert!(first > 10_000 && first < 59_990, "{first}");
    assert_eq!(kept.lines.last().unwrap().text, "line 59999");
    bench.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_name_the_allocation() {
    let mut bench = Bench::new().await;
    let id = key("a");
    bench.ensure(&id, command(&["sleep", "300"])).await.unwrap();
    let change = bench.changes.next().await.unwrap();
    assert_eq!(
        change,
        Change::Allocation {
            owner: bench.owner.clone(),
            allocation: id.allocation.clone()
        }
    );
    let other: InstanceName = "other".parse().unwrap();
    assert_eq!(
        bench.supervisor.status(&other, &[id]).await.unwrap(),
        [None],
        "instances see only their own"
    );
    bench.clear().await;
}
