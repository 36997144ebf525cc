//! The text of a token: `tw_`, 256 random bits in base 62, and a checksum by which a scanner of source code tells it from an accident.

use std::{fmt, str::FromStr};

use crate::base::names::Digest;

/// A token's whole text. It is shown to its holder once and written nowhere else; it prints as its prefix.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A text that can't be a token: it was cut off, mistyped, or is something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a token of this kind: tokens begin with tw_ and have 52 characters")]
pub struct Malformed;

const PREFIX: &str = "tw_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const RANDOM: usize = 43;
/// 62^6 > 2^32.
const CHECK: usize = 6;

impl Secret {
    /// The entropy is the caller's: from a generator fit for keys.
    pub fn new(entropy: [u8; 32]) -> Self {
        let random = base62(entropy.to_vec(), RANDOM);
        let check = checksum(&random);
        Self(format!("{PREFIX}{random}{check}"))
    }

    /// What the state keeps, and what a token is found by. The entropy is the token's own strength: no salt, no slow hash is needed.
    pub fn hash(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The text itself, for its holder.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let body = text.strip_prefix(PREFIX).ok_or(Malformed)?;
        if body.len() != RANDOM + CHECK || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Malformed);
        }
        let (random, check) = body.split_at(RANDOM);
        if check == checksum(random) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Malformed)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tw_…")
    }
}

fn checksum(random: &str) -> String {
    let digest = Digest::of(random.as_bytes());
    base62(digest.bytes().iter().take(4).copied().collect(), CHECK)
}

/// The big-endian number as so many digits, which have to be enough.
fn base62(mut number: Vec<u8>, digits: usize) -> String {
    let mut text = vec![0; digits];
    for place in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            // Below 256, since the rest of a division by 62 is below 62.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *place = DIGITS.get(rest as usize).copied().unwrap_or(b'0');
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_reads_back_and_no_changed_one_does(entropy: [u8; 32], at in 0_usize..52, other in 0_usize..62) {
            let secret = Secret::new(entropy);
            prop_assert_eq!(secret.expose().len(), 52);
            prop_assert_eq!(secret.expose().parse::<Secret>(), Ok(secret.clone()));
            let mut changed = secret.expose().as_bytes().to_vec();
            if changed[at] != DIGITS[other] {
                changed[at] = DIGITS[other];
                prop_assert_eq!(String::from_utf8(changed).unwrap().parse::<Secret>(), Err(Malformed));
            }
        }

        #[test]
        fn different_entropy_makes_different_tokens(a: [u8; 32], b: [u8; 32]) {
            prop_assert_eq!(a == b, Secret::new(a) == Secret::new(b));
        }
    }

    #[test]
    fn numbers_are_written_with_leading_zeros_and_never_shown() {
        assert_eq!(base62(vec![0, 61], 3), "00z");
        assert_eq!(base62(vec![0xff; 4], 6), "4gfFC3");
        assert_eq!(format!("{:?}", Secret::new([7; 32])), "tw_…");
        for bad in ["", "tw_", "tw_short", "ghp_0123456789"] {
            assert_eq!(bad.parse::<Secret>(), Err(Malformed), "{bad}");
        }
    }
}
