//! Credentials and secrets: where their values come from, and the type that keeps them to itself.
//!
//! A [`Secret`] shows its value to nobody who does not ask for it by [`Secret::expose`]; it is overwritten when it is dropped. This crate
//! knows no cloud: what a value means is for those who asked for it.
#![warn(missing_docs)]

pub mod owners;
pub mod secrets;

mod command;
mod secret;
mod vault;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tradewind_core::{failure::Failure, grant::CredentialSource};

pub use secret::Secret;
pub use vault::{Error as VaultError, Vault};

/// The longest value taken from a file or a program, in bytes.
pub const LONGEST: u64 = 64 << 10;
/// How long what a program printed is used.
const KEPT: Duration = Duration::from_secs(300);

/// The daemon's credentials. Cheap to clone; values are read when they are asked for, so that a rotated one is used without a restart.
#[derive(Clone, Default)]
pub struct Credentials(Arc<Inner>);

#[derive(Default)]
struct Inner {
    named: BTreeMap<String, CredentialSource>,
    vault: Option<Vault>,
    /// What programs printed, and when.
    printed: Mutex<HashMap<Vec<String>, (Instant, Secret)>>,
}

impl Credentials {
    /// With these, named as in the daemon's settings.
    pub fn new(named: BTreeMap<String, CredentialSource>) -> Self {
        Self(Arc::new(Inner {
            named,
            ..Inner::default()
        }))
    }

    /// With these, and those that are sealed.
    pub fn with_vault(named: BTreeMap<String, CredentialSource>, vault: Vault) -> Self {
        Self(Arc::new(Inner {
            named,
            vault: Some(vault),
            ..Inner::default()
        }))
    }

    /// The value of one line: a token, a key, `user:password`. `name` is what messages call it.
    ///
    /// # Errors
    /// `denied` when there is none; the message says what is wrong with its source, never a value.
    pub async fn line(&self, name: &str, source: &CredentialSource) -> Result<Secret, Failure> {
        let text = self.text(name, source).await?;
        let line = Secret::new(text.expose().lines().next().unwrap_or_default());
        if line.expose().is_empty() {
            Err(failed(name, "its value is empty"))
        } else {
            Ok(line)
        }
    }

    /// The whole value, for those that are documents: a key file in JSON, a kubeconfig.
    ///
    /// # Errors
    /// As `line`.
    pub async fn text(&self, name: &str, source: &CredentialSource) -> Result<Secret, Failure> {
        let named = match source {
            CredentialSource::Credential(known_as) => {
                let known = self.0.named.get(known_as);
                known.ok_or_else(|| {
                    failed(name, &format!("the daemon's settings have no credential \"{}\"", known_as.escape_debug())).remedy(format!(
                        "add it to [credentials] of the daemon's configuration: {known_as} = {{ file = \"/absolute/path\" }}"
                    ))
                })?
            }
            other => other,
        };
        match named {
            CredentialSource::Env(variable) => {
                let value = std::env::var(variable);
                value.map(Secret::from).map_err(|_| {
                    failed(
                        name,
                        &format!("the daemon's environment variable \"{variable}\" is not set"),
                    )
                })
            }
            CredentialSource::File(path) => read(Path::new(path))
                .await
                .map_err(|reason| failed(name, &format!("its file {reason}"))),
            CredentialSource::Command(words) => self.printed(name, words).await,
            CredentialSource::Sealed(sealed) => self.open(name, sealed.clone()).await,
            // The settings are checked for this when they are read.
            CredentialSource::Credential(_) => Err(failed(name, "it names another credential")),
        }
    }

    /// Forgets what programs printed: the next use asks them again. For those whose credential was refused.
    pub fn forget(&self) {
        self.0.printed.lock().clear();
    }

    async fn open(&self, name: &str, sealed: String) -> Result<Secret, Failure> {
        let Some(vault) = self.0.vault.clone() else {
            return Err(failed(name, "nothing is sealed here"));
        };
        let opened = tokio::task::spawn_blocking(move || vault.open(&sealed)).await;
        match opened {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failed(name, &error.to_string())
                .remedy("store it with `tradewind credential seal NAME`")),
            Err(_) => Err(failed(name, "opening it broke off")),
        }
    }

    async fn printed(&self, name: &str, words: &[String]) -> Result<Secret, Failure> {
        let known = self.0.printed.lock().get(words).cloned();
        if let Some((_, value)) = known.filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(value);
        }
        let value = command::output(words)
            .await
            .map_err(|reason| failed(name, &format!("its program {reason}")))?;
        self.0
            .printed
            .lock()
            .insert(words.to_vec(), (Instant::now(), value.clone()));
        Ok(value)
    }
}

fn failed(name: &str, reason: &str) -> Failure {
    Failure::denied(format!(
        "the credential \"{}\" can't be used: {reason}",
        name.escape_debug()
    ))
    .field("credential")
}

async fn read(path: &Path) -> Result<Secret, String> {
    use tokio::io::AsyncReadExt;
    if !path.is_absolute() {
        return Err("is not given by an absolute path".to_owned());
    }
    let at = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || owners::open(&at, owners::Kind::Secret)).await;
    let file = opened
        .map_err(|_| "can't be opened".to_owned())?
        .map_err(|e| match (owners::untrusted(&e), e.kind()) {
            (Some(untrusted), _) => format!("is not used: {untrusted}"),
            (None, std::io::ErrorKind::NotFound) => "does not exist".to_owned(),
            (None, std::io::ErrorKind::PermissionDenied) => {
                "may not be read by the daemon".to_owned()
            }
            _ => "can't be opened".to_owned(),
        })?;
    let mut text = String::new();
    tokio::fs::File::from_std(file)
        .take(LONGEST)
        .read_to_string(&mut text)
        .await
        .map_err(|_| "can't be read as text".to_owned())?;
    Ok(Secret::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_come_from_their_sources_and_show_nowhere() {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "first\nsecond\n").unwrap();
        let path = file.to_str().unwrap().to_owned();
        let named = BTreeMap::from([("api".to_owned(), CredentialSource::File(path.clone()))]);
        let credentials = Credentials::new(named);
        let by_name = CredentialSource::Credential("api".to_owned());
        assert_eq!(
            credentials.line("x", &by_name).await.unwrap().expose(),
            "first"
        );
        assert_eq!(
            credentials.text("x", &by_name).await.unwrap().expose(),
            "first\nsecond\n"
        );
        std::fs::write(&file, "rotated").unwrap();
        let rotated = credentials.line("x", &by_name).await.unwrap();
        assert_eq!(
            (rotated.expose(), format!("{rotated:?}").contains("rotated")),
            ("rotated", false)
        );

        let words = ["cat".to_owned(), path];
        let printed = CredentialSource::Command(words.to_vec());
        assert_eq!(
            credentials.line("x", &printed).await.unwrap().expose(),
            "rotated"
        );
        std::fs::write(&file, "again").unwrap();
        assert_eq!(
            credentials.line("x", &printed).await.unwrap().expose(),
            "rotated",
            "kept for a while"
        );
        credentials.forget();
        assert_eq!(
            credentials.line("x", &printed).await.unwrap().expose(),
            "again"
        );
    }

    #[tokio::test]
    async fn what_is_missing_is_named_without_a_value() {
        let credentials = Credentials::default();
        for (source, part) in [
            (
                CredentialSource::Credential("none".to_owned()),
                "no credential \"none\"",
            ),
            (
                CredentialSource::Env("TRADEWIND_NO_SUCH".to_owned()),
                "\"TRADEWIND_NO_SUCH\" is not set",
            ),
            (
                CredentialSource::File("/nowhere/at/all".to_owned()),
                "does not exist",
            ),
            (CredentialSource::File("relative".to_owned()), "absolute"),
            (CredentialSource::Command(vec![]), "is not named"),
            (
                CredentialSource::Command(vec![
                    "sh".to_owned(),
                    "-c".to_owned(),
                    "echo hidden >&2; exit 3".to_owned(),
                ]),
                "ended with 3",
            ),
        ] {
            let failure = credentials.line("x", &source).await.unwrap_err();
            assert!(
                failure.message.contains(part) && !failure.message.contains("hidden"),
                "{failure}"
            );
        }
    }
}
