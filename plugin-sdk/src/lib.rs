//! Write Tradewind providers and policies.
#[doc(hidden)]
pub mod bindings;
