//! A plugin that misbehaves hurts only itself: a clear error with its name and digest, and others go on meanwhile.

use std::sync::atomic::Ordering::SeqCst;

use tradewind_core::{
    failure::{Failure, FailureKind},
    names::Digest,
    offer::OffersQuery,
    placement::validate,
    plugin::Tracked,
};

use crate::support::{Bench, Folders, guests, request};

/// Both hostile components, one instance per mode, and a good policy beside them.
async fn bench(policies: &[&str], providers: &[&str]) -> Bench {
    let folders = Folders::new();
    folders.put("hostile-policy.wasm", &guests().policy);
    folders.put("hostile-provider.wasm", &guests().provider);
    folders.put_policy("good", "", "");
    folders.put_provider("good-cloud", "", "");
    for mode in policies {
        folders.put_policy(mode, mode, &limits(mode));
    }
    for mode in providers {
        folders.put_provider(mode, mode, &limits(mode));
    }
    Bench::start(folders).await
}

/// Only a mode that never ends by itself meets the deadline, and meets no other limit before it, however fast the
/// machine is; the others have time enough on a slow one.
fn limits(mode: &str) -> String {
    let (deadline, host_bytes) = match mode {
        "loop" | "log" | "slow-host" | "slow-apply" => ("300ms", "1Gi"),
        _ => ("30s", "4Mi"),
    };
    format!(
        "[limits]\ndeadline = \"{deadline}\"\nmemory = \"8Mi\"\nhost-bytes = \"{host_bytes}\"\n"
    )
}

/// The failure carries the instance's name and the component's digest.
fn check(
    failure: &Failure,
    instance: &str,
    digest: Digest,
    kind: FailureKind,
    code: &str,
    parts: &[&str],
) {
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (kind, Some(code)),
        "{instance}: {failure:?}"
    );
    let plugin = failure.plugin.as_ref().unwrap();
    assert_eq!(
        (plugin.instance.as_str(), plugin.component),
        (instance, digest)
    );
    for part in parts.iter().chain([&instance]) {
        assert!(
            failure.message.contains(part),
            "{instance}: {}",
            failure.message
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_policy_hurts_only_itself() {
    use FailureKind::{Internal, Unavailable};
    let cases: [(&str, FailureKind, &str, &[&str]); 9] = [
        (
            "loop",
            Unavailable,
            "deadline-exceeded",
            &["300ms", "place"],
        ),
        ("allocate", Internal, "memory-limit", &["8Mi"]),
        ("panic", Internal, "trapped", &["unreachable", "on purpose"]),
        ("recurse", Internal, "trapped", &["stack overflow"]),
        (
            "recurse-widely",
            Internal,
            "trapped",
            &["out of bounds memory access"],
        ),
        ("nan", Internal, "bad-answer", &["not a number"]),
        ("ragged", Internal, "bad-answer", &["2, 1 and 1"]),
        ("log", Unavailable, "deadline-exceeded", &["300ms"]),
        ("huge-answer", Internal, "memory-limit", &["8Mi"]),
    ];
    let modes: Vec<&str> = cases.iter().map(|c| c.0).collect();
    let bench = bench(&modes, &[]).await;
    let digest = Digest::of(&guests().policy);
    let request = request(10);
    for (mode, kind, code, parts) in cases {
        let bad = bench.policy(mode);
        let good = bench.policy("good");
        // The good one answers while the bad one misbehaves.
        let bad_call = async { bad.place(&request).await.unwrap_err() };
        let good_calls = async {
            for _ in 0..20 {
                assert_eq!(good.place(&request).await.unwrap().replicas, [2]);
            }
        };
        let (failure, ()) = tokio::join!(bad_call, good_calls);
        check(&failure, mode, digest, kind, code, parts);
    }
    assert_eq!(bench.view("panic").statistics.traps, 1);
    assert_eq!(bench.view("loop").statistics.timeouts, 1);
    assert!(bench.view("log").statistics.dropped_log_lines > 0);
    assert_eq!(bench.view("good").statistics.failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_loops_leave_room_for_others() {
    let bench = bench(&["loop"], &[]).await;
    let request = request(10);
    let bad = bench.policy("loop");
    let good = bench.policy("good");
    // More than the instance's own queue takes at once: each is told its own end.
    let looping = futures::future::join_all((0..40).map(|_| {
        let (bad, request) = (bad.clone(), request.clone());
        tokio::spawn(async move { bad.place(&request).await.unwrap_err() })
    }));
    let looping = tokio::spawn(looping);
    for _ in 0..50 {
        good.place(&request).await.unwrap();
    }
    for failure in looping.await.unwrap() {
        assert_eq!(failure.unwrap().code.as_deref(), Some("deadline-exceeded"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_choices_are_refused_by_the_scheduler() {
    let bench = bench(&["unknown-offer", "too-many"], &[]).await;
    let request = request(10);
    for mode in ["unknown-offer", "too-many"] {
        let answer = bench.policy(mode).place(&request).await.unwrap();
        assert!(validate(&request, &answer).is_err(), "{mode}");
    }
    assert!(
        validate(
            &request,
            &bench.policy("good").place(&request).await.unwrap()
        )
        .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policys_own_words_are_passed_on_and_tamed() {
    let bench = bench(&["fault", "long-log"], &[]).await;
    let failure = bench.policy("fault").place(&request(1)).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Invalid, "no, because I say so")
    );
    assert_eq!(failure.plugin.unwrap().instance.as_str(), "fault");
    bench.policy("long-log").place(&request(1)).await.unwrap();
    bench.folders.put_policy(
        "big",
        "huge-answer",
        "[limits]\nmemory = \"128Mi\"\nhost-bytes = \"4Mi\"\n",
    );
    bench.handle.reconcile().await.unwrap();
    let failure = bench.policy("big").place(&request(1)).await.unwrap_err();
    assert_eq!(
        failure.code.as_deref(),
        Some("host-bytes-limit"),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_provider_hurts_only_itself() {
    use FailureKind::{Internal, Unavailable};
    let cases: [(&str, FailureKind, &str, &[&str]); 6] = [
        (
            "loop",
            Unavailable,
            "deadline-exceeded",
            &["300ms", "offers"],
        ),
        ("slow-host", Unavailable, "deadline-exceeded", &["300ms"]),
        (
            "short-column",
            Internal,
            "bad-answer",
            &["\"cpu\"", "2 offers"],
        ),
        (
            "string-out-of-range",
            Internal,
            "bad-answer",
            &["\"region\"[0]", "string 99"],
        ),
        (
            "twice",
            Internal,
            "bad-answer",
            &["\"small\" appears twice"],
        ),
        (
            "speed-not-a-number",
            Internal,
            "bad-answer",
            &["\"performance\"[0]"],
        ),
    ];
    let modes: Vec<&str> = cases.iter().map(|c| c.0).chain(["stranger"]).collect();
    let bench = bench(&[], &modes).await;
    let digest = Digest::of(&guests().provider);
    let query = OffersQuery::default();
    for (mode, kind, code, parts) in cases {
        let (bad, good) = (bench.provider(mode), bench.provider("good-cloud"));
        let (failure, offers) =
            tokio::join!(async { bad.offers(&query).await.unwrap_err() }, async {
                good.offers(&query).await.unwrap()
            });
        check(&failure, mode, digest, kind, code, parts);
        assert_eq!(
            offers.iter().map(|o| &*o.id).collect::<Vec<_>>(),
            ["small", "large"]
        );
    }
    let tracked = [Tracked {
        allocation: "a-1".parse().unwrap(),
        state: Vec::new(),
    }];
    let failure = bench
        .provider("stranger")
        .observe(&tracked)
        .await
        .unwrap_err();
    check(
        &failure,
        "stranger",
        digest,
        Internal,
        "bad-answer",
        &["someone-else"],
    );
    assert_eq!(
        bench
            .provider("good-cloud")
            .observe(&tracked)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_outlives_the_call_that_began_it() {
    let bench = bench(&[], &["slow-apply"]).await;
    let provider = bench.provider("slow-apply");
    let allocation = crate::support::allocation();
    let failure = provider.apply(&allocation, None).await.unwrap_err();
    assert_eq!(failure.code.as_deref(), Some("deadline-exceeded"));
    assert_eq!(bench.http.completed.load(SeqCst), 0);
    bench.http.release.add_permits(1);
    bench.http.done.acquire().await.unwrap().forget();
    assert_eq!(bench.http.completed.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sends_only_so_many_requests() {
    let folders = Folders::new();
    folders.put("hostile-provider.wasm", &guests().provider);
    folders.put_provider("flood", "flood", "[limits]\nhttp-requests = 3\n");
    let bench = Bench::start(folders).await;
    bench.http.release.add_permits(100);
    let failure = bench
        .provider("flood")
        .offers(&OffersQuery::default())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Denied, Some("http-requests-limit")),
        "{failure:?}"
    );
    assert!(
        failure.message.contains("3 HTTP requests in one call"),
        "{failure:?}"
    );
    assert_eq!(bench.http.completed.load(SeqCst), 3);
}

/// Host calls are counted, whatever they move; lines are, in one call and over all of an instance's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_calls_and_lines_of_the_log_are_bounded() {
    let folders = Folders::new();
    folders.put("hostile-provider.wasm", &guests().provider);
    folders.put_provider(
        "chatter",
        "chatter",
        "[limits]\nhost-bytes = \"1Mi\"\nlog-lines = 5\n",
    );
    folders.put_provider("long", "long-lines", "[limits]\nhost-bytes = \"4Mi\"\n");
    folders.put_provider("quiet", "one-line", "[limits]\nlog-lines = 3\n");
    let bench = Bench::start(folders).await;
    let query = OffersQuery::default();
    for name in ["chatter", "long"] {
        let failure = bench.provider(name).offers(&query).await.unwrap_err();
        assert_eq!(
            failure.code.as_deref(),
            Some("host-bytes-limit"),
            "{name}: {failure:?}"
        );
    }
    let dropped = |name: &str| {
        bench
            .handle
            .inspect(&name.parse().unwrap())
            .unwrap()
            .statistics
            .dropped_log_lines
    };
    // A mebibyte for calls that take 16 bytes and six of text: what is beyond five lines is counted, and nothing else.
    let most = (1 << 20) / 22;
    assert!(
        (most - 100..=most).contains(&(dropped("chatter") + 5)),
        "{}",
        dropped("chatter")
    );
    for _ in 0..40 {
        bench.provider("quiet").offers(&query).await.unwrap();
    }
    assert!(
        (1..=10).contains(&dropped("quiet")),
        "ten times three lines a minute: {}",
        dropped("quiet")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_past_the_queue_are_told_that_it_is_busy() {
    let folders = Folders::new();
    folders.put("hostile-provider.wasm", &guests().provider);
    folders.put_provider("slow", "slow-host", "[limits]\nconcurrency = 1\n");
    let bench = Bench::with(folders, |o| {
        o.slot_wait = std::time::Duration::from_millis(50)
    })
    .await;
    let provider = bench.provider("slow");
    let first = tokio::spawn({
        let provider = provider.clone();
        async move { provider.offers(&OffersQuery::default()).await }
    });
    bench.http.entered.acquire().await.unwrap().forget();
    let failure = provider.offers(&OffersQuery::default()).await.unwrap_err();
    check(
        &failure,
        "slow",
        Digest::of(&guests().provider),
        FailureKind::Unavailable,
        "busy",
        &["limits.concurrency is 1", "50ms"],
    );
    bench.http.release.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().len(), 2);
}
