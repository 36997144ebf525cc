//! The first token: made when there is none, or anew by who has the data folder in hand. Its text lies in a file for its owner alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tradewind_config::ADMIN_FILE;
use tradewind_core::{
    event::Reason,
    identity::{Power, Secret, TokenRecord},
    names::{Actor, TokenId, TokenName},
    store::{Revision, Store},
    units::Instant,
};

use super::{Error, state};

const NAME: &str = "admin";

/// Makes the admin token anew, in a state that no daemon holds: the old one of that name ends. The answer is where its text lies.
///
/// # Errors
/// The state or the folder can't be written.
pub async fn reset(store: &dyn Store, data: &Path, now: Instant) -> Result<PathBuf, Error> {
    let old = state::load(store)
        .await?
        .tokens
        .into_iter()
        .find(|(record, _)| record.name.as_str() == NAME);
    make(store, now, data, old).await?;
    Ok(data.join(ADMIN_FILE))
}

/// The file comes first: a token whose text nobody has would be there for ever, a file without its token is written again.
pub(super) async fn make(
    store: &dyn Store,
    now: Instant,
    data: &Path,
    before: Option<(TokenRecord, Revision)>,
) -> Result<(TokenRecord, Revision), Error> {
    let secret = secret()?;
    let path = data.join(ADMIN_FILE);
    let (target, text) = (path.clone(), secret.clone());
    let written = tokio::task::spawn_blocking(move || write(&target, &text))
        .await
        .unwrap_or_else(|e| Err(io::Error::other(e)));
    written.map_err(|source| Error::File {
        action: "written",
        path,
        source,
    })?;
    let actor = Actor::LOCAL;
    let record = TokenRecord {
        id: TokenId::new(state::ulid(now)),
        name: TokenName::admin(),
        power: Power::whole(),
        hash: secret.hash(),
        created_at: now,
        created_by: actor.clone(),
        revoked_at: None,
    };
    let event = state::event(
        Reason::TokenCreated,
        &actor,
        before.as_ref().map(|(old, _)| old),
        &record,
        now,
    );
    let revision = state::put(store, &record, before.map(|(_, revision)| revision), event).await?;
    Ok((record, revision))
}

/// A new token's text.
///
/// # Errors
/// The system's generator fails.
pub(super) fn secret() -> Result<Secret, Error> {
    let mut entropy = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut entropy)
        .map_err(|_| Error::Entropy)?;
    Ok(Secret::new(entropy))
}

/// Readers see the whole file or the one before it, and nobody else ever sees any of it.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let fresh = path.with_extension("token.new");
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
