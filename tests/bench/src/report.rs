//! The results: printed as they come, written at the end.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;

/// What a result is compared with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Baseline {
    pub(crate) name: String,
    /// In the result's unit.
    pub(crate) value: f64,
}

#[derive(Debug, Serialize)]
struct Measured {
    name: String,
    value: f64,
    unit: &'static str,
    baseline: Option<Baseline>,
    /// The value divided by the baseline's.
    ratio: Option<f64>,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    results: Vec<Measured>,
}

/// The units of durations.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Micros,
    Millis,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Micros => "µs",
            Self::Millis => "ms",
        }
    }

    fn of(self, duration: Duration) -> f64 {
        match self {
            Self::Micros => duration.as_secs_f64() * 1e6,
            Self::Millis => duration.as_secs_f64() * 1e3,
        }
    }
}

impl Report {
    pub(crate) fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    pub(crate) fn value(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        baseline: Option<Baseline>,
    ) {
        let name = name.into();
        let ratio = baseline
            .as_ref()
            .filter(|b| b.value > 0.0)
            .map(|b| value / b.value);
        if self.results.is_empty() {
            println!(
                "{:<84} {:>10} {:<4} {:>7}  compared with",
                "", "value", "unit", "ratio"
            );
        }
        let compared = baseline
            .as_ref()
            .map(|b| format!("{} {unit} {}", digits(b.value), b.name))
            .unwrap_or_default();
        let times = ratio.map(|r| format!("{r:.2}")).unwrap_or_default();
        println!(
            "{name:<84} {:>10} {unit:<4} {times:>7}  {compared}",
            digits(value)
        );
        self.results.push(Measured {
            name,
            value,
            unit,
            baseline,
            ratio,
        });
    }

    pub(crate) fn time(&mut self, name: impl Into<String>, unit: Unit, time: Duration) {
        self.value(name, unit.of(time), unit.name(), None);
    }

    pub(crate) fn time_against(
        &mut self,
        name: impl Into<String>,
        unit: Unit,
        time: Duration,
        baseline: &str,
        of: Duration,
    ) {
        self.value(
            name,
            unit.of(time),
            unit.name(),
            Some(Baseline {
                name: baseline.to_owned(),
                value: unit.of(of),
            }),
        );
    }

    /// Writes the file, if one is wanted.
    pub(crate) fn finish(&self) -> Result<()> {
        let Some(path) = std::env::var_os("TRADEWIND_BENCH_RESULTS") else {
            return Ok(());
        };
        let path = Path::new(&path);
        std::fs::write(path, serde_json::to_vec_pretty(&self.results)?)
            .with_context(|| format!("{} can't be written", path.display()))?;
        println!("\n{} results in {}", self.results.len(), path.display());
        Ok(())
    }
}

/// Three digits that mean something.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
