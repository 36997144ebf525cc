//! What is on sale: each type in each zone of the settings, on demand at the known price, and as spot capacity at the price of the moment.

use tradewind_plugin_sdk::{
    Error, Offer,
    host::{
        Clock,
        aws::{Aws, Gpu, InstanceType, SpotPrice},
    },
    types::{Condition, OffersQuery},
    units::{Cpu, Money, Size},
    warn,
};

use crate::{
    Ec2,
    prices::{self, Quote},
    settings::Place,
};

impl<H: Aws + Clock> Ec2<H> {
    pub(crate) fn regions_ready(&self) -> Result<Vec<Condition>, Error> {
        let (mut conditions, mut failure, mut answered) = (Vec::new(), None, false);
        for (region, place) in &self.settings.regions {
            match self.looked_over(region, place) {
                Ok(condition) => {
                    answered = true;
                    conditions.push(condition);
                }
                Err(error) => {
                    let reason = error
                        .code
                        .clone()
                        .unwrap_or_else(|| "Unreachable".to_owned());
                    conditions.push(condition(
                        false,
                        &reason,
                        format!("the region {region:?} can't be used: {error}"),
                    ));
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            // It is not about one region: the failure says what and how to put it right.
            Some(error) if !answered => Err(error),
            _ => Ok(conditions),
        }
    }

    fn looked_over(&self, region: &str, place: &Place) -> Result<Condition, Error> {
        let zones = self.host.zones(region)?;
        if let Some(zone) = place.subnets.keys().find(|zone| !zones.contains(zone)) {
            let message = format!(
                "the zone {zone:?} of the settings is none of {region:?}, which has {}",
                zones.join(", ")
            );
            return Ok(condition(false, "UnknownZone", message));
        }
        let ids: Vec<String> = [&place.image, &place.image_arm64]
            .into_iter()
            .filter(|id| !id.is_empty())
            .cloned()
            .collect();
        let images = self.host.images(region, &ids)?;
        let usable = |id: &&String| {
            images
                .iter()
                .any(|image| image.id == **id && image.available)
        };
        Ok(match ids.iter().find(|id| !usable(id)) {
            Some(id) => condition(
                false,
                "UnknownImage",
                format!("the image {id:?} can't be used in {region:?}"),
            ),
            None => condition(
                true,
                "Ready",
                format!("{region:?} answers, with {} zones", zones.len()),
            ),
        })
    }

    /// A region that does not answer has nothing to offer; when none does, that is a failure.
    pub(crate) fn on_sale(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        let (mut offers, mut failure, mut answered) = (Vec::new(), None, false);
        let asked = |region: &String| query.regions.is_empty() || query.regions.contains(region);
        for (region, place) in self
            .settings
            .regions
            .iter()
            .filter(|(region, _)| asked(region))
        {
            match self.on_sale_in(region, place, query.spot) {
                Ok(found) => {
                    answered = true;
                    offers.extend(found);
                }
                Err(error) => {
                    warn!("a region can't be asked for its offers: {error}"; region = region);
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) if !answered => Err(error),
            _ => Ok(offers),
        }
    }

    fn on_sale_in(&self, region: &str, place: &Place, spot: bool) -> Result<Vec<Offer>, Error> {
        let quotes = prices::of(region, &self.settings);
        let names: Vec<String> = quotes
            .keys()
            .filter(|name| self.settings.uses(name))
            .cloned()
            .collect();
        let types = self.host.instance_types(region, &names)?;
        let types: Vec<&InstanceType> = types
            .iter()
            .filter(|t| place.image_for(&t.architectures).is_some())
            .collect();
        let zones: Vec<&str> = if place.subnets.is_empty() {
            vec![""]
        } else {
            place.subnets.keys().map(String::as_str).collect()
        };
        let mut offers = Vec::new();
        for one in &types {
            if let Some(quote) = quotes.get(&one.name) {
                offers.extend(zones.iter().map(|zone| on_demand(region, zone, one, quote)));
            }
        }
        if spot && self.settings.spot {
            let names: Vec<String> = types
                .iter()
                .filter(|t| t.spot)
                .map(|t| t.name.clone())
                .collect();
            let prices = if names.is_empty() {
                Vec::new()
            } else {
                self.host.spot_prices(region, &names)?
            };
            for price in prices
                .iter()
                .filter(|price| place.subnets.is_empty() || place.subnets.contains_key(&price.zone))
            {
                offers.extend(
                    types
                        .iter()
                        .find(|t| t.name == price.instance_type)
                        .map(|one| as_spot(region, one, price)),
                );
            }
        }
        Ok(offers)
    }
}

fn condition(met: bool, reason: &str, message: String) -> Condition {
    Condition {
        kind: "RegionReady".to_owned(),
        met,
        reason: reason.to_owned(),
        message,
    }
}

fn on_demand(region: &str, zone: &str, one: &InstanceType, quote: &Quote) -> Offer {
    let place = if zone.is_empty() { region } else { zone };
    let mut offer = offer(
        format!("{place}/{}", one.name),
        region,
        zone,
        one,
        quote.price,
    );
    (offer.source, offer.quoted_at) = (quote.source.clone(), quote.at);
    offer
}

/// The history tells the price that holds now, however long it has held.
fn as_spot(region: &str, one: &InstanceType, price: &SpotPrice) -> Offer {
    let mut offer = offer(
        format!("{}/{}/spot", price.zone, one.name),
        region,
        &price.zone,
        one,
        Money(price.price),
    );
    (offer.spot, offer.source) = (true, "EC2 spot price".to_owned());
    offer
}

fn offer(id: String, region: &str, zone: &str, one: &InstanceType, price: Money) -> Offer {
    let mut offer = Offer::new(id, Cpu(one.cpu), Size(one.memory), price);
    (offer.region, offer.zone, offer.size) = (region.to_owned(), zone.to_owned(), one.name.clone());
    if let Some(gpu) = &one.gpu {
        (
            offer.accelerator,
            offer.accelerator_count,
            offer.accelerator_memory,
        ) = (accelerator(gpu), gpu.count, gpu.memory);
    }
    offer.labels = vec![("arch".to_owned(), one.architectures.join(","))];
    offer
}

/// `NVIDIA` and `A10G` make `nvidia-a10g`.
fn accelerator(gpu: &Gpu) -> String {
    let words = format!("{} {}", gpu.manufacturer, gpu.name).to_ascii_lowercase();
    words
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}
