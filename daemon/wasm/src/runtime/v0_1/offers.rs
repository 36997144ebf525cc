//! A provider's offers: from checked columns to offers.

use std::{collections::HashSet, sync::Arc};

use tradewind_core::{
    offer::{Offer, PriceUnit},
    units::{Bytes, Instant, MicroUsd, MilliCpu},
    workload::Labels,
};

use super::{
    bindings::provider::tradewind::plugin::types as wit,
    convert::{Nonsense, nonsense},
};
use crate::base::text::tame;

/// More offers than any provider may answer with.
const OFFERS_CAP: usize = 500_000;
const STRING_CAP: usize = 1024;

/// A further column and its name.
type Metric<'a> = (Arc<str>, Column<'a, f64>);

/// A column, checked for its length.
struct Column<'a, T> {
    name: &'static str,
    values: &'a [T],
}

impl<'a, T: Copy> Column<'a, T> {
    fn new(name: &'static str, values: &'a [T], len: usize) -> Result<Self, Nonsense> {
        if values.is_empty() || values.len() == len {
            return Ok(Self { name, values });
        }
        nonsense(format!(
            "the column \"{name}\" has {} entries for {len} offers",
            values.len()
        ))
    }

    fn required(name: &'static str, values: &'a [T], len: usize) -> Result<Self, Nonsense> {
        let column = Self::new(name, values, len)?;
        if column.values.len() != len {
            nonsense(format!("the column \"{name}\" is required and empty"))
        } else {
            Ok(column)
        }
    }

    fn at(&self, i: usize, default: T) -> T {
        self.values.get(i).copied().unwrap_or(default)
    }
}

impl Column<'_, u32> {
    fn text(&self, i: usize, strings: &[Arc<str>], none: &Arc<str>) -> Result<Arc<str>, Nonsense> {
        match self.at(i, 0) {
            0 => Ok(none.clone()),
            n => match strings.get(n as usize) {
                Some(s) => Ok(s.clone()),
                None => nonsense(format!(
                    "\"{}\"[{i}] is string {n} of {}",
                    self.name,
                    strings.len()
                )),
            },
        }
    }
}

impl Column<'_, u8> {
    fn flag(&self, i: usize) -> Result<bool, Nonsense> {
        match self.at(i, 0) {
            0 => Ok(false),
            1 => Ok(true),
            other => nonsense(format!(
                "\"{}\"[{i}] is {other}, neither 0 nor 1",
                self.name
            )),
        }
    }
}

impl Column<'_, f64> {
    /// NaN, or at least 0 and finite; at most `most`.
    fn quality(&self, i: usize, most: f64) -> Result<f64, Nonsense> {
        let x = self.at(i, f64::NAN);
        if x.is_nan() || (0.0..=most).contains(&x) && x.is_finite() {
            return Ok(x);
        }
        nonsense(format!("\"{}\"[{i}] is {x}", self.name))
    }
}

/// # Errors
/// When a column's length, a string's number or a value can't be right.
pub(super) fn from_columns(columns: wit::Offers, now: Instant) -> Result<Vec<Offer>, Nonsense> {
    let c = &columns;
    let len = c.id.len();
    if len > OFFERS_CAP {
        return nonsense(format!("{len} offers, the most is {OFFERS_CAP}"));
    }
    let strings = strings(&c.strings)?;
    let none: Arc<str> = Arc::from("");

    let id = Column::required("id", &c.id, len)?;
    let region = Column::new("region", &c.region, len)?;
    let zone = Column::new("zone", &c.zone, len)?;
    let size = Column::new("size", &c.size, len)?;
    let cpu = Column::required("cpu", &c.cpu, len)?;
    let memory = Column::required("memory", &c.memory, len)?;
    let disk = Column::new("disk", &c.disk, len)?;
    let accelerator = Column::new("accelerator", &c.accelerator, len)?;
    let accelerator_count = Column::new("accelerator-count", &c.accelerator_count, len)?;
    let accelerator_memory = Column::new("accelerator-memory", &c.accelerator_memory, len)?;
    let price = Column::required("price", &c.price, len)?;
    let price_unit = Column::new("price-unit", &c.price_unit, len)?;
    let memory_price = Column::new("memory-price", &c.memory_price, len)?;
    let setup_price = Column::new("setup-price", &c.setup_price, len)?;
    let egress_price = Column::new("egress-price", &c.egress_price, len)?;
    let shared = Column::new("shared", &c.shared, len)?;
    let capacity = Column::new("capacity", &c.capacity, len)?;
    let free_cpu = Column::new("free-cpu", &c.free_cpu, len)?;
    let free_memory = Column::new("free-memory", &c.free_memory, len)?;
    let spot = Column::new("spot", &c.spot, len)?;
    let performance = Column::new("performance", &c.performance, len)?;
    let availability = Column::new("availability", &c.availability, len)?;
    let latency = Column::new("latency", &c.latency, len)?;
    let bandwidth = Column::new("bandwidth", &c.bandwidth, len)?;
    let interruption_rate = Column::new("interruption-rate", &c.interruption_rate, len)?;
    let failure_rate = Column::new("failure-rate", &c.failure_rate, len)?;
    let time_to_ready = Column::new("time-to-ready", &c.time_to_ready, len)?;
    let load = Column::new("load", &c.load, len)?;
    let carbon = Column::new("carbon", &c.carbon, len)?;
    let source = Column::new("source", &c.source, len)?;
    let quoted_at = Column::new("quoted-at", &c.quoted_at, len)?;
    let metrics = metrics(&c.metrics, len)?;
    check_label_starts(c, len)?;

    let mut seen = HashSet::with_capacity(len);
    let mut out = Vec::with_capacity(len);
    for i in 0..len {
        let name = id.text(i, &strings, &none)?;
        if name.is_empty() {
            return nonsense(format!("\"id\"[{i}] is empty"));
        }
        if !seen.insert(name.clone()) {
            return nonsense(format!("the offer \"{}\" appears twice", tame(&name)));
        }
        let speed = performance.at(i, 1.0);
        if !(speed > 0.0 && speed.is_finite()) {
            return nonsense(format!("\"performance\"[{i}] is {speed}"));
        }
        out.push(Offer {
            id: name,
            region: region.text(i, &strings, &none)?,
            zone: zone.text(i, &strings, &none)?,
            size: size.text(i, &strings, &none)?,
            cpu: MilliCpu(cpu.at(i, 0)),
            memory: Bytes(memory.at(i, 0)),
            disk: Bytes(disk.at(i, u64::MAX)),
            accelerator: accelerator.text(i, &strings, &none)?,
            accelerator_count: accelerator_count.at(i, 0),
            accelerator_memory: Bytes(accelerator_memory.at(i, 0)),
            price: MicroUsd(price.at(i, 0)),
            price_unit: match price_unit.at(i, 0) {
                0 => PriceUnit::Instance,
                1 => PriceUnit::Cpu,
                2 => PriceUnit::CpuMemory,
                other => return nonsense(format!("\"price-unit\"[{i}] is {other}, use 0 to 2")),
            },
            memory_price: MicroUsd(memory_price.at(i, 0)),
            setup_price: MicroUsd(setup_price.at(i, 0)),
            egress_price: MicroUsd(egress_price.at(i, 0)),
            shared: shared.flag(i)?,
            capacity: capacity.at(i, u32::MAX),
            free_cpu: free_cpu.at(i, u64::MAX),
            free_memory: free_memory.at(i, u64::MAX),
            spot: spot.flag(i)?,
            performance: speed,
            availability: availability.quality(i, 1.0)?,
            latency: latency.quality(i, f64::MAX)?,
            bandwidth: bandwidth.quality(i, f64::MAX)?,
            interruption_rate: interruption_rate.quality(i, f64::MAX)?,
            failure_rate: failure_rate.quality(i, 1.0)?,
            time_to_ready: time_to_ready.quality(i, f64::MAX)?,
            load: load.quality(i, 1.0)?,
            carbon: carbon.quality(i, f64::MAX)?,
            source: source.text(i, &strings, &none)?,
            // A quote from the future, as one without a date among dated ones is written, is one of now.
            quoted_at: Instant(quoted_at.at(i, now.0)).min(now),
            labels: labels(c, i, &strings)?,
            metrics: metrics
                .iter()
                .map(|(name, values)| (name.clone(), values.at(i, f64::NAN)))
                .collect(),
        });
    }
    Ok(out)
}

fn strings(given: &[String]) -> Result<Vec<Arc<str>>, Nonsense> {
    if given.first().is_some_and(|s| !s.is_empty()) {
        return nonsense("string 0 is not the empty string");
    }
    if let Some(long) = given.iter().find(|s| s.len() > STRING_CAP) {
        return nonsense(format!(
            "a string of {} bytes, the most is {STRING_CAP}",
            long.len()
        ));
    }
    Ok(given.iter().map(|s| Arc::from(tame(s))).collect())
}

fn metrics(given: &[wit::Metric], len: usize) -> Result<Vec<Metric<'_>>, Nonsense> {
    if given.len() > 64 {
        return nonsense(format!("{} metrics, the most is 64", given.len()));
    }
    given
        .iter()
        .map(|m| {
            Ok((
                Arc::from(tame(&m.name)),
                Column::new("metrics", &m.values, len)?,
            ))
        })
        .collect()
}

fn check_label_starts(c: &wit::Offers, len: usize) -> Result<(), Nonsense> {
    let starts = &c.label_start;
    if starts.is_empty() {
        return Ok(());
    }
    if starts.len() != len + 1 {
        return nonsense(format!(
            "the column \"label-start\" has {} entries for {len} offers",
            starts.len()
        ));
    }
    let pairs = c.labels.len() / 2;
    let rising = starts.windows(2).all(|w| w.first() <= w.last());
    if !rising
        || !c.labels.len().is_multiple_of(2)
        || starts.last().is_some_and(|&last| last as usize > pairs)
    {
        return nonsense("\"label-start\" does not fit \"labels\"");
    }
    Ok(())
}

fn labels(c: &wit::Offers, i: usize, strings: &[Arc<str>]) -> Result<Labels, Nonsense> {
    let (Some(&from), Some(&to)) = (c.label_start.get(i), c.label_start.get(i + 1)) else {
        return Ok(Labels::new());
    };
    let text = |n: u32| match (n, strings.get(n as usize)) {
        (0, _) => Ok(String::new()),
        (_, Some(s)) => Ok(s.to_string()),
        (_, None) => nonsense(format!(
            "a label of offer {i} is string {n} of {}",
            strings.len()
        )),
    };
    let pairs = c
        .labels
        .get(2 * from as usize..2 * to as usize)
        .unwrap_or(&[]);
    pairs
        .chunks_exact(2)
        .map(|pair| match pair {
            [key, value] => Ok((text(*key)?, text(*value)?)),
            _ => nonsense("an odd label"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_as_old_as_its_own_date_and_never_from_the_future() {
        let now = Instant(2_000);
        let dates = |quoted_at: &[u64]| {
            let columns = wit::Offers {
                id: vec![1, 2],
                cpu: vec![1000; 2],
                memory: vec![1; 2],
                price: vec![1; 2],
                quoted_at: quoted_at.to_vec(),
                strings: vec![String::new(), "a".to_owned(), "b".to_owned()],
                ..nothing()
            };
            let offers = from_columns(columns, now).unwrap();
            offers.iter().map(|o| o.quoted_at.0).collect::<Vec<_>>()
        };
        assert_eq!(dates(&[]), [2_000, 2_000]);
        assert_eq!(dates(&[500, u64::MAX]), [500, 2_000]);
        assert_eq!(dates(&[2_001, 0]), [2_000, 0]);
    }

    fn nothing() -> wit::Offers {
        wit::Offers {
            id: vec![],
            region: vec![],
            zone: vec![],
            size: vec![],
            cpu: vec![],
            memory: vec![],
            disk: vec![],
            accelerator: vec![],
            accelerator_count: vec![],
            accelerator_memory: vec![],
            price: vec![],
            price_unit: vec![],
            memory_price: vec![],
            setup_price: vec![],
            egress_price: vec![],
            shared: vec![],
            capacity: vec![],
            free_cpu: vec![],
            free_memory: vec![],
            spot: vec![],
            performance: vec![],
            availability: vec![],
            latency: vec![],
            bandwidth: vec![],
            interruption_rate: vec![],
            failure_rate: vec![],
            time_to_ready: vec![],
            load: vec![],
            carbon: vec![],
            source: vec![],
            quoted_at: vec![],
            label_start: vec![],
            labels: vec![],
            metrics: vec![],
            strings: vec![],
        }
    }
}
