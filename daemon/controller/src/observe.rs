//! What became of what was started: looks, checks, recovery, outages, the health and the measures of places.

pub(crate) mod measurements;
pub(crate) mod outages;
pub(crate) mod place_health;
pub(crate) mod poller;
pub(crate) mod probes;
pub(crate) mod recovery;
