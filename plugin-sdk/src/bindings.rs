//! The generated face of the contract. Everything else in this crate turns it into something friendlier; a plugin author never needs it.
#![allow(
    unsafe_code,
    unreachable_pub,
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]

/// The worlds of providers: the contract, and the capabilities of single clouds.
pub mod provider {
    wit_bindgen::generate!({
        path: ["../wit/v0.1", "../wit/containers-v0.1", "../wit/kubernetes-v0.1", "../wit/aws-v0.1"],
        inline: "
            package tradewind:sdk;
            world provider {
                include tradewind:plugin/provider@0.1.0;
                import tradewind:containers/engine@0.1.0;
                import tradewind:kubernetes/cluster@0.1.0;
                import tradewind:aws/ec2@0.1.0;
                import tradewind:aws/elb@0.1.0;
            }
        ",
        world: "tradewind:sdk/provider",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_provider",
        default_bindings_module: "tradewind_plugin_sdk::bindings::provider",
        runtime_path: "wit_bindgen::rt",
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

/// The world of policies. It shares the types of `provider`.
pub mod policy {
    wit_bindgen::generate!({
        path: "../wit/v0.1",
        world: "policy",
        pub_export_macro: true,
        export_macro_name: "export_policy",
        default_bindings_module: "tradewind_plugin_sdk::bindings::policy",
        runtime_path: "wit_bindgen::rt",
        generate_unused_types: true,
        additional_derives: [PartialEq],
        with: {
            "tradewind:plugin/types@0.1.0": crate::bindings::provider::tradewind::plugin::types,
            "tradewind:plugin/log@0.1.0": crate::bindings::provider::tradewind::plugin::log,
        },
    });
}
