//! What container instances cost: one offer for each location, from which every replica takes as much as it asks for.

use tradewind_plugin_sdk::{
    Error, Offer,
    host::{Clock, Http},
    types::{Condition, OffersQuery, PriceUnit},
};

use crate::Azure;

impl<H: Http + Clock> Azure<H> {
    pub(crate) fn on_sale(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        let wanted = |location: &str| {
            query.regions.is_empty() || query.regions.iter().any(|region| region == location)
        };
        let quotes = self
            .settings
            .quotes()?
            .into_iter()
            .filter(|(location, _)| wanted(location));
        Ok(quotes
            .map(|(location, quote)| {
                let mut offer = Offer::new(
                    location,
                    self.settings.largest_cpu,
                    self.settings.largest_memory,
                    quote.price.cpu,
                );
                location.clone_into(&mut offer.region);
                // Each replica pays for its cores and its GiB; there is no size to choose.
                (offer.price_unit, offer.memory_price, offer.shared) =
                    (PriceUnit::Cpu, quote.price.memory.0, true);
                (offer.source, offer.quoted_at) = (quote.source, quote.at);
                offer
            })
            .collect())
    }

    /// Whether the resource group is there, and the credential may look at it.
    pub(crate) fn group_ready(&self) -> Result<Vec<Condition>, Error> {
        let group = self.group()?;
        let met = group == "Succeeded";
        Ok(vec![Condition {
            kind: "ResourceGroupReady".to_owned(),
            met,
            reason: if met { "Ready" } else { "NotReady" }.to_owned(),
            message: format!(
                "the resource group {:?} is {}",
                self.settings.resource_group,
                if met { "ready" } else { group.as_str() }
            ),
        }])
    }
}
