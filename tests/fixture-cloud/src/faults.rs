//! The fault script: rules that say which requests go wrong, and how. The first rule that fits and fires decides.
//! A rule's chance depends on the seed, the rule and how often it has been asked, and on nothing else.

use serde::{Deserialize, Serialize};

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    Offers,
    Regions,
    Create,
    Get,
    List,
    Delete,
    Tag,
}

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    OutOfCapacity,
    Quota,
    /// With `ms` as the time to wait.
    Throttled,
    Denied,
    Unavailable,
    /// No effect, and never an answer.
    Hang,
    /// The effect at once, the answer `ms` later.
    Slow,
    /// The effect, and a connection that breaks instead of an answer.
    LostAfter,
    /// A connection that breaks before there was any effect.
    LostBefore,
    /// Create: an instance with the first half of its tags, and a failure for an answer.
    Half,
    /// Create: an instance that never gets beyond being created.
    Stuck,
}

/// A rule. What is not given fits everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    #[serde(default)]
    pub operation: Option<Operation>,
    #[serde(default)]
    pub region: Option<String>,
    #[serde(default)]
    pub size: Option<String>,
    pub kind: Kind,
    /// Milliseconds, for those kinds that take time.
    #[serde(default)]
    pub ms: u64,
    /// So many fitting requests pass before it begins.
    #[serde(default)]
    pub after: u32,
    /// How often it fires at most; none: without end.
    #[serde(default)]
    pub count: Option<u32>,
    /// The share of fitting requests it hits. Default: all.
    #[serde(default = "certain")]
    pub probability: f64,
}

fn certain() -> f64 {
    1.0
}

impl Fault {
    /// Every request goes wrong in this way.
    pub fn new(kind: Kind) -> Self {
        Self {
            operation: None,
            region: None,
            size: None,
            kind,
            ms: 0,
            after: 0,
            count: None,
            probability: 1.0,
        }
    }

    /// Only this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only in this region.
    #[must_use]
    pub fn within(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Only so often.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Only this share of the requests.
    #[must_use]
    pub fn share(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// With this time.
    #[must_use]
    pub fn ms(mut self, ms: u64) -> Self {
        self.ms = ms;
        self
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Script {
    seed: u64,
    /// Rules ever added: part of what chance is drawn from.
    added: u64,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    number: u64,
    fault: Fault,
    fitted: u64,
    fired: u32,
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            added: 0,
            rules: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.added += 1;
        self.rules.push(Rule {
            number: self.added,
            fault,
            fitted: 0,
            fired: 0,
        });
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// How this request goes wrong, if it does.
    pub(crate) fn draw(
        &mut self,
        operation: Operation,
        region: Option<&str>,
        size: Option<&str>,
    ) -> Option<Fault> {
        let seed = self.seed;
        let fires = |rule: &mut Rule| {
            let fault = &rule.fault;
            let fits = fault.operation.is_none_or(|o| o == operation)
                && fault.region.as_deref().is_none_or(|r| Some(r) == region)
                && fault.size.as_deref().is_none_or(|s| Some(s) == size);
            if !fits || fault.count.is_some_and(|count| rule.fired >= count) {
                return false;
            }
            rule.fitted += 1;
            let hit = rule.fitted > u64::from(fault.after)
                && chance(seed, rule.number, rule.fitted) < fault.probability;
            rule.fired += u32::from(hit);
            hit
        };
        self.rules
            .iter_mut()
            .find_map(|rule| fires(rule).then(|| rule.fault.clone()))
    }
}

/// A number in 0 … 1 that the three decide.
fn chance(seed: u64, rule: u64, request: u64) -> f64 {
    let mut x = seed
        ^ rule.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ request.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for shift in [30, 27, 31] {
        x = (x ^ (x >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (x >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fires_where_and_as_often_as_it_says() {
        let mut script = Script::new(7);
        script.add(Fault {
            after: 1,
            ..Fault::new(Kind::Quota)
                .on(Operation::Create)
                .within("east")
                .times(2)
        });
        script.add(Fault::new(Kind::Denied).on(Operation::Create));
        let mut draw = |region| {
            script
                .draw(Operation::Create, Some(region), None)
                .map(|f| f.kind)
        };
        let drawn = [
            draw("east"),
            draw("east"),
            draw("west"),
            draw("east"),
            draw("east"),
        ];
        assert_eq!(
            drawn,
            [
                Kind::Denied,
                Kind::Quota,
                Kind::Denied,
                Kind::Quota,
                Kind::Denied
            ]
            .map(Some)
        );
        assert_eq!(script.draw(Operation::List, Some("east"), None), None);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed_and_keeps_its_share() {
        let drawn = |seed| {
            let mut script = Script::new(seed);
            script.add(Fault::new(Kind::Denied).share(0.3));
            (0..1000)
                .map(|_| script.draw(Operation::Get, None, None).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        let hits = drawn(3).into_iter().filter(|hit| *hit).count();
        assert!((250..350).contains(&hits), "{hits}");
    }
}
