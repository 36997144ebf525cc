//! By what the client knows that it talks to the right daemon.

use std::{path::PathBuf, sync::Arc};

use reqwest::ClientBuilder;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tradewind_core::names::Digest;

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
            Self::Authority(path) => {
                let text = std::fs::read(path).map_err(|source| Error::Authority {
                    path: path.clone(),
                    source: source.into(),
                })?;
                let certificates = reqwest::Certificate::from_pem_bundle(&text);
                let certificates = certificates.map_err(|source| Error::Authority {
                    path: path.clone(),
                    source: source.into(),
                })?;
                Ok(builder.tls_certs_only(certificates))
            }
            Self::Pinned(fingerprint) => {
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let pin = Pin {
                    fingerprint: *fingerprint,
                    algorithms: provider.signature_verification_algorithms,
                };
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(Error::Tls)?;
                let config = config
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(pin))
                    .with_no_client_auth();
                Ok(builder.tls_backend_preconfigured(config))
            }
        }
    }
}

#[derive(Debug)]
struct Pin {
    fingerprint: Digest,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = tradewind_config::certificate_key(end_entity).ok_or(
            rustls::Error::InvalidCertificate(CertificateError::BadEncoding),
        )?;
        // Who pinned a certificate pinned its key: a daemon that was pinned before it had keys to pin sends that certificate along, and the
        // handshake's signature proves that the key is still the same.
        let pinned = |one: &CertificateDer<'_>| {
            Digest::of(one) == self.fingerprint
                && tradewind_config::certificate_key(one) == Some(key)
        };
        if key == self.fingerprint || pinned(end_entity) || others.iter().any(pinned) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
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
