//! Capabilities beside the contract: packages of their own (`tradewind:containers`, …), each with a version of its own, that use the
//! contract's types. One file here knows the generated types of one of them.

mod aws;
mod containers;
mod kubernetes;

use tradewind_core::{
    failure::{Failure, NOT_GRANTED},
    grant::Grants,
};
use wasmtime::component::Linker;

use super::{
    state::Call,
    v0_1::{bindings::provider::tradewind::plugin::types as wit, convert},
};

/// A capability that a provider may be granted.
pub(crate) struct Capability {
    /// Its name under `[grants]`.
    pub(crate) name: &'static str,
    /// The interfaces of it, as imports spell them.
    pub(crate) interfaces: &'static [&'static str],
    /// The least that has to stand in the instance file.
    pub(crate) grant: &'static str,
    pub(crate) granted: fn(&Grants) -> bool,
    pub(crate) link: fn(&mut Linker<Call>) -> wasmtime::Result<()>,
}

/// All of them.
pub(crate) const ALL: [&Capability; 3] = [
    &containers::CAPABILITY,
    &kubernetes::CAPABILITY,
    &aws::CAPABILITY,
];

/// Links those that are granted.
pub(crate) fn link(linker: &mut Linker<Call>, grants: &Grants) -> wasmtime::Result<()> {
    for capability in ALL.iter().filter(|c| (c.granted)(grants)) {
        (capability.link)(linker)?;
    }
    Ok(())
}

/// Which capability an import belongs to.
pub(crate) fn of(import: &str) -> Option<&'static Capability> {
    ALL.into_iter().find(|c| c.interfaces.contains(&import))
}

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

fn answer<T>(result: Result<T, Failure>) -> Answer<T> {
    Ok(result.map_err(convert::error))
}

/// The linker only holds granted capabilities; this answers if it ever held more.
fn ungranted(capability: &str) -> Failure {
    Failure::denied(format!("the capability \"{capability}\" is not granted")).code(NOT_GRANTED)
}
