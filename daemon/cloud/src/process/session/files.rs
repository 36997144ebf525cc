//! Files from and to a process's folders, as tar archives that the machine's own `tar` packs and unpacks. It runs as the process's user and reaches
//! these folders and the machine's programs alone: neither a link nor a name that is swapped meanwhile leads further.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tradewind_core::{
    failure::{Failure, WORKLOAD},
    grant::ProcessGrant,
    session::Session,
    workload::FileContent,
};

use super::{
    command::{Asked, Environment, blocking, run},
    tool,
};
use crate::process::{
    Shared,
    confine::{self, Plan},
    folder::Record,
    slot::Slot,
};

const TAR: &str = "tar";

/// What of a process's folders is meant.
struct Place {
    real: PathBuf,
    plan: Plan,
    tar: PathBuf,
}

/// Packs a file, or a folder with all that is in it.
pub(super) async fn read(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    grant: &ProcessGrant,
    path: String,
) -> Result<Session, Failure> {
    keeps_secrets(&slot.state().record, grant)?;
    let Place { real, plan, tar } = find(shared, slot, path).await?;
    let (directory, entry) = match (real.is_dir(), real.parent(), real.file_name()) {
        (false, Some(parent), Some(name)) => (parent.to_owned(), name.to_owned()),
        _ => (real, ".".into()),
    };
    let mut named = std::ffi::OsString::from("./");
    named.push(&entry);
    let named = if entry == "." { entry } else { named };
    let arguments = ["-cf".to_owned(), "-".to_owned()].into_iter();
    let Some(named) = named.to_str() else {
        return Err(Failure::invalid("the file's name is no UTF-8").field("path"));
    };
    let asked = Asked {
        program: tar,
        arguments: arguments.chain([named.to_owned()]).collect(),
        directory,
        plan,
        environment: Environment::Machine,
        input: false,
        terminal: None,
    };
    run(shared, slot, asked).await
}

/// Unpacks into a folder that is there.
pub(super) async fn write(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    path: String,
) -> Result<Session, Failure> {
    let shown = path.escape_debug().to_string();
    let Place { real, plan, tar } = find(shared, slot, path).await?;
    if !real.is_dir() {
        return Err(Failure::invalid(format!("\"{shown}\" is no folder"))
            .field("path")
            .code(WORKLOAD));
    }
    // Owners of other machines mean nothing here.
    let arguments = ["-xof", "-"].map(str::to_owned).to_vec();
    let asked = Asked {
        program: tar,
        arguments,
        directory: real,
        plan,
        environment: Environment::Machine,
        input: true,
        terminal: None,
    };
    run(shared, slot, asked).await
}

async fn find(shared: &Arc<Shared>, slot: &Arc<Slot>, path: String) -> Result<Place, Failure> {
    let (inner, of) = (shared.clone(), slot.clone());
    blocking(move || {
        let record = of.state().record.clone();
        let base = record
            .prepared
            .directory
            .clone()
            .unwrap_or_else(|| of.folder.work());
        let plan = inner.plan(&of.folder, &record).of_programs();
        let own = confine::real(&[of.folder.work()]);
        let folders = confine::real(&record.prepared.folders);
        let real = inside((&own, &folders), &plan.hidden, &base, &path)?;
        Ok(Place {
            real,
            plan,
            tar: tool(&inner.search, TAR, "files are packed with")?,
        })
    })
    .await
}

/// Whoever may run a few programs alone may have none that prints a secret's file, and reads none in this way either.
fn keeps_secrets(record: &Record, grant: &ProcessGrant) -> Result<(), Failure> {
    let files = &record.prepared.spec.files;
    let secret = files
        .iter()
        .any(|file| matches!(file.content, FileContent::Secret(_)));
    if !secret || grant.is_any() {
        return Ok(());
    }
    Err(Failure::not_granted(
        "the replica has files of secrets, and its grant names the programs that may read them",
        "path",
    )
    .remedy("run a program that is granted with exec, or give commands = [\"*\"] in [grants.process] of the instance file"))
}

/// A path in the process's own folder, or in one that its grant opens to its namespace.
fn inside(
    (own, folders): (&[PathBuf], &[PathBuf]),
    hidden: &[PathBuf],
    base: &Path,
    path: &str,
) -> Result<PathBuf, Failure> {
    let shown = path.escape_debug();
    let real = fs::canonicalize(base.join(path)).map_err(|e| {
        Failure::not_found(format!(
            "\"{shown}\" can't be used: {}",
            e.to_string().to_lowercase()
        ))
        .field("path")
    })?;
    let granted = confine::is_below(&real, folders) && !confine::is_below(&real, hidden);
    if granted || confine::is_below(&real, own) {
        return Ok(real);
    }
    Err(Failure::not_granted(
        format!("\"{shown}\" is in none of the replica's folders"),
        "path",
    )
    .remedy(
        "give a path relative to the folder in which it runs, or add its folder to directories in [grants.process] of the instance file",
    ))
}
