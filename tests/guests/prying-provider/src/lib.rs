//! A provider that uses a credential and then tries to get hold of it: it logs all it hears, puts it into offers and errors, and searches the
//! whole of its memory for patterns. They come masked and are never whole in memory, so one is found only if something else put it there.

use std::hint::black_box;

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo, error,
    host::{Host, Http, HttpRequest},
    register_provider,
    types::{Allocation, Destroyed, Observation, OffersQuery, Tracked},
    units::{Cpu, Money, Size},
};

const SCHEMA: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "properties": {
        "urls": {"type": "array", "items": {"type": "string"}},
        "credential": {"type": "string"},
        "patterns": {"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}},
        "mask": {"type": "integer", "minimum": 0, "maximum": 255},
        "then": {"enum": ["answer", "plant", "fail", "trap", "plant-and-trap"]}
    }
}"#;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    /// Asked for in turn, with the credential.
    urls: Vec<String>,
    credential: String,
    /// What to search for: each byte with the mask upon it.
    patterns: Vec<Vec<u8>>,
    mask: u8,
    /// `answer`, `plant` (put the patterns into memory first: then they have to be found), `fail`, `trap` or `plant-and-trap`.
    then: String,
}

struct Prying(Settings);

impl Prying {
    /// All that the host says to a request with the credential.
    fn hear(&self) -> String {
        let mut heard = String::new();
        for url in &self.0.urls {
            let request = HttpRequest {
                method: "GET".to_owned(),
                url: url.clone(),
                headers: Vec::new(),
                body: Vec::new(),
                credential: Some(self.0.credential.clone()),
                timeout: None,
            };
            heard.push_str(&match Host.send(&request) {
                Ok(response) => {
                    let headers: Vec<String> = response
                        .headers
                        .iter()
                        .map(|h| format!("{}: {}", h.key, h.value))
                        .collect();
                    format!(
                        "{url} {} {headers:?} {}; ",
                        response.status,
                        String::from_utf8_lossy(&response.body)
                    )
                }
                Err(refused) => format!("{url} {refused:?}; "),
            });
        }
        heard
    }

    /// How often a pattern is in memory, of how many bytes.
    fn search(&self) -> (usize, usize) {
        let Settings { patterns, mask, .. } = &self.0;
        let size = memory();
        let is_here = |start: usize, pattern: &[u8]| {
            pattern
                .iter()
                .enumerate()
                .all(|(i, masked)| byte(start + i) ^ mask == *masked)
        };
        let times = |pattern: &Vec<u8>| {
            (1..size.saturating_sub(pattern.len()))
                .filter(|start| is_here(*start, pattern))
                .count()
        };
        (
            patterns
                .iter()
                .filter(|pattern| !pattern.is_empty())
                .map(times)
                .sum(),
            size,
        )
    }
}

#[cfg(target_family = "wasm")]
fn memory() -> usize {
    core::arch::wasm32::memory_size(0) * 65_536
}

#[cfg(not(target_family = "wasm"))]
fn memory() -> usize {
    0
}

/// Any byte of the memory.
#[allow(unsafe_code, reason = "it pries")]
fn byte(address: usize) -> u8 {
    // Within the linear memory every address can be read.
    unsafe { core::ptr::read_volatile(address as *const u8) }
}

impl Provider for Prying {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new("prying", "1.2.3", "Looks for what it shall not see")
            .schema(SCHEMA)
            .wants("http", "to use a credential")
            .runs(Features::COMMANDS | Features::SERVICES)
    }

    fn new(_: Context, settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn offers(&self, _: &OffersQuery) -> Result<Vec<Offer>, Error> {
        let heard = self.hear();
        error!("heard: {heard}");
        let planted: Vec<u8> = match self.0.then.as_str() {
            "plant" | "plant-and-trap" => self
                .0
                .patterns
                .iter()
                .flatten()
                .map(|masked| masked ^ self.0.mask)
                .collect(),
            _ => Vec::new(),
        };
        black_box(&planted);
        let (found, of) = self.search();
        match self.0.then.as_str() {
            "fail" => {
                return Err(Error::denied(format!("refused: {heard}"))
                    .code("refused")
                    .remedy(heard));
            }
            "trap" | "plant-and-trap" => panic!("broken off: {heard}"),
            _ => {}
        }
        black_box(&planted);
        let mut offer = Offer::new(format!("found-{found}"), Cpu(1000), Size(1 << 30), Money(1));
        offer.labels = vec![
            ("heard".to_owned(), heard),
            ("searched".to_owned(), of.to_string()),
        ];
        Ok(vec![offer])
    }

    fn apply(&self, _: &Allocation, _: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        Err(Error::unavailable(format!("refused: {}", self.hear())))
    }

    fn observe(&self, _: &[Tracked]) -> Result<Vec<Observation>, Error> {
        Ok(Vec::new())
    }

    fn destroy(&self, _: &Tracked) -> Result<Destroyed, Error> {
        Ok(Destroyed::Gone)
    }
}

register_provider!(Prying);
