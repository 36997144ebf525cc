//! The certificate that the API shows: the operator's, or one of the daemon's own, which is made anew before it ends. It is read again when
//! its files change; files that can't be used leave the one before in force. It must not know what is served.

mod certificate;
mod own;

use std::{io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio_util::sync::CancellationToken;
use tradewind_core::{capability::Clock, names::Digest, units::Millis};
use tradewind_credentials::owners::{self, Kind};

use tradewind_config::Config;

pub use certificate::Facts;
use own::Terms;

/// Why a certificate can't be read, made or kept.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("the file \"{}\" of the setting \"{setting}\" can't be read", path.display())]
    Read {
        setting: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the file \"{}\" of the setting \"{setting}\" holds no {what} in PEM form", path.display())]
    Content {
        setting: &'static str,
        path: PathBuf,
        what: &'static str,
    },
    #[error("the certificate and the key can't be used together")]
    Refused(#[from] rustls::Error),
    #[error("a certificate can't be made")]
    Make(#[from] rcgen::Error),
    #[error("\"{}\" can't be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the files of the certificate can't be looked at")]
    Task(#[from] tokio::task::JoinError),
}

/// Where certificate and key lie.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What a listener needs, and by what clients know it.
pub struct Tls {
    /// What is in force, also after it has been read again.
    pub certificate: Certificate,
    files: Files,
    /// Of what was read last, usable or not.
    seen: Digest,
    /// What one of the daemon's own is made for. None: it is the operator's.
    own: Option<Terms>,
    clock: Arc<dyn Clock>,
    /// When somebody was last told that it ends, or that it can't be made anew.
    told: Option<tokio::time::Instant>,
}

/// What is in force at the moment. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<ArcSwap<InForce>>);

struct InForce {
    server: Arc<ServerConfig>,
    facts: Facts,
}

impl Certificate {
    /// What the next handshake uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.load().server.clone()
    }

    /// By what clients know it, and how long it is good for.
    pub fn facts(&self) -> Facts {
        self.0.load().facts
    }
}

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);
/// Between two warnings about the same certificate.
const AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Who brings a certificate is warned so long before its end, or when a fifth of its time is left, if that is later.
const NOTICE: Millis = Millis::from_secs(21 * 24 * 3600);
/// A name by which clients on the same network may know any daemon.
const NAME: &str = "tradewind";

/// None: the API speaks plain HTTP. Blocks.
///
/// # Errors
/// Files that can't be read or used, or a folder that can't be written.
pub fn prepare(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Tls>, Error> {
    if !config.tls.is_on() {
        return Ok(None);
    }
    let (files, own) = if config.tls.self_signed {
        let folder = config.data.join("tls");
        let files = Files {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        (
            files,
            Some(Terms {
                names: names(config),
                lifetime: config.tls.lifetime,
            }),
        )
    } else {
        (
            Files {
                certificate: config.tls.certificate.clone(),
                key: config.tls.key.clone(),
            },
            None,
        )
    };
    if let Some(terms) = &own {
        match own::ensure(&files, terms, clock.now()) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(path = %files.certificate.display(), "a certificate of the daemon's own was made")
            }
            // What is there serves for now.
            Err(error) if files.certificate.exists() && files.key.exists() => complain(&error),
            Err(error) => return Err(error),
        }
    }
    let (certificate, key) = files.read()?;
    let in_force = files.understand(&certificate, &key)?;
    let seen = Digest::of_parts(&[&certificate, &key]);
    let certificate = Certificate(Arc::new(ArcSwap::from_pointee(in_force)));
    Ok(Some(Tls {
        certificate,
        files,
        seen,
        own,
        clock,
        told: None,
    }))
}

fn complain(error: &Error) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the certificate can't be made anew: the one before stays in force"
    );
}

impl Tls {
    /// Puts changed files into force, makes the daemon's own certificate anew in time, warns of the end of any other, and tells what is in
    /// force from now on, until stopped.
    pub async fn follow(mut self, stop: CancellationToken, changed: impl Fn(Facts)) {
        loop {
            self.keep_valid().await;
            if tokio::time::timeout(LOOK, stop.cancelled()).await.is_ok() {
                return;
            }
            match self.look().await {
                Ok(None) => {}
                Ok(Some(facts)) => {
                    tracing::info!(fingerprint = %facts.key, begins = %facts.begins, ends = %facts.ends, "the certificate was read again");
                    self.told = None;
                    changed(facts);
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the new certificate can't be used: the one before stays in force"
                    );
                }
            }
        }
    }

    /// What is in force, if the files have changed and are usable. Files that are not are complained of once.
    async fn look(&mut self) -> Result<Option<Facts>, Error> {
        let files = self.files.clone();
        // A file that is missing for a moment is being replaced.
        let Ok((certificate, key)) = tokio::task::spawn_blocking(move || files.read()).await?
        else {
            return Ok(None);
        };
        let seen = Digest::of_parts(&[&certificate, &key]);
        if seen == self.seen {
            return Ok(None);
        }
        self.seen = seen;
        let in_force = self.files.understand(&certificate, &key)?;
        let facts = in_force.facts;
        self.certificate.0.store(Arc::new(in_force));
        Ok(Some(facts))
    }

    /// Makes the daemon's own certificate anew when it is time, and warns, now and then, of one that ends or has not begun.
    async fn keep_valid(&mut self) {
        let (facts, now) = (self.certificate.facts(), self.clock.now());
        if let Some(terms) = self
            .own
            .clone()
            .filter(|terms| own::is_late(&facts, terms.lifetime, now))
        {
            let files = self.files.clone();
            // The next look puts it into force.
            let made = tokio::task::spawn_blocking(move || own::ensure(&files, &terms, now)).await;
            match made.map_err(Error::from).and_then(|made| made) {
                Ok(_) => return,
                Err(error) if self.may_tell() => complain(&error),
                Err(_) => {}
            }
        }
        let (left, path) = (facts.left(now), self.files.certificate.clone());
        let path = path.display();
        if facts.begins > now {
            if self.may_tell() {
                tracing::warn!(%path, begins = %facts.begins, %now, "the certificate has not begun, or the clock of this machine is behind");
            }
        } else if left.0 == 0 {
            if self.may_tell() {
                tracing::error!(%path, ends = %facts.ends, "the certificate has ended: clients refuse it unless they pin it");
            }
        } else if self.own.is_none()
            && left < NOTICE.min(Millis(facts.life().0 / 5))
            && self.may_tell()
        {
            tracing::warn!(%path, ends = %facts.ends, %left, "the certificate ends before long: put another one in its place");
        }
    }

    fn may_tell(&mut self) -> bool {
        let due = self.told.is_none_or(|told| told.elapsed() >= AGAIN);
        if due {
            self.told = Some(tokio::time::Instant::now());
        }
        due
    }
}

impl Files {
    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let read = |setting, path: &PathBuf, kind| {
            owners::read(path, kind).map_err(|source| Error::Read {
                setting,
                path: path.clone(),
                source,
            })
        };
        Ok((
            read("tls.certificate", &self.certificate, Kind::Trusted)?,
            read("tls.key", &self.key, Kind::Secret)?,
        ))
    }

    fn understand(&self, certificate: &[u8], key: &[u8]) -> Result<InForce, Error> {
        let path = self.certificate.clone();
        let nothing = Error::Content {
            setting: "tls.certificate",
            path,
            what: "certificate",
        };
        let Ok(chain) = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()
        else {
            return Err(nothing);
        };
        let Some(facts) = chain.first().and_then(certificate::facts) else {
            return Err(nothing);
        };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Content {
            setting: "tls.key",
            path: self.key.clone(),
            what: "private key",
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut server = builder.with_no_client_auth().with_single_cert(chain, key)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(InForce {
            server: Arc::new(server),
            facts,
        })
    }
}

/// What a certificate of our own is good for. Clients that pin it do not look at these.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec![
        NAME.to_owned(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let listen: IpAddr = config.listen.ip();
    if !listen.is_unspecified() {
        names.push(listen.to_string());
    }
    names.push(
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    );
    names.extend(config.tls.names.iter().cloned());
    // A machine may be called what no certificate can say.
    names.retain(|name| ServerName::try_from(name.as_str()).is_ok());
    names.sort();
    names.dedup();
    names
}
