//! By what a client knows the daemon's certificate.

use rustls::{pki_types::CertificateDer, server::ParsedCertificate};
use tradewind_core::names::Digest;

/// SHA-256 of a certificate's public key. None for what is no certificate.
pub fn certificate_key(certificate: &CertificateDer<'_>) -> Option<Digest> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(Digest::of(&parsed.subject_public_key_info()))
}
