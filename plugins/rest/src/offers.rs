//! What the cloud sells, as offers: one for each region and size.

use tradewind_plugin_sdk::{
    Error, Offer,
    host::{Clock, Http},
    types::{Condition, OffersQuery},
    units::{Cpu, Money, Size},
};

use crate::{Rest, client::ForSale};

impl<H: Http + Clock> Rest<H> {
    pub(crate) fn on_sale(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        let wanted = |region: &String| query.regions.is_empty() || query.regions.contains(region);
        let offers = self.price_list()?;
        Ok(offers
            .into_iter()
            .filter(|sale| self.settings.uses(&sale.region) && wanted(&sale.region))
            .map(offer)
            .collect())
    }

    /// Whether the regions that are to be used answer.
    pub(crate) fn regions_ready(&self) -> Result<Vec<Condition>, Error> {
        let regions = self.regions()?;
        let used = regions
            .into_iter()
            .filter(|region| self.settings.uses(&region.name));
        Ok(used
            .map(|region| Condition {
                kind: "RegionReady".to_owned(),
                met: region.up,
                reason: if region.up { "Up" } else { "Down" }.to_owned(),
                message: format!(
                    "the region {:?} is {}",
                    region.name,
                    if region.up { "up" } else { "down" }
                ),
            })
            .collect())
    }
}

/// Each replica gets an instance of its own, so nothing is shared. What the cloud doesn't say stays unknown.
fn offer(sale: ForSale) -> Offer {
    let mut offer = Offer::new(sale.id, Cpu(sale.cpu), Size(sale.memory), Money(sale.price));
    (offer.region, offer.size) = (sale.region, sale.size);
    offer.capacity = sale.capacity.unwrap_or(u32::MAX);
    offer.time_to_ready = sale.boot_ms.map_or(f64::NAN, |ms| ms as f64);
    "price list".clone_into(&mut offer.source);
    offer
}
