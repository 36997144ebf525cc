//! From the SDK's types to the port's. What lacks its essentials is left out.

use aws_sdk_ec2::types::{self as sdk, InstanceLifecycleType, InstanceStateName, UsageClassType};
use aws_smithy_types::DateTime;
use tradewind_core::{
    capability::aws::{Gpu, Image, Instance, InstanceState, InstanceType, SpotPrice},
    units::{Bytes, Instant, MicroUsd},
};

use crate::tokens;

const MIB: u64 = 1 << 20;
const GB: u64 = 1_000_000_000;

/// An instance with an id and a state that is known.
pub(super) struct Described<'a> {
    id: &'a str,
    state: InstanceState,
    found: &'a sdk::Instance,
}

impl<'a> Described<'a> {
    pub(super) fn new(found: &'a sdk::Instance) -> Option<Self> {
        let state = match found.state()?.name()? {
            InstanceStateName::Pending => InstanceState::Pending,
            InstanceStateName::Running => InstanceState::Running,
            InstanceStateName::Stopping => InstanceState::Stopping,
            InstanceStateName::Stopped => InstanceState::Stopped,
            InstanceStateName::ShuttingDown => InstanceState::ShuttingDown,
            InstanceStateName::Terminated => InstanceState::Terminated,
            _ => return None,
        };
        Some(Self {
            id: found.instance_id()?,
            state,
            found,
        })
    }

    fn tag(&self, key: &str) -> String {
        let tag = self.found.tags().iter().find(|tag| tag.key() == Some(key));
        tag.and_then(|tag| tag.value())
            .unwrap_or_default()
            .to_owned()
    }
}

pub(super) fn instance(one: &Described<'_>) -> Instance {
    let found = one.found;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Instance {
        id: one.id.to_owned(),
        state: one.state,
        instance_type: text(found.instance_type().map(|t| t.as_str())),
        zone: text(
            found
                .placement()
                .and_then(|placement| placement.availability_zone()),
        ),
        public_address: text(found.public_ip_address()),
        private_address: text(found.private_ip_address()),
        launched_at: instant(found.launch_time()),
        spot: found.instance_lifecycle() == Some(&InstanceLifecycleType::Spot),
        allocation: one.tag(tokens::ALLOCATION),
        replica: one.tag(tokens::REPLICA).parse().unwrap_or(0),
        spec: one.tag(tokens::SPEC),
        reason: text(found.state_reason().and_then(|reason| reason.code())),
    }
}

pub(super) fn instance_type(info: &sdk::InstanceTypeInfo) -> Option<InstanceType> {
    let cpus = info.v_cpu_info()?.default_v_cpus()?;
    let gpu = info
        .gpu_info()
        .and_then(|info| info.gpus().first())
        .map(|gpu| Gpu {
            manufacturer: gpu.manufacturer().unwrap_or_default().to_owned(),
            name: gpu.name().unwrap_or_default().to_owned(),
            count: unsigned(gpu.count()),
            memory: Bytes(
                u64::from(unsigned(
                    gpu.memory_info().and_then(|memory| memory.size_in_mib()),
                )) * MIB,
            ),
        });
    let architectures = info
        .processor_info()
        .map(|processor| processor.supported_architectures())
        .unwrap_or_default();
    let disk = info
        .instance_storage_info()
        .and_then(|storage| storage.total_size_in_gb())
        .unwrap_or(0);
    Some(InstanceType {
        name: info.instance_type()?.as_str().to_owned(),
        cpu: unsigned(Some(cpus)).saturating_mul(1000),
        memory: Bytes(
            u64::try_from(info.memory_info()?.size_in_mib()?)
                .ok()?
                .saturating_mul(MIB),
        ),
        disk: Bytes(u64::try_from(disk).unwrap_or(0).saturating_mul(GB)),
        architectures: architectures
            .iter()
            .map(|architecture| architecture.as_str().to_owned())
            .collect(),
        gpu,
        spot: info
            .supported_usage_classes()
            .contains(&UsageClassType::Spot),
    })
}

pub(super) fn spot_price(price: &sdk::SpotPrice) -> Option<SpotPrice> {
    Some(SpotPrice {
        instance_type: price.instance_type()?.as_str().to_owned(),
        zone: price.availability_zone()?.to_owned(),
        price: micro_usd(price.spot_price()?)?,
        at: instant(price.timestamp()),
    })
}

pub(super) fn image(image: &sdk::Image) -> Option<Image> {
    Some(Image {
        id: image.image_id()?.to_owned(),
        name: image.name().unwrap_or_default().to_owned(),
        architecture: image
            .architecture()
            .map(|architecture| architecture.as_str().to_owned())
            .unwrap_or_default(),
        available: image
            .state()
            .is_some_and(|state| state.as_str() == "available"),
    })
}

/// US dollars with up to six decimals, rounded up beyond.
fn micro_usd(text: &str) -> Option<MicroUsd> {
    let usd: f64 = text.trim().parse().ok()?;
    let micro = (usd * 1e6 - 1e-3).ceil();
    (usd.is_finite() && usd >= 0.0 && micro < 1e15).then_some(MicroUsd(micro.max(0.0) as u64))
}

fn instant(time: Option<&DateTime>) -> Instant {
    let millis = time.and_then(|time| time.to_millis().ok()).unwrap_or(0);
    Instant(u64::try_from(millis).unwrap_or(0))
}

fn unsigned(number: Option<i32>) -> u32 {
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_exactly() {
        let read = |text: &str| micro_usd(text).map(|price| price.0);
        assert_eq!(
            (
                read("0.034600"),
                read("0.0000101"),
                read("12"),
                read("x"),
                read("-1")
            ),
            (Some(34_600), Some(11), Some(12_000_000), None, None)
        );
    }
}
