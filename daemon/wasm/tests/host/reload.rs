//! Hot reload: nothing fails while files change, bad files never serve, old versions are freed, roll-back holds.

use std::{
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use tradewind_api::PluginState;
use tradewind_core::{names::Digest, plugin::Plugins};
use tradewind_wasm::RollbackError;

use crate::support::{Bench, Folders, guests, request, variant};

async fn with_policy() -> Bench {
    let folders = Folders::new();
    folders.put("hostile.wasm", &guests().policy);
    Bench::start(folders).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_under_load() {
    let bench = with_policy().await;
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (host, stop, calls) = (bench.host.clone(), stop.clone(), calls.clone());
            tokio::spawn(async move {
                let request = request(100);
                while !stop.load(SeqCst) {
                    let snapshot = host.snapshot();
                    let policy = snapshot
                        .policies
                        .get("hostile")
                        .expect("always some version");
                    policy.place(&request).await.expect("no call fails");
                    calls.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();

    let mut good = vec![Digest::of(&guests().policy)];
    for n in 0..100u8 {
        let mut bytes = variant(&guests().policy, n);
        let broken = n % 5 == 4;
        if broken {
            bytes.truncate(bytes.len() / 2 + usize::from(n));
        } else {
            good.push(Digest::of(&bytes));
        }
        bench.folders.put("hostile.wasm", &bytes);
        let report = bench.handle.reconcile().await.unwrap();
        // An event may have been quicker than this look; either way the outcome is settled now.
        assert_eq!(
            bench.serving("hostile"),
            good.last().copied(),
            "{n}: {report:?}"
        );
        assert_eq!(
            bench
                .view("hostile")
                .last_rejection
                .is_some_and(|r| r.current),
            broken,
            "{n}"
        );
    }
    stop.store(true, SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(calls.load(SeqCst) > 100);
    let statistics = bench.view("hostile").statistics;
    assert_eq!((statistics.failures, statistics.busy), (0, 0));
    assert_eq!(
        (bench.handle.live_versions(), bench.handle.live_components()),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_enough() {
    let bench = with_policy().await;
    let next = variant(&guests().policy, 1);
    bench.folders.put("hostile.wasm", &next);
    bench
        .until("the new version", |b| {
            b.serving("hostile") == Some(Digest::of(&next))
        })
        .await;
    std::fs::remove_file(bench.folders.plugins().join("hostile.wasm")).unwrap();
    bench
        .until("removed", |b| {
            b.view("hostile").state == PluginState::Removed
        })
        .await;
    assert!(bench.host.snapshot().policies.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_touched_are_no_change() {
    let bench = with_policy().await;
    let before = bench.host.snapshot().version;
    bench.folders.put("hostile.wasm", &guests().policy);
    let report = bench.handle.reconcile().await.unwrap();
    assert_eq!(
        (report.loaded.len(), report.unchanged.len(), report.version),
        (0, 1, before)
    );
    assert_eq!(bench.view("hostile").history.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_write_is_refused_until_it_is_whole() {
    let bench = with_policy().await;
    let next = variant(&guests().policy, 1);
    std::fs::write(
        bench.folders.plugins().join("hostile.wasm"),
        &next[..next.len() / 2],
    )
    .unwrap();
    bench.handle.reconcile().await.unwrap();
    assert!(
        bench.refusal("hostile").contains("can't be compiled"),
        "{}",
        bench.refusal("hostile")
    );
    assert_eq!(bench.serving("hostile"), Some(Digest::of(&guests().policy)));
    bench.policy("hostile").place(&request(1)).await.unwrap();
    std::fs::write(bench.folders.plugins().join("hostile.wasm"), &next).unwrap();
    bench.handle.reconcile().await.unwrap();
    assert_eq!(bench.serving("hostile"), Some(Digest::of(&next)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_link_is_followed() {
    let folders = Folders::new();
    let plugins = folders.plugins();
    let next = variant(&guests().policy, 1);
    for (version, bytes) in [("..1", &guests().policy), ("..2", &next)] {
        std::fs::create_dir(plugins.join(version)).unwrap();
        std::fs::write(plugins.join(version).join("hostile.wasm"), bytes).unwrap();
    }
    symlink("..1", plugins.join("..data")).unwrap();
    symlink("..data/hostile.wasm", plugins.join("hostile.wasm")).unwrap();
    let bench = Bench::start(folders).await;
    assert_eq!(bench.serving("hostile"), Some(Digest::of(&guests().policy)));
    // As the kubelet does it: a new link renamed over the old one.
    symlink("..2", plugins.join("..data_new")).unwrap();
    std::fs::rename(plugins.join("..data_new"), plugins.join("..data")).unwrap();
    bench
        .until("the other version", |b| {
            b.serving("hostile") == Some(Digest::of(&next))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_plugin_drains() {
    let folders = Folders::new();
    folders.put("hostile-provider.wasm", &guests().provider);
    folders.put_provider("cloud", "slow-host", "");
    let bench = Bench::start(folders).await;
    let provider = bench.provider("cloud");
    let call = tokio::spawn(async move { provider.offers(&Default::default()).await });
    bench.http.entered.acquire().await.unwrap().forget();
    std::fs::remove_file(bench.folders.plugins().join("cloud.toml")).unwrap();
    std::fs::remove_file(bench.folders.plugins().join("hostile-provider.wasm")).unwrap();
    let report = bench.handle.reconcile().await.unwrap();
    assert_eq!(report.removed.len(), 1);
    assert!(bench.host.snapshot().providers.is_empty());
    assert_eq!(bench.view("cloud").state, PluginState::Draining);
    bench.http.release.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap().len(), 2);
    assert_eq!(
        (
            bench.view("cloud").state,
            bench.handle.live_versions(),
            bench.handle.live_components()
        ),
        (PluginState::Removed, 0, 0)
    );
    assert!(bench.view("cloud").history[0].until.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_reload_like_components() {
    let folders = Folders::new();
    folders.put("hostile-policy.wasm", &guests().policy);
    folders.put_policy("p", "", "tag = \"one\"\n");
    let bench = Bench::start(folders).await;
    assert_eq!(
        bench.policy("p").place(&request(1)).await.unwrap().note,
        "one"
    );
    let held = bench.policy("p");
    bench.folders.put_policy("p", "", "tag = \"two\"\n");
    bench.handle.reconcile().await.unwrap();
    assert_eq!(
        bench.policy("p").place(&request(1)).await.unwrap().note,
        "two"
    );
    // Who holds the old version stays on it, and both share the machine code.
    assert_eq!(held.place(&request(1)).await.unwrap().note, "one");
    assert_eq!(
        (bench.handle.live_versions(), bench.handle.live_components()),
        (2, 1)
    );
    drop(held);
    assert_eq!(bench.handle.live_versions(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_back_holds_until_the_file_changes_and_over_a_restart() {
    let bench = with_policy().await;
    let name: tradewind_core::names::InstanceName = "hostile".parse().unwrap();
    let (first, second, third) = (
        Digest::of(&guests().policy),
        variant(&guests().policy, 2),
        variant(&guests().policy, 3),
    );
    assert!(matches!(
        bench.handle.rollback(name.clone(), None).await,
        Err(RollbackError::NoEarlier { .. })
    ));
    bench.folders.put("hostile.wasm", &second);
    bench.handle.reconcile().await.unwrap();

    let view = bench.handle.rollback(name.clone(), None).await.unwrap();
    assert_eq!(view.identity.map(|i| i.component), Some(first));
    assert!(view.pinned && view.history[1].rolled_back && view.history[0].current);
    bench.handle.reconcile().await.unwrap();
    assert_eq!(bench.serving("hostile"), Some(first));
    assert!(matches!(
        bench
            .handle
            .rollback(name.clone(), Some(Digest::of(b"x")))
            .await,
        Err(RollbackError::UnknownVersion { .. })
    ));

    bench.handle.shutdown().await;
    let bench = Bench::start(bench.folders.clone()).await;
    assert_eq!(bench.serving("hostile"), Some(first));
    assert!(bench.view("hostile").pinned);
    bench.policy("hostile").place(&request(1)).await.unwrap();

    bench.folders.put("hostile.wasm", &third);
    bench.handle.reconcile().await.unwrap();
    assert_eq!(bench.serving("hostile"), Some(Digest::of(&third)));
    assert!(!bench.view("hostile").pinned);
    let back = bench
        .handle
        .rollback(name, Some(Digest::of(&second)))
        .await
        .unwrap();
    assert_eq!(
        back.identity.map(|i| i.component),
        Some(Digest::of(&second))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_does_not_outlive_a_restart() {
    let bench = with_policy().await;
    bench.folders.put("hostile.wasm", b"not wasm at all");
    bench.handle.reconcile().await.unwrap();
    bench.handle.shutdown().await;
    let bench = Bench::start(bench.folders.clone()).await;
    assert_eq!(bench.serving("hostile"), Some(Digest::of(&guests().policy)));
    assert!(bench.refusal("hostile").contains("does not begin as one"));
    assert_eq!(bench.view("hostile").history.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_shutdown_the_handle_says_so() {
    let bench = with_policy().await;
    bench.handle.shutdown().await;
    bench.handle.shutdown().await;
    assert!(
        bench
            .handle
            .reconcile()
            .await
            .unwrap_err()
            .to_string()
            .contains("has stopped")
    );
    bench.policy("hostile").place(&request(1)).await.unwrap();
}
