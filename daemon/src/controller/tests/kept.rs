//! Kept policy calls: one for all decisions that came of it, and let go by age and by size.

use std::{sync::Arc, time::Duration};

use tradewind_core::{
    record::{DECISIONS, INPUT_SIZES, INPUTS},
    store::Store,
    units::{Bytes, Millis},
    view::DecisionView,
};

use super::{Cloud, Controller, LONG, Memory, Options, Spec, begin, journal, options, put};

const WEB: Spec = Spec { version: 1, web: 1, job: false, strategy: "rolling", hedged: false };

struct Scene {
    store: Arc<Memory>,
    cloud: Cloud,
    since: tokio::time::Instant,
    plugin_changes: tokio::sync::watch::Sender<u64>,
}

impl Scene {
    fn new() -> Self {
        let (plugin_changes, _) = tokio::sync::watch::channel(0);
        Self { store: Arc::default(), cloud: Cloud::new(), since: tokio::time::Instant::now(), plugin_changes }
    }

    async fn controller(&self, options: Options) -> Controller {
        begin(options, &self.store, &self.cloud, self.since, &self.plugin_changes).await.expect("a state that can be read")
    }

    async fn count(&self, prefix: &str) -> usize {
        self.store.list(prefix).await.expect("a list").records.len()
    }
}

#[tokio::test(start_paused = true)]
async fn the_decisions_of_one_call_share_what_it_was_asked() {
    let scene = Scene::new();
    let controller = scene.controller(options()).await;
    // None of them is decided about before all are there.
    tokio::join!(put(&controller, "ant", &WEB), put(&controller, "bee", &WEB), put(&controller, "cat", &WEB));
    tokio::time::sleep(Duration::from_secs(60)).await;
    controller.shutdown().await;

    let decisions = scene.store.list(DECISIONS).await.expect("a list").records;
    let inputs: Vec<_> = decisions.iter().map(|d| journal::decode::<DecisionView>(d).expect("a decision").inputs).collect();
    assert!(inputs.len() == 3 && inputs.iter().all(|i| i.is_some() && *i == inputs[0]), "{inputs:?}");
    assert_eq!((scene.count(INPUTS).await, scene.count(INPUT_SIZES).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn they_are_let_go_when_they_are_old() {
    let scene = Scene::new();
    let controller = scene.controller(Options { keep_inputs_age: Millis::from(LONG * 4), ..options() }).await;
    put(&controller, "ant", &WEB).await;
    tokio::time::sleep(LONG * 3).await;
    put(&controller, "bee", &WEB).await;
    tokio::time::sleep(LONG / 2).await;
    assert_eq!(scene.count(INPUTS).await, 2, "both are young");
    tokio::time::sleep(LONG * 3).await;
    assert_eq!((scene.count(INPUTS).await, scene.count(INPUT_SIZES).await, scene.count(DECISIONS).await), (1, 1, 2));
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_older_ones_are_let_go_when_they_are_too_large_together() {
    let scene = Scene::new();
    let first = scene.controller(options()).await;
    for name in ["ant", "bee", "cat"] {
        put(&first, name, &WEB).await;
        tokio::time::sleep(LONG).await;
    }
    first.shutdown().await;
    let sizes = scene.store.list(INPUTS).await.expect("a list").records;
    let [_, bee, cat] = &sizes[..] else { panic!("{} are kept", sizes.len()) };
    let two = Bytes((bee.value.len() + cat.value.len()) as u64);

    let second = scene.controller(Options { keep_inputs_size: two, ..options() }).await;
    tokio::time::sleep(LONG * 2).await;
    second.shutdown().await;
    let left: Vec<String> = scene.store.list(INPUTS).await.expect("a list").records.into_iter().map(|r| r.key).collect();
    assert_eq!(left, [bee.key.clone(), cat.key.clone()]);
}
