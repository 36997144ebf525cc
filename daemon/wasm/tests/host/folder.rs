//! What may not serve, and what the operator is told.

use tradewind_api::PluginState;
use tradewind_core::{
    names::Digest,
    plugin::{Kind, Plugins},
    units::Bytes,
};
use tradewind_wasm::{Compiling, Error, Host, Options, inspect_file};

use crate::support::{Bench, Folders, guests, request, variant};

/// A good policy first, then the bad file in its place: each time the good one goes on and the reason is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_component_is_told_apart() {
    let folders = Folders::new();
    folders.put("p.wasm", &guests().policy);
    let bench = Bench::with(folders, |o| o.size_cap = Bytes(1 << 20)).await;
    let other_version = replaced(&guests().policy, b"@0.1.0", b"@9.1.0");
    let core_module = b"\0asm\x01\0\0\0".to_vec();
    let empty_component = b"\0asm\x0d\0\x01\0".to_vec();
    let cases: [(&str, Vec<u8>, &[&str]); 6] = [
        (
            "not wasm",
            b"#!/bin/sh\n".to_vec(),
            &["not a WebAssembly component", "does not begin as one"],
        ),
        ("empty", Vec::new(), &["the file is empty"]),
        (
            "a core module",
            core_module,
            &["it is a core module", "tradewind plugin build"],
        ),
        (
            "no plugin",
            empty_component,
            &[
                "it exports nothing",
                "tradewind:plugin/scheduling-policy@0.1.0",
            ],
        ),
        (
            "another contract",
            other_version,
            &["tradewind:plugin/scheduling-policy@9.1.0"],
        ),
        (
            "too large",
            vec![0; (1 << 20) + 1],
            &["\"p.wasm\" is too large: 1048577 bytes", "1Mi"],
        ),
    ];
    for (what, bytes, parts) in cases {
        bench.folders.put("p.wasm", &bytes);
        let report = bench.handle.reconcile().await.unwrap();
        let reason = bench.refusal("p");
        for part in parts {
            assert!(reason.contains(part), "{what}: {reason}");
        }
        assert!(report.loaded.is_empty(), "{what}");
        assert_eq!(
            bench.serving("p"),
            Some(Digest::of(&guests().policy)),
            "{what}"
        );
        bench.policy("p").place(&request(1)).await.unwrap();
    }
    assert_eq!(bench.view("p").statistics.failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_instance_file_is_told_apart() {
    let folders = Folders::new();
    folders.put("hostile-policy.wasm", &guests().policy);
    folders.put("hostile-provider.wasm", &guests().provider);
    folders.put_policy("p", "", "");
    let bench = Bench::start(folders).await;
    let component = "component = \"hostile-policy.wasm\"\n";
    let cases = [
        (
            format!("{component}[settings]\nmode = 3\n"),
            "settings.mode: 3 is not of type",
        ),
        (
            format!("{component}[settings]\ncolour = \"red\"\n"),
            "colour",
        ),
        (
            format!("{component}[limits]\nmemory = \"1Ti\"\n"),
            "limits.memory is \"1Ti\": use 64Ki to 512Mi",
        ),
        (
            format!("{component}[limits]\nmemory = \"64Ki\"\n"),
            "limits.memory of 64Ki",
        ),
        (
            format!("{component}[limits]\nconcurrency = 0\n"),
            "limits.concurrency is \"0\"",
        ),
        (format!("{component}[limit]\n"), "unknown field `limit`"),
        (
            "component = \"../x.wasm\"\n".to_owned(),
            "component is \"../x.wasm\"",
        ),
        (
            "component = \"hostile-provider.wasm\"\n".to_owned(),
            "p.toml does not grant; to grant it, add:\n[grants.http]\nhosts = [",
        ),
    ];
    for (text, part) in cases {
        bench.folders.put("p.toml", text.as_bytes());
        bench.handle.reconcile().await.unwrap();
        assert!(
            bench.refusal("p").contains(part),
            "{text}: {}",
            bench.refusal("p")
        );
        assert_eq!(
            bench.serving("p"),
            Some(Digest::of(&guests().policy)),
            "{text}"
        );
    }
    // What the message says to add is what is missing.
    bench.folders.put(
        "p.toml",
        b"component = \"hostile-provider.wasm\"\n[grants.http]\nhosts = [\"api.example.com\"]",
    );
    bench.handle.reconcile().await.unwrap();
    assert_eq!(
        (bench.view("p").kind, bench.view("p").grants),
        (Some(Kind::Provider), vec!["http".to_owned()])
    );

    bench.folders.put("p.toml", b"component = \"gone.wasm\"\n");
    bench.handle.reconcile().await.unwrap();
    assert!(
        bench
            .refusal("p")
            .contains("\"gone.wasm\" is not in the plugin folder")
    );
    assert_eq!(bench.view("p").state, PluginState::Rejected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_alone_serves_if_it_needs_nothing() {
    let folders = Folders::new();
    folders.put("fine.wasm", &guests().policy);
    folders.put("needy.wasm", &guests().provider);
    folders.put("Bad_Name.wasm", &guests().policy);
    folders.put("notes.txt", b"not ours");
    let bench = Bench::start(folders).await;
    assert_eq!(bench.host.snapshot().policies.len(), 1);
    let view = bench.view("fine");
    assert_eq!(
        (view.state, view.kind, view.capabilities.len()),
        (PluginState::Active, Some(Kind::Policy), 0)
    );
    assert_eq!(
        view.identity.map(|i| (i.plugin, i.version)),
        Some(("hostile-policy".to_owned(), "1.2.3".to_owned()))
    );
    assert_eq!(bench.view("needy").state, PluginState::Rejected);
    assert!(
        bench
            .refusal("needy")
            .contains("make needy.toml beside it:\ncomponent = \"needy.wasm\"\n[grants.http]"),
        "{}",
        bench.refusal("needy")
    );
    let problems = bench.handle.problems();
    assert_eq!(
        problems.iter().map(|p| p.file.as_str()).collect::<Vec<_>>(),
        ["Bad_Name.wasm"]
    );
    assert!(problems[0].reason.contains("Bad_Name"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_component_serves_only_where_an_instance_file_names_it() {
    let folders = Folders::new();
    let further = folders.root.path().join("further");
    std::fs::create_dir(&further).unwrap();
    std::fs::write(further.join("hostile-policy.wasm"), &guests().policy).unwrap();
    folders.put("other.toml", b"component = \"other.wasm\"\n");
    let shown = further.display().to_string();
    let bench = Bench::with(folders, |o| o.components = Some(further)).await;
    assert!(bench.host.snapshot().policies.is_empty());
    let refusal = bench.refusal("other");
    assert!(
        refusal.contains("\"other.wasm\" is neither in the plugin folder nor in")
            && refusal.contains(&shown),
        "{refusal}"
    );

    bench.folders.put_policy("p", "", "");
    bench.handle.reconcile().await.unwrap();
    assert_eq!(bench.serving("p"), Some(Digest::of(&guests().policy)));
    // The operator's own goes before it.
    let own = variant(&guests().policy, 1);
    bench.folders.put("hostile-policy.wasm", &own);
    bench.handle.reconcile().await.unwrap();
    assert_eq!(bench.serving("p"), Some(Digest::of(&own)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_folders_are_named() {
    let folders = Folders::new();
    let root = folders.root.path();
    let capabilities = Bench::start(folders.clone()).await;
    drop(capabilities);
    for (plugins, state, cache, part) in [
        ("none", "state", "cache", "the setting \"plugins\""),
        (
            "plugins",
            "plugins/state",
            "cache",
            "must not lie in the plugin folder",
        ),
        (
            "plugins",
            "state",
            "plugins/cache",
            "must not lie in the plugin folder",
        ),
    ] {
        let options = Options::new(root.join(plugins), root.join(state), root.join(cache));
        let error: Error = Host::start(options, crate::support::capabilities())
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_can_be_inspected_without_a_daemon() {
    let cache = tempfile::tempdir().unwrap();
    let seen = inspect_file(
        guests().provider.clone(),
        cache.path().join("cache"),
        Compiling::default(),
    )
    .await
    .unwrap();
    assert_eq!(
        (seen.about.kind, seen.about.name.as_str()),
        (Kind::Provider, "hostile-provider")
    );
    assert!(
        seen.imports
            .iter()
            .any(|i| i == "tradewind:plugin/http@0.1.0"),
        "{:?}",
        seen.imports
    );
    assert_eq!(seen.about.capabilities[0].name, "http");
    assert_eq!(seen.digest, Digest::of(&guests().provider));
    assert!(
        inspect_file(
            b"x".to_vec(),
            cache.path().join("cache"),
            Compiling::default()
        )
        .await
        .is_err()
    );
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for i in 0..out.len() - from.len() {
        if &out[i..i + from.len()] == from {
            out[i..i + to.len()].copy_from_slice(to);
        }
    }
    out
}
