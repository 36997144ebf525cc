//! `backup` asks the running daemon for its state and writes it to a file.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use futures::StreamExt;
use reqwest::Method;

use crate::{Context, Error};

/// Writes the file whole or not at all.
pub(crate) async fn make(context: &Context, file: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: file.to_owned(),
        source,
    };
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let mut bytes = context
        .client
        .download(Method::POST, &["v1", "backup"])
        .await?;
    // It holds the state: nobody else may read it.
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part)
        .map_err(failed)?;
    while let Some(chunk) = bytes.next().await {
        out.write_all(&chunk?).map_err(failed)?;
    }
    out.sync_all().map_err(failed)?;
    let checked = tradewind_backup::check(part).map_err(|e| Error::Backup(Box::new(e)))?;
    fs::rename(part, file).map_err(failed)?;
    context.output.show(&checked, |_| {
        let tradewind_backup::Checked { digest, index } = &checked;
        let bytes: u64 = index.files.iter().map(|f| f.size).sum();
        format!(
            "{}: the state at revision {}, {} files, {bytes} bytes\n{digest}: keep it elsewhere, `tradewind restore --expect` checks it",
            file.display(),
            index.revision.0,
            index.files.len()
        )
    })
}
