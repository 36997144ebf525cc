//! What instances cost: one offer for each zone and machine type.

use tradewind_plugin_sdk::{
    Error, Offer,
    host::{Clock, Http},
    types::{Condition, OffersQuery},
};

use crate::{Gcp, settings::region};

impl<H: Http + Clock> Gcp<H> {
    pub(crate) fn on_sale(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        let wanted = |zone: &str| {
            query.regions.is_empty() || query.regions.iter().any(|wanted| wanted == region(zone))
        };
        let quotes = self
            .settings
            .quotes()?
            .into_iter()
            .filter(|quote| wanted(&quote.zone));
        Ok(quotes
            .map(|quote| {
                let mut offer = Offer::new(
                    format!("{}/{}", quote.zone, quote.size),
                    quote.what.cpu,
                    quote.what.memory,
                    quote.what.price,
                );
                region(&quote.zone).clone_into(&mut offer.region);
                (offer.zone, offer.size) = (quote.zone, quote.size);
                (offer.source, offer.quoted_at) = (quote.source, quote.at);
                offer
            })
            .collect())
    }

    /// Whether the project is there, and the credential may look at it.
    pub(crate) fn project_ready(&self) -> Result<Vec<Condition>, Error> {
        self.project()?;
        Ok(vec![Condition {
            kind: "ProjectReady".to_owned(),
            met: true,
            reason: "Ready".to_owned(),
            message: format!("the project {:?} can be used", self.settings.project),
        }])
    }
}
