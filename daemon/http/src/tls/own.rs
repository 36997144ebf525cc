//! The daemon's own certificate: made at first start, and made anew, with the same key, before it ends. Who pinned the key goes on; so does
//! who pinned the certificate of an earlier version, which had no end: that one is sent along, as the proof that the key is still the same.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
};
use tradewind_core::units::{Instant, Millis};

use super::{
    Error, Files,
    certificate::{self, Facts},
};

/// It begins so long before it is made: clocks of clients may be behind.
const BEFORE: Millis = Millis::from_secs(24 * 3600);
/// A longer one is of an earlier version.
const ENDLESS: Millis = Millis::from_secs(200 * 365 * 24 * 3600);
/// The subject, always the same: who trusts an earlier one as an authority trusts its successor.
const NAME: &str = "tradewind";

/// What a certificate is made for.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Names and addresses.
    pub names: Vec<String>,
    /// How long it is valid from now on.
    pub lifetime: Millis,
}

impl Terms {
    /// Whether a certificate has to be made anew: it ends before long, has not begun, is valid for longer than it should be, or lacks a name.
    fn is_outlived(&self, chain: &[CertificateDer<'_>], facts: &Facts, now: Instant) -> bool {
        let longest = Millis(self.lifetime.0.saturating_add(BEFORE.0));
        let lacks = |name: &String| {
            let parsed = chain
                .first()
                .and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            let name = ServerName::try_from(name.as_str()).ok();
            !matches!((parsed, name), (Some(parsed), Some(name)) if verify_server_name(&parsed, &name).is_ok())
        };
        is_late(facts, self.lifetime, now)
            || facts.left(now) > longest
            || self.names.iter().any(lacks)
    }
}

/// Whether a certificate has to be made anew because of the time alone: less than a third of it is left, or it has not begun.
pub(super) fn is_late(facts: &Facts, lifetime: Millis, now: Instant) -> bool {
    facts.left(now).0 < lifetime.0 / 3 || facts.begins > now
}

/// Sees to it that there is a usable certificate, and tells whether one was made. Blocks.
///
/// # Errors
/// Files that can't be written, or a key that no certificate can be made for.
pub(super) fn ensure(files: &Files, terms: &Terms, now: Instant) -> Result<bool, Error> {
    let key = match fs::read_to_string(&files.key) {
        Ok(pem) => Some(KeyPair::from_pem(&pem)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(Error::Read {
                setting: "tls.key",
                path: files.key.clone(),
                source,
            });
        }
    };
    let chain = match (&key, fs::read(&files.certificate)) {
        (Some(_), Ok(pem)) => CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let facts: Vec<Option<Facts>> = chain.iter().map(certificate::facts).collect();
    if let Some(Some(leaf)) = facts.first()
        && !terms.is_outlived(&chain, leaf, now)
    {
        return Ok(false);
    }
    let key = key.map_or_else(|| fresh_key(files), Ok)?;
    let own = chain
        .iter()
        .zip(&facts)
        .filter_map(|(certificate, facts)| Some((certificate, facts.as_ref()?)));
    let endless: Option<&CertificateDer<'_>> = own
        .filter(|(_, facts)| facts.life() > ENDLESS)
        .map(|(certificate, _)| certificate)
        .next();
    let made = make(&key, terms, endless.is_some(), now)?;
    // It is carried along only as long as it is about the same key.
    let same = |old: &&CertificateDer<'_>| {
        tradewind_config::certificate_key(old).is_some()
            && tradewind_config::certificate_key(old)
                == tradewind_config::certificate_key(made.der())
    };
    let mut pem = made.pem();
    if let Some(old) = endless.filter(same) {
        pem.push_str(&as_pem(old));
    }
    write(&files.certificate, &pem).map_err(|source| Error::Write {
        path: files.certificate.clone(),
        source,
    })?;
    Ok(true)
}

fn fresh_key(files: &Files) -> Result<KeyPair, Error> {
    let key = KeyPair::generate()?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    if let Some(folder) = files.key.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed(folder))?;
    }
    // Before the certificate: a key without one is used, a certificate without its key is of no use to anybody.
    write(&files.key, &key.serialize_pem()).map_err(failed(&files.key))?;
    Ok(key)
}

/// `succeeds`: it succeeds one without end, whose name it is issued under, so that it is good for those who trust that one as an authority.
fn make(
    key: &KeyPair,
    terms: &Terms,
    succeeds: bool,
    now: Instant,
) -> Result<rcgen::Certificate, Error> {
    let mut params = CertificateParams::new(terms.names.clone())?;
    // The defaults are what earlier versions took.
    let issuer = Issuer::new(CertificateParams::default(), key);
    let at = |instant: Instant| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(instant.0);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.serial_number = Some(SerialNumber::from(now.0));
    params.not_before = at(Instant(now.0.saturating_sub(BEFORE.0)));
    params.not_after = at(now.plus(terms.lifetime));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(if succeeds {
        params.signed_by(key, &issuer)?
    } else {
        params.self_signed(key)?
    })
}

fn as_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// For the owner alone, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600_000;

    struct Place {
        files: Files,
        _folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let tls = folder.path().join("tls");
            Self {
                files: Files {
                    certificate: tls.join("certificate.pem"),
                    key: tls.join("key.pem"),
                },
                _folder: folder,
            }
        }

        fn ensure(&self, names: &[&str], now: u64) -> bool {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            ensure(
                &self.files,
                &Terms {
                    names,
                    lifetime: Millis(365 * DAY),
                },
                Instant(now),
            )
            .unwrap()
        }

        fn chain(&self) -> Vec<Facts> {
            let pem = fs::read(&self.files.certificate).unwrap();
            CertificateDer::pem_slice_iter(&pem)
                .map(|der| certificate::facts(&der.unwrap()).unwrap())
                .collect()
        }
    }

    #[test]
    fn it_is_made_anew_in_time_and_keeps_its_key() {
        let place = Place::new();
        let start = 20_000 * DAY;
        assert!(
            place.ensure(&["localhost"], start) && !place.ensure(&["localhost"], start + 200 * DAY)
        );
        let first = place.chain();
        assert_eq!(
            (first.len(), first[0].begins, first[0].ends),
            (1, Instant(start - DAY), Instant(start + 365 * DAY))
        );
        assert!(
            place.ensure(&["localhost"], start + 250 * DAY),
            "less than a third is left"
        );
        let second = place.chain();
        assert_eq!(
            (second.len(), second[0].key, second[0].ends),
            (1, first[0].key, Instant(start + 615 * DAY))
        );
        assert!(
            place.ensure(&["localhost", "elsewhere.example"], start + 251 * DAY),
            "a name is missing"
        );
        assert!(
            place.ensure(&["localhost"], start),
            "the clock was ahead when it was made"
        );
        assert!(!place.ensure(&["localhost"], start));
        assert_eq!(place.chain()[0].key, first[0].key);
        fs::remove_file(&place.files.key).unwrap();
        assert!(place.ensure(&["localhost"], start), "nobody has its key");
        assert_ne!(place.chain()[0].key, first[0].key);
    }

    #[test]
    fn one_without_end_is_succeeded_and_sent_along() {
        let place = Place::new();
        fs::create_dir_all(place.files.key.parent().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let endless = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        fs::write(&place.files.key, key.serialize_pem()).unwrap();
        fs::write(&place.files.certificate, endless.pem()).unwrap();
        let start = 20_000 * DAY;
        for day in [0, 300, 600] {
            assert!(place.ensure(&["localhost"], start + day * DAY));
            let chain = place.chain();
            assert_eq!((chain.len(), chain[0].key), (2, chain[1].key), "{day}");
            assert_eq!(
                (chain[0].ends, chain[1]),
                (
                    Instant(start + (day + 365) * DAY),
                    certificate::facts(endless.der()).unwrap()
                )
            );
        }
    }
}
