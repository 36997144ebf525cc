//! What the cloud sells and how it behaves when nothing goes wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The cloud as it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The bearer token that requests must carry.
    pub token: String,
    /// What chance is drawn from.
    pub seed: u64,
    pub sizes: BTreeMap<String, Size>,
    pub regions: BTreeMap<String, Region>,
    /// The most instances of the account at once; none: no limit.
    pub quota: Option<u32>,
    /// From creation to running.
    pub boot_ms: u64,
    /// The HTTP status that an instance answers with until another is set.
    pub status: u16,
    /// From the request to delete to deleted.
    pub delete_ms: u64,
    /// How long a job runs that does not say it itself.
    pub job_ms: u64,
    pub lag: Lag,
    /// The most instances in one answer.
    pub page: usize,
}

/// What one instance has and costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Size {
    /// Millicores.
    pub cpu: u32,
    /// Bytes.
    pub memory: u64,
    /// Micro-USD per hour.
    pub price: u64,
}

/// A region. It sells every size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Region {
    pub sizes: BTreeMap<String, Stock>,
}

/// What is different about a size in a region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stock {
    /// Instances at once; none: no limit.
    pub capacity: Option<u32>,
    /// Micro-USD per hour; none: the size's.
    pub price: Option<u64>,
}

/// How far lists and look-ups are behind what has been created and deleted: until so much time has passed and so many requests have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lag {
    pub ms: u64,
    pub operations: u64,
}

impl Default for Config {
    /// Two regions, `east` and the slightly dearer `west`, which sell `small` and `large`; prompt and consistent.
    fn default() -> Self {
        Self {
            token: "let-me-in".to_owned(),
            seed: 1,
            sizes: BTreeMap::from([
                (
                    "small".to_owned(),
                    Size {
                        cpu: 2_000,
                        memory: 4 << 30,
                        price: 50_000,
                    },
                ),
                (
                    "large".to_owned(),
                    Size {
                        cpu: 8_000,
                        memory: 32 << 30,
                        price: 200_000,
                    },
                ),
            ]),
            regions: BTreeMap::from([
                ("east".to_owned(), Region::default()),
                ("west".to_owned(), Region::priced(60_000, 240_000)),
            ]),
            quota: None,
            boot_ms: 0,
            status: 200,
            delete_ms: 0,
            job_ms: 200,
            lag: Lag::default(),
            page: 100,
        }
    }
}

impl Config {
    /// With these regions, each a little dearer than the one before, so that the order of preference is known.
    #[must_use]
    pub fn with_regions(mut self, names: &[&str]) -> Self {
        let dearer = |i: usize| 10_000 * u64::try_from(i).unwrap_or_default();
        let region = |(i, name): (usize, &&str)| {
            (
                (*name).to_owned(),
                Region::priced(50_000 + dearer(i), 200_000 + dearer(i)),
            )
        };
        self.regions = names.iter().enumerate().map(region).collect();
        self
    }

    /// With at most so many instances of a size in a region.
    #[must_use]
    pub fn with_capacity(mut self, region: &str, size: &str, capacity: u32) -> Self {
        self.regions
            .entry(region.to_owned())
            .or_default()
            .sizes
            .entry(size.to_owned())
            .or_default()
            .capacity = Some(capacity);
        self
    }
}

impl Region {
    /// Both standard sizes at prices of its own.
    fn priced(small: u64, large: u64) -> Self {
        let stock = |price| Stock {
            capacity: None,
            price: Some(price),
        };
        Self {
            sizes: BTreeMap::from([
                ("small".to_owned(), stock(small)),
                ("large".to_owned(), stock(large)),
            ]),
        }
    }
}
