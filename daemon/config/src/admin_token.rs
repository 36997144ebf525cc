//! `admin.token` in the data folder: the text of the first token, for its owner alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tradewind_core::identity::{Malformed, Secret};

/// In the data folder.
pub const ADMIN_FILE: &str = "admin.token";

/// A file that should hold a token.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum TokenFileError {
    #[error("\"{}\" can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("\"{}\" holds no token: {source}", path.display())]
    NoToken { path: PathBuf, source: Malformed },
}

/// A token's text out of a file that holds nothing else.
///
/// # Errors
/// It can't be read, or holds no token.
pub fn read_secret(path: &Path) -> Result<Secret, TokenFileError> {
    let text = fs::read_to_string(path).map_err(|source| TokenFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    text.trim()
        .parse()
        .map_err(|source| TokenFileError::NoToken {
            path: path.to_owned(),
            source,
        })
}
