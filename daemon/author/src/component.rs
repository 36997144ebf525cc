//! From a core module to a component. Pure: bytes in, bytes out.

use std::fmt;

use serde::{Deserialize, Serialize};
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::Error;

/// What a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Supplies places to run.
    Provider,
    /// Chooses among them.
    Policy,
}

impl Kind {
    /// `provider` or `policy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A validated component and what it is.
#[derive(Debug)]
pub struct Component {
    /// The component's bytes.
    pub bytes: Vec<u8>,
    /// What it exports.
    pub kind: Kind,
    /// The interfaces it imports functions from, in order: what the host must lend it.
    pub imports: Vec<String>,
}

/// Turns a core module with embedded binding metadata into a component, and validates it. `name` is for error messages only.
///
/// # Errors
/// [`Error::Component`] when the module imports something that no interface of the contract offers, or is no module at all;
/// [`Error::NoWorld`] when it exports neither kind of plugin.
pub fn componentize(name: &str, module: &[u8]) -> Result<Component, Error> {
    let wrong = |why: String| Error::Component {
        module: name.to_owned(),
        why,
    };
    let bytes = ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| wrong(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) =
        wit_component::decode(&bytes).map_err(|error| wrong(format!("{error:#}")))?
    else {
        return Err(wrong("it is an interface package".to_owned()));
    };
    let Some(world) = resolve.worlds.get(world) else {
        return Err(wrong("it has no world".to_owned()));
    };
    let exports = |interface: &str| {
        world
            .exports
            .keys()
            .any(|key| resolve.name_world_key(key).contains(interface))
    };
    let kind = if exports("tradewind:plugin/cloud-provider@") {
        Kind::Provider
    } else if exports("tradewind:plugin/scheduling-policy@") {
        Kind::Policy
    } else {
        return Err(Error::NoWorld {
            module: name.to_owned(),
        });
    };
    // `types` holds no functions, so it permits nothing and is no import worth telling.
    let imports = world
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .filter(|import| !import.contains("/types@"))
        .collect();
    Ok(Component {
        bytes,
        kind,
        imports,
    })
}
