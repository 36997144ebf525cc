//! The registry in virtual time, with plugins that need no engine: a component's bytes say how it does.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tradewind_api::{PluginState, PluginView, ReloadReport};
use tradewind_core::{
    canary::Terms,
    capability::Clock,
    failure::Failure,
    grant::{Grants, Spaces},
    names::{Actor, InstanceName},
    placement::{Answer, Candidates, Request},
    plugin::{Features, Identity, Kind, Plugins as _, Policy},
    units::{Instant, Millis, Percent},
};

use super::{
    commit::Committer,
    instances::Instances,
    jobs::Jobs,
    published::Registry,
    reconciler::{Cause, Reconciler},
    switch::Switch,
};
use crate::{
    history::store::HistoryStore,
    load::{Load, candidate::Candidate, error::Error, folder, version::Version},
    runtime::{plugin::Plugin, plugin_info::PluginInfo},
    trial::{
        self, Deps,
        canary::{Canaries, CanaryStart, Gate},
    },
};

/// `good-1` loads and answers, `good-slow-1` takes a second to load, `failing-1` loads and fails, anything else does not load.
struct Bytes;

struct Fake {
    identity: Identity,
    fails: bool,
}

#[async_trait]
impl Load for Bytes {
    async fn load(&self, candidate: Candidate) -> Result<Version, Error> {
        let bytes = String::from_utf8_lossy(&candidate.component).into_owned();
        let fails = bytes.starts_with("failing");
        if bytes.starts_with("good-slow") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if !fails && !bytes.starts_with("good") {
            return Err(Error::NotComponent { why: bytes });
        }
        let identity = Identity {
            instance: candidate.instance,
            plugin: "fake".to_owned(),
            version: "1.0.0".to_owned(),
            component: candidate.component_digest,
            settings: candidate.settings_digest,
        };
        Ok(Version {
            identity: Arc::new(identity.clone()),
            about: PluginInfo {
                kind: Kind::Policy,
                name: "fake".to_owned(),
                version: "1.0.0".to_owned(),
                summary: bytes,
                settings_schema: serde_json::json!({}),
                capabilities: Vec::new(),
                features: Features::default(),
            },
            limits: candidate.file.limits,
            namespaces: Spaces::All,
            grants: Arc::new(Grants::default()),
            gate: Arc::new(Semaphore::new(1)),
            plugin: Plugin::Policy(Arc::new(Fake { identity, fails })),
        })
    }
}

#[async_trait]
impl Policy for Fake {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn place(&self, _: &Request) -> Result<Answer, Failure> {
        if self.fails {
            Err(Failure::internal("it fails"))
        } else {
            Ok(Answer::default())
        }
    }
}

struct Virtual(tokio::time::Instant);

impl Clock for Virtual {
    fn now(&self) -> Instant {
        Instant(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

fn nothing() -> Request {
    let start = vec![0];
    Request {
        seed: 0,
        tasks: Vec::new(),
        shapes: Vec::new(),
        candidates: Candidates {
            start,
            ..Candidates::default()
        },
        offers: Arc::default(),
    }
}

/// The writer's parts without its loop.
struct Bench {
    registry: Arc<Registry>,
    committer: Committer,
    reconciler: Reconciler,
    switch: Switch,
    gate: Gate,
    told: mpsc::UnboundedReceiver<InstanceName>,
}

struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("plugins")).unwrap();
        Self(root)
    }

    fn put(&self, bytes: &str) {
        std::fs::write(self.0.path().join("plugins/p.wasm"), bytes).unwrap();
    }
}

impl Bench {
    /// As the host starts, also after a stop.
    fn start(folders: &Folders) -> Self {
        let root = folders.0.path();
        let store = HistoryStore::open(&root.join("state"), &trial::DOCUMENTS).unwrap();
        let deps = Deps {
            loader: Arc::new(Bytes),
            store,
            clock: Arc::new(Virtual(tokio::time::Instant::now())),
        };
        let registry = Arc::new(Registry::new());
        let (verdicts, told) = mpsc::unbounded_channel();
        let jobs = Jobs::new(deps.loader.clone(), deps.store.clone());
        let options = folder::Options {
            folder: root.join("plugins"),
            components: None,
            size_cap: 1 << 20,
            believes: |_, _| Ok(()),
            builtin: &[],
            at_hand: None,
        };
        Self {
            committer: Committer::new(
                registry.clone(),
                &deps,
                Instances::remembered(deps.store.histories().unwrap()),
                Canaries::new(deps.clone(), verdicts),
            ),
            registry,
            reconciler: Reconciler::new(options, jobs.clone(), CancellationToken::new()),
            switch: Switch::new(jobs),
            gate: Gate::new(deps),
            told,
        }
    }

    async fn look(&mut self, cause: Cause) -> ReloadReport {
        let looked = self.reconciler.reconcile(&mut self.committer, cause).await;
        looked.unwrap().report
    }

    fn view(&self) -> PluginView {
        self.registry.load().contents.view(&p()).unwrap()
    }

    /// What the bytes of the version that serves are.
    fn serves(&self) -> String {
        self.view().summary
    }

    async fn start_canary(&mut self, bytes: &str) {
        let start = CanaryStart {
            instance: p(),
            component: bytes.as_bytes().to_vec(),
            text: None,
            terms: Terms {
                lasts: Millis::from_secs(600),
                min_calls: 20,
                ..Terms::new(Percent(50))
            },
            by: Actor::CONTROLLER,
        };
        let contents = &self.registry.load().contents;
        let incumbent = contents.instances.incumbent(&p());
        let proven = self.gate.prove(start, &contents.canaries, incumbent).await;
        self.committer.start_canary(proven.unwrap()).await.unwrap();
    }

    /// Makes decisions. How many the new version was asked for.
    async fn decide(&self, decisions: u32) -> u32 {
        let policy = self.registry.snapshot().policies[&p()].clone();
        let mut drawn = 0;
        for decision in 0..decisions {
            if let Some(new) = policy.drawn(&decision.to_le_bytes()) {
                drawn += 1;
                let _answer = new.place(&nothing()).await;
            } else {
                policy.place(&nothing()).await.unwrap();
            }
        }
        drawn
    }

    /// Judges the next canary that may have to end.
    async fn judge(&mut self) {
        let instance = self.told.recv().await.unwrap();
        self.switch
            .judge_canary(&mut self.committer, &instance)
            .await;
    }
}

fn p() -> InstanceName {
    "p".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_roll_back_lasts_until_the_folder_holds_something_else() {
    let folders = Folders::new();
    let mut bench = Bench::start(&folders);
    for bytes in ["good-1", "good-2"] {
        folders.put(bytes);
        bench.look(Cause::Hint).await;
        assert_eq!(bench.serves(), bytes);
    }
    let rolled_back = bench
        .switch
        .roll_back(&mut bench.committer, &p(), None)
        .await
        .unwrap();
    assert!(rolled_back.pinned && rolled_back.summary == "good-1");
    // The newest first: it serves again; before it the one that an operator has gone back from.
    let history: Vec<bool> = rolled_back.history.iter().map(|s| s.rolled_back).collect();
    assert_eq!(history, [false, true, false]);
    assert_eq!(bench.look(Cause::Demand).await.unchanged, [p()]);

    let mut bench = Bench::start(&folders);
    bench.look(Cause::Start).await;
    assert_eq!(bench.serves(), "good-1", "also after a restart");
    folders.put("good-3");
    bench.look(Cause::Hint).await;
    assert_eq!((&*bench.serves(), bench.view().pinned), ("good-3", false));
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_displaces_no_good_version() {
    let folders = Folders::new();
    folders.put("good-1");
    let mut bench = Bench::start(&folders);
    bench.look(Cause::Start).await;
    folders.put("bad");
    let report = bench.look(Cause::Hint).await;
    assert_eq!((report.rejected.len(), &*bench.serves()), (1, "good-1"));
    assert_eq!(bench.look(Cause::Hint).await.unchanged, [p()]);

    let mut bench = Bench::start(&folders);
    let report = bench.look(Cause::Start).await;
    assert_eq!((report.rejected.len(), &*bench.serves()), (1, "good-1"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_says_while_it_is_compiled() {
    let folders = Folders::new();
    let mut bench = Bench::start(&folders);
    let registry = bench.registry.clone();
    let meanwhile = async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        registry.load().contents.view(&p()).unwrap()
    };
    folders.put("good-slow-1");
    let (_, view) = tokio::join!(bench.look(Cause::Hint), meanwhile());
    assert_eq!((view.state, view.compiling), (PluginState::Compiling, true));
    let view = bench.view();
    assert_eq!((view.state, view.compiling), (PluginState::Active, false));

    folders.put("good-slow-2");
    let (_, view) = tokio::join!(bench.look(Cause::Hint), meanwhile());
    assert_eq!((view.state, view.compiling), (PluginState::Active, true));
    assert_eq!(&*view.summary, "good-slow-1", "it goes on");
    assert_eq!(
        (&*bench.serves(), bench.view().compiling),
        ("good-slow-2", false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_does_well_is_promoted_when_its_time_is_over() {
    let folders = Folders::new();
    folders.put("good-1");
    let mut bench = Bench::start(&folders);
    bench.look(Cause::Start).await;
    bench.start_canary("good-2").await;
    let drawn = bench.decide(100).await;
    assert!((20..80).contains(&drawn), "{drawn}");
    let begun = tokio::time::Instant::now();
    bench.judge().await;
    assert!(begun.elapsed() >= Duration::from_secs(600));
    let view = bench.view();
    assert!(view.canary.is_none() && view.pinned, "{view:#?}");
    assert!(view.last_canary.unwrap().promoted);
    bench.look(Cause::Demand).await;
    assert_eq!(bench.serves(), "good-2", "as after a roll-back");
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_fails_returns_from_the_call_that_shows_it() {
    let folders = Folders::new();
    folders.put("good-1");
    let mut bench = Bench::start(&folders);
    bench.look(Cause::Start).await;
    bench.start_canary("failing-2").await;
    let begun = tokio::time::Instant::now();
    // One of 20 may fail; nobody has judged it yet.
    assert_eq!(bench.decide(100).await, 2);
    bench.judge().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let view = bench.view();
    let end = view.last_canary.unwrap();
    assert!(view.canary.is_none() && !end.promoted && end.by.is_none());
    assert!(end.reason.contains("2 of its 2 calls failed"), "{end:?}");
    assert_eq!((&*bench.serves(), bench.decide(10).await), ("good-1", 0));
}
