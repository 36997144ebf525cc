//! What a certificate says of itself: its key, when it begins and when it ends. Reads DER; checks no signature and trusts nothing.

use rustls::pki_types::CertificateDer;
use tradewind_config::certificate_key;
use tradewind_core::{
    names::Digest,
    units::{Instant, Millis},
};

/// The facts of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// SHA-256 of its public key (the whole SubjectPublicKeyInfo). It outlives the certificate where that is made anew with the same key.
    pub key: Digest,
    /// The first moment at which it is valid; before 1970: the beginning of 1970.
    pub begins: Instant,
    /// The last one.
    pub ends: Instant,
}

/// None for what is no certificate.
pub(super) fn facts(certificate: &CertificateDer<'_>) -> Option<Facts> {
    let (begins, ends) = validity(certificate)?;
    Some(Facts {
        key: certificate_key(certificate)?,
        begins,
        ends,
    })
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// RFC 5280, 4.1: version, serial number, algorithm, issuer, validity.
fn validity(der: &[u8]) -> Option<(Instant, Instant)> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (body, _) = expect(certificate, SEQUENCE)?;
    let rest = expect(body, VERSION).map_or(body, |(_, rest)| rest);
    let (_, rest) = expect(rest, INTEGER)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (begins, rest) = time(validity)?;
    let (ends, _) = time(rest)?;
    Some((begins, ends))
}

/// The content of an element with this tag, and what follows it.
fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der)
        .filter(|(tag, ..)| *tag == wanted)
        .map(|(_, content, rest)| (content, rest))
}

/// An element's tag and content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // Four bytes of length are more than any certificate needs.
        let (digits, rest) = rest
            .split_at_checked(usize::from(first & 0x7f))
            .filter(|(digits, _)| (1..=4).contains(&digits.len()))?;
        (
            digits
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte)),
            rest,
        )
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A point in time, and what follows it.
fn time(der: &[u8]) -> Option<(Instant, &[u8])> {
    let (tag, content, rest) = element(der)?;
    let text = std::str::from_utf8(content)
        .ok()?
        .strip_suffix('Z')
        .filter(|text| text.bytes().all(|c| c.is_ascii_digit()))?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            (
                if year < "50" {
                    format!("20{year}")
                } else {
                    format!("19{year}")
                },
                text,
            )
        }
        GENERALIZED_TIME => text
            .split_at_checked(4)
            .map(|(year, text)| (year.to_owned(), text))?,
        _ => return None,
    };
    let part = |at: usize| text.get(at..at + 2);
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    if year.as_str() < "1970" {
        return Some((Instant(0), rest));
    }
    Some((
        format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")
            .parse()
            .ok()?,
        rest,
    ))
}

impl Facts {
    /// From its first to its last moment.
    pub fn life(&self) -> Millis {
        self.ends.since(self.begins)
    }

    /// What is left of it; nothing once it has ended.
    pub fn left(&self, now: Instant) -> Millis {
        self.ends.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_its_key_and_its_time() {
        let key_pair = rcgen::KeyPair::generate().unwrap();
        let made = |from: (i32, u8, u8), to: (i32, u8, u8)| {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
            params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
            facts(params.self_signed(&key_pair).unwrap().der()).unwrap()
        };
        let at = |text: &str| text.parse::<Instant>().unwrap();
        let one = made((2026, 11, 28), (2027, 12, 1));
        assert_eq!(
            (one.begins, one.ends),
            (at("2026-11-28T00:00:00Z"), at("2027-12-01T00:00:00Z"))
        );
        // The form changes with the year 2050.
        let endless = made((1975, 1, 1), (4096, 1, 1));
        assert_eq!(
            (endless.begins, endless.ends),
            (at("1975-01-01T00:00:00Z"), at("4096-01-01T00:00:00Z"))
        );
        assert_eq!(made((1960, 1, 1), (2049, 12, 31)).begins, Instant(0));
        assert_eq!(one.key, endless.key);
        for bad in [
            &b""[..],
            b"\x30",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x03\x30\x01\x02",
            b"\x30\x80\x00\x00",
        ] {
            assert_eq!(validity(bad), None);
        }
    }
}
