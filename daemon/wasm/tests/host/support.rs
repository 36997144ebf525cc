//! A host in temporary folders, the hostile guests' components, and requests to put to them.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tradewind_api::PluginView;
use tradewind_author::{BuildOptions, build_all};
use tradewind_core::{
    capability::{
        Clock, Http, HttpRequest, HttpResponse, Machine, ProcessKey, ProcessSpec, ProcessStatus,
        Processes,
    },
    failure::Failure,
    grant::{HttpGrant, ProcessGrant},
    names::{AllocationId, Digest, InstanceName},
    offer::Offer,
    placement::{Candidates, PlacedOffer, Request, Shape, Spread, Task},
    plugin::{Plugins, Policy, Provider},
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    workload::{Labels, LogChunk, LogQuery, Resources},
};
use tradewind_wasm::{Capabilities, Handle, Host, Options};

/// The guests of `tests/guests`, built once.
pub(crate) struct Guests {
    pub(crate) policy: Vec<u8>,
    pub(crate) provider: Vec<u8>,
}

pub(crate) fn guests() -> &'static Guests {
    static BUILT: OnceLock<Guests> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let options = BuildOptions {
            manifest_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests"),
            out: Some(target.join("hostile-guests")),
            target_dir: Some(target.join("../guest")),
            ..BuildOptions::default()
        };
        let all = build_all(&options).unwrap_or_else(|e| panic!("{e}"));
        let bytes = |name: &str| all.iter().find(|b| b.name == name).unwrap().bytes.clone();
        Guests {
            policy: bytes("hostile-policy"),
            provider: bytes("hostile-provider"),
        }
    })
}

/// The same plugin with other bytes: a custom section at its end.
pub(crate) fn variant(component: &[u8], n: u8) -> Vec<u8> {
    let mut bytes = component.to_vec();
    bytes.extend([0, 3, 1, b'v', n]);
    bytes
}

/// A host and its folders.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) handle: Handle,
    pub(crate) http: Arc<SlowHttp>,
    pub(crate) folders: Arc<Folders>,
}

pub(crate) struct Folders {
    pub(crate) root: tempfile::TempDir,
}

impl Folders {
    pub(crate) fn new() -> Arc<Self> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("plugins")).unwrap();
        Arc::new(Self { root })
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.root.path().join("plugins")
    }

    /// Writes beside and renames over, as a careful operator does.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let part = self.plugins().join(format!(".{name}.part"));
        std::fs::write(&part, bytes).unwrap();
        std::fs::rename(part, self.plugins().join(name)).unwrap();
    }

    pub(crate) fn put_policy(&self, instance: &str, mode: &str, more: &str) {
        let text =
            format!("component = \"hostile-policy.wasm\"\n[settings]\nmode = \"{mode}\"\n{more}");
        self.put(&format!("{instance}.toml"), text.as_bytes());
    }

    pub(crate) fn put_provider(&self, instance: &str, mode: &str, more: &str) {
        let text = format!(
            "component = \"hostile-provider.wasm\"\n[settings]\nmode = \"{mode}\"\nurl = \"https://slow.example\"\n{more}\n[grants.http]\nhosts = [\"slow.example\"]\n"
        );
        self.put(&format!("{instance}.toml"), text.as_bytes());
    }
}

impl Bench {
    pub(crate) async fn start(folders: Arc<Folders>) -> Self {
        Self::with(folders, |_| {}).await
    }

    /// No timer: what a test sees comes from its own call, or from an event.
    pub(crate) async fn with(folders: Arc<Folders>, change: impl FnOnce(&mut Options)) -> Self {
        let root = folders.root.path();
        let mut options = Options::new(folders.plugins(), root.join("state"), root.join("cache"));
        options.rescan_interval = Duration::from_secs(3600);
        options.call_slots = 64;
        change(&mut options);
        let http = Arc::new(SlowHttp::default());
        let capabilities = Capabilities {
            processes: Arc::new(NoProcesses),
            http: http.clone(),
            clock: Arc::new(TestClock),
            ..Capabilities::none()
        };
        let host = Host::start(options, capabilities).await.unwrap();
        Self {
            handle: host.handle(),
            host,
            http,
            folders,
        }
    }

    pub(crate) fn policy(&self, name: &str) -> Arc<dyn Policy> {
        self.host
            .snapshot()
            .policies
            .get(name)
            .unwrap_or_else(|| panic!("{:#?}", self.handle.list()))
            .clone()
    }

    pub(crate) fn provider(&self, name: &str) -> Arc<dyn Provider> {
        self.host
            .snapshot()
            .providers
            .get(name)
            .unwrap_or_else(|| panic!("{:#?}", self.handle.list()))
            .clone()
    }

    pub(crate) fn view(&self, name: &str) -> PluginView {
        self.handle.inspect(&name.parse().unwrap()).unwrap()
    }

    /// The reason of the last refusal, with the plugin still in the state it was in.
    pub(crate) fn refusal(&self, name: &str) -> String {
        self.view(name)
            .last_rejection
            .filter(|r| r.current)
            .unwrap()
            .reason
    }

    /// The digest that serves.
    pub(crate) fn serving(&self, name: &str) -> Option<Digest> {
        self.view(name).identity.map(|i| i.component)
    }

    /// Waits until the registry shows it; the folder's events drive it.
    pub(crate) async fn until(&self, what: &str, shown: impl Fn(&Self) -> bool) {
        let mut changes = self.handle.subscribe();
        let wait = async {
            while !shown(self) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:#?}", self.handle.list()));
    }
}

// === requests ===

pub(crate) fn request(candidates: u32) -> Request {
    let offers = (0..candidates).map(|i| PlacedOffer {
        provider: "p".parse().unwrap(),
        offer: Offer::new(
            &format!("o{i}"),
            MilliCpu(1000),
            Bytes(1 << 30),
            MicroUsd(u64::from(i) + 1),
        ),
    });
    Request {
        seed: 1,
        tasks: vec![Task {
            namespace: "default".parse().unwrap(),
            deployment: "d".parse().unwrap(),
            name: "web".parse().unwrap(),
            shape: 0,
            replicas: 2,
            priority: 0,
            job: false,
            spread: Spread::None,
            spread_max: u32::MAX,
            max_hourly: MicroUsd::MAX,
            current: Vec::new(),
            labels: Labels::new(),
            affinity: None,
            anti_affinity: None,
            deadline: None,
            expected: Default::default(),
        }],
        shapes: vec![Shape {
            resources: Resources {
                cpu: MilliCpu(500),
                memory: Bytes(1 << 20),
                ..Resources::default()
            },
            duration: Millis::from_secs(3600),
        }],
        candidates: Candidates {
            start: vec![0, candidates],
            offer: (0..candidates).collect(),
            cost: (0..u64::from(candidates)).map(|i| i + 1).collect(),
            expected: Vec::new(),
            hourly: vec![1; candidates as usize],
            units: vec![1.0; candidates as usize],
            hours: vec![1.0; candidates as usize],
        },
        offers: Arc::new(offers.collect()),
    }
}

// === capabilities ===

pub(crate) fn capabilities() -> Capabilities {
    Capabilities {
        processes: Arc::new(NoProcesses),
        http: Arc::new(SlowHttp::default()),
        clock: Arc::new(TestClock),
        ..Capabilities::none()
    }
}

/// Answers when the test lets it, and counts.
pub(crate) struct SlowHttp {
    pub(crate) entered: Semaphore,
    pub(crate) release: Semaphore,
    pub(crate) completed: AtomicUsize,
    pub(crate) done: Semaphore,
}

impl Default for SlowHttp {
    fn default() -> Self {
        Self {
            entered: Semaphore::new(0),
            release: Semaphore::new(0),
            completed: AtomicUsize::new(0),
            done: Semaphore::new(0),
        }
    }
}

#[async_trait]
impl Http for SlowHttp {
    async fn send(
        &self,
        _: &InstanceName,
        _: &HttpGrant,
        _: HttpRequest,
    ) -> Result<HttpResponse, Failure> {
        self.entered.add_permits(1);
        self.release.acquire().await.unwrap().forget();
        self.completed.fetch_add(1, SeqCst);
        self.done.add_permits(1);
        Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
        })
    }
}

struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant(1_790_000_000_000)
    }
}

/// No guest here may reach it.
struct NoProcesses;

#[async_trait]
impl Processes for NoProcesses {
    async fn ensure(
        &self,
        _: &InstanceName,
        _: &ProcessGrant,
        _: ProcessKey,
        _: ProcessSpec,
    ) -> Result<ProcessStatus, Failure> {
        Err(Failure::denied("none"))
    }
    async fn status(
        &self,
        _: &InstanceName,
        _: &[ProcessKey],
    ) -> Result<Vec<Option<ProcessStatus>>, Failure> {
        Err(Failure::denied("none"))
    }
    async fn remove(&self, _: &InstanceName, _: &ProcessKey) -> Result<bool, Failure> {
        Err(Failure::denied("none"))
    }
    async fn owned(&self, _: &InstanceName) -> Result<Vec<ProcessKey>, Failure> {
        Err(Failure::denied("none"))
    }
    async fn logs(
        &self,
        _: &InstanceName,
        _: &AllocationId,
        _: &LogQuery,
    ) -> Result<LogChunk, Failure> {
        Err(Failure::denied("none"))
    }
    async fn machine(&self, _: &InstanceName, _: &ProcessGrant) -> Result<Machine, Failure> {
        Err(Failure::denied("none"))
    }
}

pub(crate) fn allocation() -> tradewind_core::workload::Allocation {
    use tradewind_core::workload::{Allocation, ChosenOffer, Probes, Run, Workload};
    Allocation {
        id: "a-1".parse().unwrap(),
        namespace: "default".parse().unwrap(),
        deployment: "d".parse().unwrap(),
        task: "web".parse().unwrap(),
        generation: 1,
        replicas: 1,
        workload: Workload {
            run: Run::Service,
            image: None,
            command: vec!["true".to_owned()],
            arguments: Vec::new(),
            working_directory: None,
            user: String::new(),
            env: Vec::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            networks: Vec::new(),
            files: Vec::new(),
            resources: Resources::default(),
            limits: None,
            probes: Probes::default(),
            stop_signal: "TERM".to_owned(),
            stop_grace: Millis(1000),
            scaling: None,
            labels: Labels::new(),
            extensions: std::collections::BTreeMap::new(),
            restart: 0,
        },
        offer: ChosenOffer {
            id: "small".to_owned(),
            region: String::new(),
            zone: String::new(),
            size: String::new(),
            spot: false,
            price: MicroUsd(1),
            labels: Labels::new(),
        },
        token: "t".to_owned(),
        tags: Labels::new(),
        traffic: None,
    }
}
