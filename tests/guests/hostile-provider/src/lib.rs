//! A provider that breaks one rule at a time: the setting `mode` says which. It reaches out over HTTP, so it needs that grant.

use std::hint::black_box;

use serde::Deserialize;
use tradewind_plugin_sdk::bindings::provider::{
    exports::tradewind::plugin::cloud_provider::{
        Allocation, Condition, Context, Destroyed, Error, Features, Guest, LogChunk, LogQuery,
        Observation, OfferTable, OffersQuery, OwnedAllocation, ProviderInfo, Tracked,
        WantedCapability,
    },
    tradewind::plugin::{
        clock, http, log,
        types::{Entry, Fault, Phase},
    },
};

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    url: String,
}

struct Hostile;

fn settings(context: &Context) -> Result<Settings, Error> {
    serde_json::from_str(&context.settings).map_err(|e| Error::Invalid(fault(&e.to_string())))
}

fn fault(message: &str) -> Fault {
    Fault {
        message: message.to_owned(),
        field: None,
        code: None,
        remedy: None,
    }
}

fn send(method: &str, url: &str) -> Result<u16, Error> {
    let request = http::Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        credential: None,
        timeout: None,
    };
    http::send(&request).map(|response| response.status)
}

impl Guest for Hostile {
    fn describe() -> ProviderInfo {
        ProviderInfo {
            name: "hostile-provider".to_owned(),
            version: "1.2.3".to_owned(),
            summary: "Misbehaves as told".to_owned(),
            settings_schema: r#"{"type":"object","properties":{"mode":{"type":"string"},"url":{"type":"string"}}}"#.to_owned(),
            capabilities: vec![WantedCapability { name: "http".to_owned(), why: "to sit in a slow call".to_owned() }],
            features: Features::COMMANDS | Features::SERVICES,
        }
    }

    fn check(_: Context) -> Result<Vec<Condition>, Error> {
        Ok(Vec::new())
    }

    fn offers(context: Context, _: OffersQuery) -> Result<OfferTable, Error> {
        let settings = settings(&context)?;
        let mut table = table();
        match settings.mode.as_str() {
            "loop" => loop {
                black_box(clock::monotonic());
            },
            "slow-host" => {
                send("GET", &settings.url)?;
            }
            "flood" => loop {
                send("GET", &settings.url)?;
            },
            "chatter" => loop {
                log::write(log::Level::Info, "a line", &[]);
            },
            "long-lines" => {
                let long = "x".repeat(100_000);
                let field = |i: usize| Entry {
                    key: format!("key-{i}"),
                    value: long.clone(),
                };
                let fields: Vec<Entry> = (0..10).map(field).collect();
                for _ in 0..10 {
                    log::write(log::Level::Info, &long, &fields);
                }
            }
            "one-line" => log::write(log::Level::Info, "a line", &[]),
            "short-column" => table.cpu = vec![1],
            "string-out-of-range" => table.region = vec![99, 1],
            "twice" => table.id = vec![1, 1],
            "speed-not-a-number" => table.performance = vec![f64::NAN, 1.0],
            _ => {}
        }
        Ok(table)
    }

    fn apply(
        context: Context,
        allocation: Allocation,
        _: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Error> {
        let settings = settings(&context)?;
        if settings.mode == "slow-apply" {
            send("POST", &settings.url)?;
        }
        Ok(allocation.id.into_bytes())
    }

    fn observe(context: Context, tracked: Vec<Tracked>) -> Result<Vec<Observation>, Error> {
        let mode = settings(&context)?.mode;
        let one = |t: Tracked| Observation {
            allocation: if mode == "stranger" {
                "someone-else".to_owned()
            } else {
                t.allocation
            },
            phase: Phase::Running,
            endpoints: Vec::new(),
            replicas: Vec::new(),
            message: String::new(),
            conditions: Vec::new(),
            state: None,
            metered_cost: None,
        };
        Ok(tracked.into_iter().map(one).collect())
    }

    fn destroy(_: Context, _: Tracked) -> Result<Destroyed, Error> {
        Ok(Destroyed::Gone)
    }

    fn owned(_: Context) -> Result<Vec<OwnedAllocation>, Error> {
        Ok(Vec::new())
    }

    fn logs(_: Context, _: Tracked, _: LogQuery) -> Result<LogChunk, Error> {
        Ok(LogChunk {
            lines: Vec::new(),
            next: None,
        })
    }
}

/// Two offers.
fn table() -> OfferTable {
    OfferTable {
        strings: ["", "small", "large"].map(str::to_owned).to_vec(),
        id: vec![1, 2],
        cpu: vec![1000, 4000],
        memory: vec![1 << 30, 4 << 30],
        price: vec![10_000, 40_000],
        capacity: Vec::new(),
        region: Vec::new(),
        zone: Vec::new(),
        size: Vec::new(),
        disk: Vec::new(),
        accelerator: Vec::new(),
        accelerator_count: Vec::new(),
        accelerator_memory: Vec::new(),
        price_unit: Vec::new(),
        memory_price: Vec::new(),
        setup_price: Vec::new(),
        egress_price: Vec::new(),
        shared: Vec::new(),
        free_cpu: Vec::new(),
        free_memory: Vec::new(),
        spot: Vec::new(),
        performance: Vec::new(),
        availability: Vec::new(),
        latency: Vec::new(),
        bandwidth: Vec::new(),
        interruption_rate: Vec::new(),
        failure_rate: Vec::new(),
        time_to_ready: Vec::new(),
        load: Vec::new(),
        carbon: Vec::new(),
        source: Vec::new(),
        quoted_at: Vec::new(),
        label_start: Vec::new(),
        labels: Vec::new(),
        metrics: Vec::new(),
    }
}

tradewind_plugin_sdk::bindings::provider::export_provider!(Hostile with_types_in tradewind_plugin_sdk::bindings::provider);
