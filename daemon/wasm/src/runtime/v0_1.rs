//! Contract 0.1: the only place that knows its generated types. It links what is granted, makes versions, and converts both ways.

pub(crate) mod bindings;
pub(crate) mod convert;
mod host;
mod offers;
mod place;
mod policy;
mod provider;

use std::sync::Arc;

use tradewind_core::{failure::Failure, grant::Grants, plugin::Kind};
use wasmtime::component::{Component, Linker};

use super::{
    call::Runner, census::Counted, clouds, plugin::Plugin, plugin_info::PluginInfo, state::Call,
};

use policy::PolicyVersion;
use provider::ProviderVersion;

/// A component linked against what its instance may use.
pub(crate) enum Linked {
    Provider(bindings::provider::ProviderPre<Call>),
    Policy(bindings::policy::PolicyPre<Call>),
}

/// A plugin that has said who it is.
#[derive(Clone)]
pub(crate) enum Described {
    Provider(bindings::provider::ProviderPre<Call>),
    Policy(
        bindings::policy::PolicyPre<Call>,
        bindings::policy::exports::tradewind::plugin::scheduling_policy::Columns,
    ),
}

/// What this contract's capabilities are called in an import, and how a grant for each is written.
pub(crate) const GRANTABLE: [(&str, &str); 2] = [
    ("process", "[grants.process]\ncommands = [\"*\"]"),
    ("http", "[grants.http]\nhosts = [\"api.example.com\"]"),
];

pub(crate) const PACKAGE: &str = "tradewind:plugin/";
pub(crate) const VERSION: &str = "0.1.0";
pub(crate) const PROVIDER: &str = "cloud-provider";
pub(crate) const POLICY: &str = "scheduling-policy";

/// Links exactly what the kind and the grants allow, besides log and an empty WASI 0.2.
///
/// # Errors
/// When the component's imports or exports don't have the contract's types.
pub(crate) fn link(
    engine: &wasmtime::Engine,
    component: &Component,
    kind: Kind,
    grants: &Grants,
    wasi: bool,
) -> wasmtime::Result<Linked> {
    let mut linker: Linker<Call> = Linker::new(engine);
    host::link_log(&mut linker)?;
    if kind == Kind::Provider {
        host::link_clock(&mut linker)?;
        if grants.process.is_some() {
            host::link_process(&mut linker)?;
        }
        if grants.http.is_some() {
            host::link_http(&mut linker)?;
        }
        clouds::link(&mut linker, grants)?;
    }
    if wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    let pre = linker.instantiate_pre(component)?;
    Ok(match kind {
        Kind::Provider => Linked::Provider(bindings::provider::ProviderPre::new(pre)?),
        Kind::Policy => Linked::Policy(bindings::policy::PolicyPre::new(pre)?),
    })
}

/// The smoke call.
///
/// # Errors
/// When the call fails or its answer makes no sense.
pub(crate) async fn describe(
    linked: Linked,
    runner: &Runner,
) -> Result<(PluginInfo, Described), Failure> {
    match linked {
        Linked::Provider(pre) => {
            let about = provider::describe(runner, &pre).await?;
            Ok((about, Described::Provider(pre)))
        }
        Linked::Policy(pre) => {
            let (about, columns) = policy::describe(runner, &pre).await?;
            Ok((about, Described::Policy(pre, columns)))
        }
    }
}

/// What the rest of the daemon calls.
pub(crate) fn plugin(
    described: Described,
    runner: Runner,
    settings: String,
    about: &PluginInfo,
    counted: Counted,
) -> Plugin {
    match described {
        Described::Provider(pre) => Plugin::Provider(Arc::new(ProviderVersion {
            runner,
            pre,
            settings,
            features: about.features,
            _counted: counted,
        })),
        Described::Policy(pre, columns) => Plugin::Policy(Arc::new(PolicyVersion {
            runner,
            pre,
            settings,
            columns,
            cache: place::Cache::default(),
            _counted: counted,
        })),
    }
}
