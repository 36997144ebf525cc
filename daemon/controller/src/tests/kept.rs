//! Kept policy calls: one for all decisions that came of it, and let go by age and by size once nothing stands on them.

use std::{sync::Arc, time::Duration};

use tradewind_core::{
    decision::Decision,
    event::Event,
    names::{Actor, Namespace},
    record::{DECISIONS, EVENTS, INPUT_SIZES, INPUTS},
    store::Store,
    units::{Bytes, Millis},
};

use super::{Cloud, Controller, LONG, Memory, Options, Spec, begin, journal, options, put};

const WEB: Spec = Spec {
    version: 1,
    web: 1,
    job: false,
    strategy: "rolling",
    hedged: false,
};

struct Scene {
    store: Arc<Memory>,
    cloud: Cloud,
    since: tokio::time::Instant,
    plugin_changes: tokio::sync::watch::Sender<u64>,
}

impl Scene {
    fn new() -> Self {
        let (plugin_changes, _) = tokio::sync::watch::channel(0);
        Self {
            store: Arc::default(),
            cloud: Cloud::new(),
            since: tokio::time::Instant::now(),
            plugin_changes,
        }
    }

    async fn controller(&self, options: Options) -> Controller {
        begin(
            options,
            &self.store,
            &self.cloud,
            self.since,
            &self.plugin_changes,
        )
        .await
        .expect("a state that can be read")
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
    tokio::join!(
        put(&controller, "ant", &WEB),
        put(&controller, "bee", &WEB),
        put(&controller, "cat", &WEB)
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    controller.shutdown().await;

    let decisions = scene.store.list(DECISIONS).await.expect("a list").records;
    let inputs: Vec<_> = decisions
        .iter()
        .map(|d| journal::decode::<Decision>(d).expect("a decision").inputs)
        .collect();
    assert!(
        inputs.len() == 3 && inputs.iter().all(|i| i.is_some() && *i == inputs[0]),
        "{inputs:?}"
    );
    assert_eq!(
        (scene.count(INPUTS).await, scene.count(INPUT_SIZES).await),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn they_are_let_go_when_they_are_old() {
    let scene = Scene::new();
    let controller = scene
        .controller(Options {
            keep_inputs_age: Millis::from(LONG * 4),
            ..options()
        })
        .await;
    put(&controller, "ant", &WEB).await;
    tokio::time::sleep(LONG * 3).await;
    put(&controller, "bee", &WEB).await;
    tokio::time::sleep(LONG / 2).await;
    assert_eq!(scene.count(INPUTS).await, 2, "both are young");
    tokio::time::sleep(LONG * 3).await;
    assert_eq!(
        scene.count(INPUTS).await,
        2,
        "what runs stands on them, however old they are"
    );
    remove(&controller, "ant").await;
    tokio::time::sleep(LONG).await;
    assert_eq!(
        (
            scene.count(INPUTS).await,
            scene.count(INPUT_SIZES).await,
            scene.count(DECISIONS).await
        ),
        (1, 1, 2)
    );
    controller.shutdown().await;
}

/// What one deployment does erases nothing that another stands on.
#[tokio::test(start_paused = true)]
async fn a_bulk_of_others_erases_nothing_that_stands() {
    let scene = Scene::new();
    let few = Options {
        keep_decisions: 1,
        keep_own_decisions: 1,
        keep_events: 1,
        keep_own_events: 3,
        keep_inputs_size: Bytes(1),
        ..options()
    };
    let controller = scene.controller(few).await;
    put(&controller, "ant", &WEB).await;
    tokio::time::sleep(LONG).await;
    let mine = decisions(&scene).await.pop().expect("a decision");
    for replicas in [1, 2, 1, 2, 1, 2, 1] {
        put(
            &controller,
            "bee",
            &Spec {
                web: replicas,
                version: replicas as u8,
                ..WEB
            },
        )
        .await;
        tokio::time::sleep(LONG).await;
    }
    let left = decisions(&scene).await;
    assert!(
        left.iter().any(|d| d.id == mine.id) && left.len() <= 3,
        "{} are left",
        left.len()
    );
    assert!(
        scene
            .store
            .get(&format!("{INPUTS}{}", mine.inputs.expect("inputs")))
            .await
            .expect("a read")
            .is_some(),
        "to be replayed"
    );
    let events = scene.store.list(EVENTS).await.expect("a list").records;
    let events: Vec<Event> = events
        .iter()
        .map(|e| journal::decode(e).expect("an event"))
        .collect();
    let of = |name: &str| {
        events
            .iter()
            .filter(|e| e.deployment.as_ref().is_some_and(|d| d.as_str() == name))
            .count()
    };
    assert_eq!((of("ant"), of("bee")), (3, 3), "{events:#?}");
    controller.shutdown().await;
}

async fn decisions(scene: &Scene) -> Vec<Decision> {
    let stored = scene.store.list(DECISIONS).await.expect("a list").records;
    stored
        .iter()
        .map(|d| journal::decode(d).expect("a decision"))
        .collect()
}

async fn remove(controller: &Controller, name: &str) {
    let (namespace, name) = (
        Namespace::default_namespace(),
        name.parse().expect("a name"),
    );
    controller
        .handle()
        .delete(&Actor::LOCAL, &namespace, &name, None)
        .await
        .expect("a deployment");
}

#[tokio::test(start_paused = true)]
async fn the_older_ones_are_let_go_when_they_are_too_large_together() {
    let scene = Scene::new();
    let first = scene.controller(options()).await;
    for name in ["ant", "bee", "cat"] {
        put(&first, name, &WEB).await;
        tokio::time::sleep(LONG).await;
    }
    for name in ["ant", "bee", "cat"] {
        remove(&first, name).await;
    }
    tokio::time::sleep(LONG).await;
    first.shutdown().await;
    let sizes = scene.store.list(INPUTS).await.expect("a list").records;
    let [_, bee, cat] = &sizes[..] else {
        panic!("{} are kept", sizes.len())
    };
    let two = Bytes((bee.value.len() + cat.value.len()) as u64);

    let second = scene
        .controller(Options {
            keep_inputs_size: two,
            ..options()
        })
        .await;
    tokio::time::sleep(LONG * 2).await;
    second.shutdown().await;
    let left: Vec<String> = scene
        .store
        .list(INPUTS)
        .await
        .expect("a list")
        .records
        .into_iter()
        .map(|r| r.key)
        .collect();
    assert_eq!(left, [bee.key.clone(), cat.key.clone()]);
}
