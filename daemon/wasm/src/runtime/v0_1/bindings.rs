//! The generated types of contract 0.1. Nothing here leaves `v0_1`.
#![allow(
    unreachable_pub,
    unused_variables,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]

/// Both worlds share the provider world's types and log.
pub(crate) mod provider {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "provider",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

pub(crate) mod policy {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "policy",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "tradewind:plugin/types": super::provider::tradewind::plugin::types,
            "tradewind:plugin/log": super::provider::tradewind::plugin::log,
        },
    });
}
