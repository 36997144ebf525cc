//! By what the client knows that it talks to the right daemon.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use reqwest::ClientBuilder;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tradewind_core::names::Digest;
use url::Url;

use super::Error;

/// Whose certificates count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those that this machine trusts.
    System,
    /// Those that the authorities in this file have signed.
    Authority(PathBuf),
    /// The one whose public key has this SHA-256, whatever it says of itself; or the one that has this SHA-256 itself.
    Pinned(Digest),
}

impl Trust {
    /// # Errors
    /// A file that can't be read or holds no certificate.
    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, Error> {
        match self {
            Self::System => Ok(builder),
            Self::Authority(path) => Ok(builder.tls_certs_only(authorities(path)?)),
            Self::Pinned(fingerprint) => {
                let config = Verifier::config(Pin(*fingerprint)).map_err(Error::Tls)?;
                Ok(builder.tls_backend_preconfigured(config))
            }
        }
    }
}

impl Trust {
    /// For other servers than the daemon: those that this machine trusts, and the authorities of the file.
    ///
    /// # Errors
    /// A file that can't be read or holds no certificate.
    pub(super) fn add_to(&self, builder: ClientBuilder) -> Result<ClientBuilder, Error> {
        match self {
            Self::System | Self::Pinned(_) => Ok(builder),
            Self::Authority(path) => Ok(builder.tls_certs_merge(authorities(path)?)),
        }
    }
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, Error> {
    let text = std::fs::read(path).map_err(|source| Error::Authority {
        path: path.to_owned(),
        source: source.into(),
    })?;
    reqwest::Certificate::from_pem_bundle(&text).map_err(|source| Error::Authority {
        path: path.to_owned(),
        source: source.into(),
    })
}

/// The digest of the key of the certificate that a server shows. Nothing is sent to it: the handshake ends there. None where none is shown.
pub(crate) async fn seen_fingerprint(server: &Url) -> Option<Digest> {
    let seen = Arc::new(Mutex::new(None));
    let config = Verifier::config(Look(seen.clone())).ok()?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .connect_timeout(LOOK)
        .timeout(LOOK)
        .build()
        .ok()?;
    // It is refused in any case.
    let _ = client.get(server.clone()).send().await;
    *seen.lock()
}

const LOOK: Duration = Duration::from_secs(5);

/// Whether a certificate is the daemon's.
trait Judge: std::fmt::Debug + Send + Sync {
    fn judge(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error>;
}

/// Judges certificates by themselves. Whoever shows one has to prove that it has the key, as always.
#[derive(Debug)]
struct Verifier<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J: Judge + 'static> Verifier<J> {
    fn config(judge: J) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Self {
            judge,
            algorithms: provider.signature_verification_algorithms,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(config)
    }
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge
            .judge(end_entity, others)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn refused() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// Remembers whose certificate is shown, and refuses it.
#[derive(Debug)]
struct Look(Arc<Mutex<Option<Digest>>>);

impl Judge for Look {
    fn judge(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        *self.0.lock() = tradewind_config::certificate_key(shown);
        Err(refused())
    }
}

/// Accepts the certificate with this digest, or with the key of this digest.
#[derive(Debug)]
struct Pin(Digest);

impl Judge for Pin {
    fn judge(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        let key = tradewind_config::certificate_key(shown).ok_or(
            rustls::Error::InvalidCertificate(CertificateError::BadEncoding),
        )?;
        // Who pinned a certificate pinned its key: a daemon that was pinned before it had keys to pin sends that certificate along, and the
        // handshake's signature proves that the key is still the same.
        let pinned = |one: &CertificateDer<'_>| {
            Digest::of(one) == self.0 && tradewind_config::certificate_key(one) == Some(key)
        };
        if key == self.0 || pinned(shown) || others.iter().any(pinned) {
            return Ok(());
        }
        Err(refused())
    }
}
