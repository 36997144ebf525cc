//! Hands the contract to the bindings generator, with names told apart that the WIT language wants to be different: a type and a function
//! of one interface must not share a name. Only names of types change. The generator takes its path as a literal, hence the written file.

use std::{env, error::Error, fs, path::Path};

const TOLD_APART: [(&str, &str, &str); 7] = [
    ("host.wit", "record status {", "record process-status {"),
    ("host.wit", "result<status, error>", "result<process-status, error>"),
    ("host.wit", "option<status>", "option<process-status>"),
    ("host.wit", "record machine {", "record machine-info {"),
    ("host.wit", "result<machine, error>", "result<machine-info, error>"),
    ("provider.wit", "condition, offers,", "condition, offers as offer-table,"),
    ("provider.wit", "result<offers, error>", "result<offer-table, error>"),
];

const BINDINGS: &str = r#"
/// Both worlds share the provider world's types and log.
pub(crate) mod provider {
    wasmtime::component::bindgen!({
        path: "WIT",
        world: "provider",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

pub(crate) mod policy {
    wasmtime::component::bindgen!({
        path: "WIT",
        world: "policy",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "tradewind:plugin/types": super::provider::tradewind::plugin::types,
            "tradewind:plugin/log": super::provider::tradewind::plugin::log,
        },
    });
}
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let from = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../wit/v0.1");
    let out = env::var("OUT_DIR")?;
    let to = Path::new(&out).join("wit");
    println!("cargo::rerun-if-changed={}", from.display());
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        let mut text = fs::read_to_string(entry.path())?;
        for (file, old, new) in TOLD_APART {
            if entry.file_name() == file {
                text = text.replace(old, new);
            }
        }
        fs::write(to.join(entry.file_name()), text)?;
    }
    let path = to.to_string_lossy().escape_default().to_string();
    fs::write(Path::new(&out).join("bindings.rs"), BINDINGS.replace("WIT", &path))?;
    Ok(())
}
