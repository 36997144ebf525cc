//! From a template to a component, with the real compiler. Shares the plugins' target folder, so that the standard library is built once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tradewind_author::{BuildOptions, Error, Kind, SdkSource, build, build_all, componentize, new};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn a_new_plugin_of_either_kind_becomes_a_component_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = [
        (
            Kind::Policy,
            "near-first",
            &["tradewind:plugin/log@0.1.0"][..],
        ),
        (
            Kind::Provider,
            "my-cloud",
            &[
                "tradewind:plugin/log@0.1.0",
                "tradewind:plugin/process@0.1.0",
            ][..],
        ),
    ];
    for (kind, name, imports) in wanted {
        let home = folder.path().join(name);
        new(
            kind,
            name,
            &home,
            &SdkSource::Path(root().join("plugin-sdk")),
        )
        .unwrap();
        // The versions that the other plugins are locked to are there already.
        fs::copy(root().join("plugins/Cargo.lock"), home.join("Cargo.lock")).unwrap();
        let out = folder.path().join("out").join(format!("{name}.wasm"));
        // `make` names one folder for all guests, so that their standard library is built once.
        let shared = std::env::var_os("CARGO_BUILD_TARGET_DIR")
            .map_or_else(|| root().join("plugins/target"), PathBuf::from);
        let target_dir = Some(shared.join("guest"));
        let options = BuildOptions {
            manifest_dir: home,
            out: Some(out.clone()),
            target_dir,
            ..BuildOptions::default()
        };
        let built = build(&options).unwrap();
        assert_eq!(
            (built.kind, built.name.as_str(), &built.wasm),
            (kind, name, &out)
        );
        assert_eq!(fs::read(&out).unwrap(), built.bytes);
        assert_eq!(built.imports, imports, "what is not called is not imported");
        assert!(built.size < 1 << 20, "{name}: {} bytes", built.size);
    }
}

#[test]
fn what_is_no_plugin_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |manifest_dir: PathBuf| BuildOptions {
        manifest_dir,
        ..BuildOptions::default()
    };
    assert!(matches!(
        build(&at(folder.path().to_owned())),
        Err(Error::NoManifest { .. })
    ));
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), "").unwrap();
    fs::write(
        folder.path().join("Cargo.toml"),
        "[package]\nname = \"plain\"\n[workspace]\n",
    )
    .unwrap();
    assert!(matches!(
        build(&at(folder.path().to_owned())),
        Err(Error::NoPlugin { .. })
    ));
    let unknown = BuildOptions {
        plugins: vec!["dearest".to_owned()],
        ..at(root().join("plugins"))
    };
    let error = build_all(&unknown).unwrap_err().to_string();
    assert!(
        error.contains("\"dearest\"") && error.contains("\"cheapest\""),
        "{error}"
    );
    assert!(matches!(
        componentize("text", b"not wasm"),
        Err(Error::Component { .. })
    ));
    assert!(matches!(
        componentize("empty", b"\0asm\x01\0\0\0"),
        Err(Error::NoWorld { .. })
    ));
}

/// A published file of the contract never changes: what plugins were compiled against years ago must still mean the same.
#[test]
fn the_published_contract_is_frozen() {
    let folder = root().join("wit/v0.1");
    let listed = fs::read_to_string(root().join("wit/v0.1.sha256")).unwrap();
    let mut actual: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let digest = <sha2::Sha256 as sha2::Digest>::digest(fs::read(entry.path()).unwrap());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digest}  v0.1/{}", entry.file_name().to_string_lossy())
        })
        .collect();
    actual.sort_by_key(|line| line.split_whitespace().nth(1).map(str::to_owned));
    let actual = actual.join("\n") + "\n";
    assert_eq!(
        actual, listed,
        "wit/v0.1 is published: put what is new into a new version's folder (wit/README.md)"
    );
}
