//! The settings: where instances go, out of what they are made, and what they cost where the table does not know.

use std::collections::BTreeMap;

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error,
    units::{Money, Span},
};

pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// As the operator writes them. The defaults are those of the schema.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    pub(crate) regions: BTreeMap<String, Place>,
    /// Names, or patterns with `*`; empty: every type with a known price.
    #[serde(default)]
    pub(crate) instance_types: Vec<String>,
    /// Whether spot capacity is offered, too.
    #[serde(default)]
    pub(crate) spot: bool,
    /// By region and type.
    #[serde(default)]
    pub(crate) prices: BTreeMap<String, BTreeMap<String, Money>>,
    /// Whether a load balancer stands before public HTTP ports.
    #[serde(default = "yes")]
    pub(crate) load_balancer: bool,
    #[serde(default)]
    pub(crate) scheme: Scheme,
    /// Which address of an instance is told as that of its replica.
    #[serde(default)]
    pub(crate) address: Address,
    /// How long what is new may be missing from the cloud's lists.
    #[serde(default = "settle")]
    pub(crate) settle: Span,
    /// How long the exit status of an ended job is looked for in its console.
    #[serde(default = "exit_timeout")]
    pub(crate) exit_timeout: Span,
}

/// One region.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Place {
    /// What x86 instances are made of.
    #[serde(default)]
    pub(crate) image: String,
    /// What ARM instances are made of.
    #[serde(default)]
    pub(crate) image_arm64: String,
    /// A subnet for each zone that is used. Empty: AWS's own default, in any zone.
    #[serde(default)]
    pub(crate) subnets: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) security_groups: Vec<String>,
    #[serde(default)]
    pub(crate) key_name: String,
    #[serde(default)]
    pub(crate) instance_profile: String,
    /// Of load balancers; empty: all of `subnets`.
    #[serde(default)]
    pub(crate) load_balancer_subnets: Vec<String>,
    /// Of load balancers; empty: those of the instances.
    #[serde(default)]
    pub(crate) load_balancer_security_groups: Vec<String>,
}

/// From where load balancers are reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scheme {
    #[default]
    InternetFacing,
    Internal,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Address {
    /// Where there is none: the private one.
    #[default]
    Public,
    Private,
}

fn yes() -> bool {
    true
}
fn settle() -> Span {
    Span::seconds(60)
}
fn exit_timeout() -> Span {
    Span::seconds(600)
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (region, place) in &self.regions {
            let field = |name: &str| format!("settings.regions.{region}.{name}");
            if place.image.is_empty() && place.image_arm64.is_empty() {
                return Err(
                    Error::invalid(format!("the region {region:?} names no image"))
                        .field(field("image")),
                );
            }
            let subnets = place.balancer_subnets().len();
            if self.load_balancer && subnets < 2 {
                let message = format!(
                    "a load balancer needs two subnets of different zones, the region {region:?} names {subnets}"
                );
                let remedy = "name a subnet for each of two zones, or set load-balancer = false";
                return Err(Error::invalid(message)
                    .field(field("subnets"))
                    .remedy(remedy));
            }
        }
        Ok(())
    }

    pub(crate) fn place(&self, region: &str) -> Result<&Place, Error> {
        let message = || format!("the region {region:?} is not in the settings any more");
        self.regions
            .get(region)
            .ok_or_else(|| Error::invalid(message()).field("settings.regions"))
    }

    /// Whether a type may be offered.
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.instance_types.is_empty()
            || self
                .instance_types
                .iter()
                .any(|pattern| fits(pattern, name))
    }
}

impl Place {
    pub(crate) fn balancer_subnets(&self) -> Vec<String> {
        if self.load_balancer_subnets.is_empty() {
            self.subnets.values().cloned().collect()
        } else {
            self.load_balancer_subnets.clone()
        }
    }

    pub(crate) fn balancer_security_groups(&self) -> Vec<String> {
        let own = &self.load_balancer_security_groups;
        if own.is_empty() {
            self.security_groups.clone()
        } else {
            own.clone()
        }
    }

    /// The image for an instance type of these architectures.
    pub(crate) fn image_for(&self, architectures: &[String]) -> Option<&str> {
        let has = |name: &str| {
            architectures
                .iter()
                .any(|architecture| architecture == name)
        };
        let x86 = has("x86_64")
            .then_some(self.image.as_str())
            .filter(|image| !image.is_empty());
        x86.or_else(|| {
            has("arm64")
                .then_some(self.image_arm64.as_str())
                .filter(|image| !image.is_empty())
        })
    }
}

/// `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((first, rest)) => {
            let Some(tail) = name.strip_prefix(first) else {
                return false;
            };
            (0..=tail.len()).any(|from| tail.get(from..).is_some_and(|tail| fits(rest, tail)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::settings;

    #[test]
    fn types_are_chosen_by_patterns() {
        let chosen = settings(r#"{"instance-types":["t3.*","*.large"]}"#);
        assert!(
            chosen.uses("t3.nano")
                && chosen.uses("m5.large")
                && !chosen.uses("m5.xlarge")
                && settings("{}").uses("anything")
        );
    }

    #[test]
    fn what_can_not_work_is_refused_by_its_field() {
        let refused = |place: &str| {
            let settings: Settings =
                serde_json::from_str(&format!(r#"{{"regions":{{"us-east-1":{place}}}}}"#)).unwrap();
            settings.check().unwrap_err().field.unwrap()
        };
        assert_eq!(refused(r#"{}"#), "settings.regions.us-east-1.image");
        assert_eq!(
            refused(r#"{"image":"ami-1","subnets":{"a":"subnet-1"}}"#),
            "settings.regions.us-east-1.subnets"
        );
    }
}
