//! What the controller knows and how it is written: the cache, the one way of writing, the way of reading. It must not know why anything changes.

pub(crate) mod book;
pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod commit;
pub(crate) mod copy_on_write;
pub(crate) mod deployments;
pub(crate) mod inputs;
pub(crate) mod journal;
pub(crate) mod notes;
pub(crate) mod progress;
pub(crate) mod reads;
pub(crate) mod timings;
