//! `init`: a set-up that explains itself. Nothing in it grants anything: the examples of plugins are not in force.

use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use tradewind_cli::{Globals, output::Output};

/// A plugin's name, its page, and whether it may be in this program.
const EXAMPLES: [(&str, &str); 14] = [
    ("aws", include_str!("../../../plugins/aws/README.md")),
    ("azure", include_str!("../../../plugins/azure/README.md")),
    (
        "balanced",
        include_str!("../../../plugins/balanced/README.md"),
    ),
    (
        "cheapest",
        include_str!("../../../plugins/cheapest/README.md"),
    ),
    (
        "containers",
        include_str!("../../../plugins/containers/README.md"),
    ),
    (
        "fastest",
        include_str!("../../../plugins/fastest/README.md"),
    ),
    ("gcp", include_str!("../../../plugins/gcp/README.md")),
    (
        "kubernetes",
        include_str!("../../../plugins/kubernetes/README.md"),
    ),
    (
        "optimal",
        include_str!("../../../plugins/optimal/README.md"),
    ),
    (
        "process",
        include_str!("../../../plugins/process/README.md"),
    ),
    (
        "simulated",
        include_str!("../../../plugins/simulated/README.md"),
    ),
    ("spot", include_str!("../../../plugins/spot/README.md")),
    ("spread", include_str!("../../../plugins/spread/README.md")),
    (
        "weighted",
        include_str!("../../../plugins/weighted/README.md"),
    ),
];
/// How an example begins and ends in such a page.
const BEGIN: &str = "```toml instance\n";
const END: &str = "```";

/// A set-up could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("\"{}\" exists, and nothing was written", path.display())]
    Exists { path: PathBuf },
    #[error("\"{}\" can't be written", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Error {
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "name another folder: `tradewind init DIR`",
            Self::Write { .. } => "name a folder that you may write: `tradewind init DIR`",
        }
    }
}

/// # Errors
/// A file of it exists already, or can't be written.
pub fn run(globals: &Globals, folder: &Path) -> Result<(), super::Error> {
    let folder = std::path::absolute(folder)?;
    let plugins = folder.join("plugins");
    let config = folder.join("config.toml");
    let mut files = vec![(config.clone(), settings(&folder)?)];
    files.extend(EXAMPLES.iter().filter_map(|(name, page)| {
        Some((
            plugins.join(format!("{name}.toml.example")),
            example(name, page)?,
        ))
    }));
    if let Some((path, _)) = files
        .iter()
        .find(|(path, _)| path.symlink_metadata().is_ok())
    {
        return Err(Error::Exists { path: path.clone() }.into());
    }
    let write = |path: &Path, text: &str| {
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
    };
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    make(&plugins).map_err(failed(&plugins))?;
    for (path, text) in &files {
        write(path, text).map_err(failed(path))?;
    }
    let local = plugins.join("process.toml");
    Ok(Output::new(globals).text(&format!(
        "\"{}\" has a daemon's settings, and examples of plugins that are not in force.\n\n\
         Let it run what you name on this machine, after a look at the grant:\n\n  cp {}.example {}\n\n\
         Start it, and see what it offers:\n\n  tradewind serve --config {}\n  tradewind offers --config {}",
        folder.display(),
        local.display(),
        local.display(),
        config.display(),
        config.display(),
    ))?)
}

fn settings(folder: &Path) -> Result<String, tradewind_config::Error> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let data = folder.join("data");
    tradewind_config::template(
        &data,
        &[("data", path("data")), ("plugins", path("plugins"))],
    )
}

/// The first example of a plugin's page, with what is to be done with it.
fn example(name: &str, page: &str) -> Option<String> {
    let (_, rest) = page.split_once(BEGIN)?;
    let (text, _) = rest.split_once(END)?;
    let file = format!("\"{name}.wasm\"");
    let (text, from) = if tradewind_builtin::component(name).is_some() {
        let own = format!("\"builtin:{name}\"");
        (
            text.replacen(&file, &own, 1),
            "The component is in the program.".to_owned(),
        )
    } else {
        let from = format!(
            "Put {name}.wasm into this folder, or have the setting `components` name the folder that it is in."
        );
        (text.to_owned(), from)
    };
    Some(format!(
        "# An example that is not in force: copy it to {name}.toml, and change it to your needs.\n# {from}\n\n{text}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_is_an_instance_file() {
        for (name, page) in EXAMPLES {
            let text = example(name, page).unwrap();
            tradewind_wasm::check_instance_file(text.as_bytes())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
