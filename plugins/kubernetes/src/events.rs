//! What the cluster's controllers have warned of: the reason where objects themselves tell none.

use tradewind_plugin_sdk::{Error, host::Kubernetes as Capability};

use crate::{Kubernetes, seen::Event};

const SLOWER_START: &str =
    "; if it only starts slowly, give it a \"startup\" check, or raise \"startup.unhealthyAfter\"";

/// The warnings of one namespace.
#[derive(Default)]
pub(crate) struct Warnings(Vec<Event>);

impl<H: Capability> Kubernetes<H> {
    /// One list for a whole batch. Without the permission to read events there are none.
    pub(crate) fn warnings(&self, namespace: &str) -> Result<Warnings, Error> {
        match self.cluster.warnings(namespace) {
            Ok(events) => Ok(Warnings(events)),
            Err(error) if error.kind == tradewind_plugin_sdk::ErrorKind::Denied => {
                Ok(Warnings::default())
            }
            Err(error) => Err(error),
        }
    }
}

/// What helps a slow start.
fn way_out(message: &str) -> &'static str {
    if message.contains("Startup probe failed") {
        SLOWER_START
    } else {
        ""
    }
}

impl Warnings {
    /// The last one about an object of an allocation, or about what has been made of it: all of them begin with its name.
    pub(crate) fn of(&self, allocation: &str) -> Option<String> {
        let about = |event: &&Event| {
            event
                .involved_object
                .name
                .strip_prefix(allocation)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let last = self
            .0
            .iter()
            .filter(about)
            .max_by(|a, b| a.last_timestamp.cmp(&b.last_timestamp));
        last.map(|event| {
            format!(
                "{}: {}{}",
                event.reason,
                event.message,
                way_out(&event.message)
            )
        })
    }
}
