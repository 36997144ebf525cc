//! The certificate that the API shows: the operator's, or one made at first start. It is read again when its files change; files that
//! can't be used leave the one before in force. It must not know what is served.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_util::sync::CancellationToken;
use tradewind_core::names::Digest;
use tradewind_credentials::owners::{self, Kind};

use crate::config::Config;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the file \"{}\" of the setting \"{setting}\" can't be read", path.display())]
    Read { setting: &'static str, path: PathBuf, source: io::Error },
    #[error("the file \"{}\" of the setting \"{setting}\" holds no {what} in PEM form", path.display())]
    Content { setting: &'static str, path: PathBuf, what: &'static str },
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
    pub certificate: Certificate,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
    files: Files,
    /// Of what was read last, usable or not.
    seen: Digest,
}

/// What is in force at the moment. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<ArcSwap<ServerConfig>>);

impl Certificate {
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// None: the API speaks plain HTTP. Blocks.
///
/// # Errors
/// Files that can't be read or used, or a folder that can't be written.
pub fn prepare(config: &Config) -> Result<Option<Tls>, Error> {
    if !config.tls.is_on() {
        return Ok(None);
    }
    let files = if config.tls.self_signed {
        let folder = config.data.join("tls");
        let files = Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        if !(files.certificate.exists() && files.key.exists()) {
            make(&folder, &files, &names(config))?;
        }
        files
    } else {
        Files { certificate: config.tls.certificate.clone(), key: config.tls.key.clone() }
    };
    let (certificate, key) = files.read()?;
    let (server, fingerprint) = files.understand(&certificate, &key)?;
    let seen = Digest::of_parts(&[&certificate, &key]);
    let certificate = Certificate(Arc::new(ArcSwap::from_pointee(server)));
    Ok(Some(Tls { certificate, fingerprint, files, seen }))
}

impl Tls {
    /// Puts changed files into force, and tells the new fingerprint, until stopped.
    pub async fn follow(mut self, stop: CancellationToken, changed: impl Fn(Digest)) {
        while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
            match self.look().await {
                Ok(None) => {}
                Ok(Some(fingerprint)) => {
                    tracing::info!(%fingerprint, "the certificate was read again");
                    changed(fingerprint);
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

    /// The fingerprint, if the files have changed and are usable. Files that are not are complained of once.
    async fn look(&mut self) -> Result<Option<Digest>, Error> {
        let files = self.files.clone();
        // A file that is missing for a moment is being replaced.
        let Ok((certificate, key)) = tokio::task::spawn_blocking(move || files.read()).await? else { return Ok(None) };
        let seen = Digest::of_parts(&[&certificate, &key]);
        if seen == self.seen {
            return Ok(None);
        }
        self.seen = seen;
        let (server, fingerprint) = self.files.understand(&certificate, &key)?;
        self.certificate.0.store(Arc::new(server));
        self.fingerprint = fingerprint;
        Ok(Some(fingerprint))
    }
}

impl Files {
    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let read =
            |setting, path: &PathBuf, kind| owners::read(path, kind).map_err(|source| Error::Read { setting, path: path.clone(), source });
        Ok((read("tls.certificate", &self.certificate, Kind::Trusted)?, read("tls.key", &self.key, Kind::Secret)?))
    }

    fn understand(&self, certificate: &[u8], key: &[u8]) -> Result<(ServerConfig, Digest), Error> {
        let path = self.certificate.clone();
        let nothing = Error::Content { setting: "tls.certificate", path, what: "certificate" };
        let Ok(chain) = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>() else { return Err(nothing) };
        let Some(leaf) = chain.first() else { return Err(nothing) };
        let fingerprint = Digest::of(leaf);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Content {
            setting: "tls.key",
            path: self.key.clone(),
            what: "private key",
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut server = builder.with_no_client_auth().with_single_cert(chain, key)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((server, fingerprint))
    }
}

/// What a certificate of our own is good for. Clients that pin it do not look at these.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let listen: IpAddr = config.listen.ip();
    if !listen.is_unspecified() {
        names.push(listen.to_string());
    }
    names.extend(config.tls.names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

fn make(folder: &Path, files: &Files, names: &[String]) -> Result<(), Error> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(names)?.self_signed(&key)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    // The key first: a certificate without its key is never found, and both are made again.
    write(&files.key, &key.serialize_pem()).map_err(failed(&files.key))?;
    write(&files.certificate, &certificate.pem()).map_err(failed(&files.certificate))?;
    tracing::info!(path = %files.certificate.display(), "a certificate of the daemon's own was made");
    Ok(())
}

/// For the owner alone, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}
