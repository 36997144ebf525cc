//! `cordon`, `uncordon` and `drain`.

use std::str::FromStr;

use clap::Args;
use tradewind_core::{
    names::{InstanceName, Region},
    units::Millis,
};

/// A provider instance, or one region of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceName {
    pub provider: InstanceName,
    /// None: all of the provider.
    pub region: Option<Region>,
}

impl FromStr for PlaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (provider, region) = match text.split_once('/') {
            Some((provider, region)) => (provider, Some(region)),
            None => (text, None),
        };
        Ok(Self {
            provider: provider
                .parse()
                .map_err(|e: tradewind_core::names::NameError| e.to_string())?,
            region: region
                .map(str::parse)
                .transpose()
                .map_err(|e: tradewind_core::names::NameError| e.to_string())?,
        })
    }
}

impl std::fmt::Display for PlaceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.region {
            Some(region) => write!(f, "{}/{region}", self.provider),
            None => write!(f, "{}", self.provider),
        }
    }
}

#[derive(Debug, Args)]
pub struct Cordon {
    /// The provider instance, or one region of it: `onprem`, `aws/eu-west-1`
    pub place: PlaceName,
    /// The reason, for those whose replicas find no place there: one line
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Uncordon {
    /// The provider instance, or the region of it, as it was cordoned
    pub place: PlaceName,
}

#[derive(Debug, Args)]
pub struct Drain {
    /// The provider instance, or one region of it: `onprem`, `aws/eu-west-1`
    pub place: PlaceName,
    /// The time after which jobs are stopped and started elsewhere, and services moved without
    /// regard to the bounds of their updates. Default: they have all the time that they take
    #[arg(long, value_name = "DURATION")]
    pub deadline: Option<Millis>,
    /// The reason, for those whose replicas find no place there: one line
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not wait until nothing is left there
    #[arg(long)]
    pub no_wait: bool,
    /// Leave jobs alone, and end without them
    #[arg(long)]
    pub ignore_jobs: bool,
    /// The longest time to wait. The drain goes on after it. Default: until nothing is left, or
    /// until the deadline has passed and the rest has no other place
    #[arg(long, value_name = "DURATION", conflicts_with = "no_wait")]
    pub timeout: Option<Millis>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_provider_or_a_region_of_it() {
        for text in ["onprem", "aws/eu-west-1"] {
            assert_eq!(text.parse::<PlaceName>().unwrap().to_string(), text);
        }
        for text in ["", "/east", "aws/", "aws/a b"] {
            assert!(text.parse::<PlaceName>().is_err(), "{text}");
        }
    }
}
