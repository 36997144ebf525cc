//! Shares in whole percent.

use super::{
    Deserialize, Deserializer, FromStr, JsonSchema, Serialize, Serializer, UnitError, Visit, fmt,
    unpadded,
};

/// A share in whole percent; it may be above a hundred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl Percent {
    /// 0.7 for 70%.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    fn plain(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", self.0))
    }
}

impl FromStr for Percent {
    type Err = UnitError;
    /// `70%`. A bare number is refused: 0.7 and 70 could both be meant.
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let bad = || UnitError {
            what: "a share",
            value: s.to_owned(),
            hint: "whole percent with the sign, such as 70%",
        };
        let digits = s.trim().strip_suffix('%').ok_or_else(bad)?.trim_end();
        unpadded(digits).map_err(|hint| UnitError { hint, ..bad() })?;
        let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
        if plain {
            digits.parse().map(Self).map_err(|_| bad())
        } else {
            Err(bad())
        }
    }
}

readable!(Percent);
quantity!(
    Percent,
    "A share in whole percent, with the sign.",
    ["string"],
    r"^\s*(0|[1-9][0-9]{0,8})\s*%\s*$",
    "70%"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_is_part_of_it() {
        assert_eq!("70%".parse(), Ok(Percent(70)));
        assert_eq!(Percent(250).to_string().parse(), Ok(Percent(250)));
        for bad in ["70", "0.7", "%", "-1%", "+1%", "1.5%", "99999999999%"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
    }
}
