//! What a new version must show: a canary that gets a share of an instance's calls, a shadow that is asked beside, a second look at a version
//! that served or never will. Each part owns what is on trial and says what follows; it must not know the registry, which carries it out.

pub(crate) mod canary;
pub(crate) mod recall;
pub(crate) mod shadow;

use std::sync::Arc;

use tradewind_core::{capability::Clock, document::Document as _};

use crate::{history::store::HistoryStore, load::Load};

/// What they use.
#[derive(Clone)]
pub(crate) struct Deps {
    pub(crate) loader: Arc<dyn Load>,
    pub(crate) store: HistoryStore,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the names of their documents begin with, and the version that this daemon writes.
pub(crate) const DOCUMENTS: [(&str, u32); 2] = [
    (shadow::PREFIX, shadow::ShadowRecord::VERSION),
    (canary::PREFIX, canary::Record::VERSION),
];
