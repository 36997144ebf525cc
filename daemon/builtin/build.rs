//! Finds the components that have been built, and has them included.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// What the binary carries: what decides without a grant, and what runs on this machine or nowhere.
const NAMES: [&str; 9] = [
    "balanced",
    "cheapest",
    "fastest",
    "optimal",
    "process",
    "simulated",
    "spot",
    "spread",
    "weighted",
];
const VARIABLE: &str = "TRADEWIND_BUILTIN";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut code = String::from(
        "/// Those that were there when this program was built, by name.\npub static COMPONENTS: &[Component] = &[\n",
    );
    if let Some(folder) = folder(&out)? {
        // The folder, not the files: one that is missing now may be built later.
        println!("cargo::rerun-if-changed={}", folder.display());
        for name in NAMES {
            let from = folder.join(format!("{name}.wasm"));
            let to = out.join(format!("{name}.wasm"));
            if from.is_file() {
                fs::copy(&from, &to)?;
                writeln!(
                    code,
                    "    ({name:?}, include_bytes!({:?})),",
                    to.display().to_string()
                )?;
            }
        }
    }
    code.push_str("];\n");
    fs::write(out.join("built.rs"), code)?;
    Ok(())
}

/// Where the components lie. None: the variable is empty.
fn folder(out: &Path) -> Result<Option<PathBuf>, Box<dyn Error>> {
    if let Some(named) = env::var_os(VARIABLE) {
        return Ok(Some(PathBuf::from(named)).filter(|path| !path.as_os_str().is_empty()));
    }
    // TARGET/PROFILE/build/CRATE/out, with the name of the platform before the profile where one was named.
    let target = out
        .ancestors()
        .skip(4)
        .take(2)
        .find(|folder| folder.join("plugins/cheapest.wasm").is_file())
        .or_else(|| out.ancestors().nth(4))
        .ok_or("the target folder can't be told")?;
    let folder = target.join("plugins");
    // Cargo looks at a folder for changes when there is one.
    fs::create_dir_all(&folder)?;
    Ok(Some(folder))
}
