//! The generated types of contract 0.1. Nothing here leaves `v0_1`.
#![allow(
    unreachable_pub,
    unused_variables,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]

pub(crate) mod provider {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "provider",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

pub mod lent;

/// What a policy is asked is lent to the call, not copied for it: a request has columns of tens of thousands of offers.
pub(crate) mod policy {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "policy",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "tradewind:plugin/types": super::lent,
            "tradewind:plugin/log": super::provider::tradewind::plugin::log,
        },
    });
}
