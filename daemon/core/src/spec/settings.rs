//! What an operator sets and several parts name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::{Bytes, Millis};

/// Who decides when a policy fails or its answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyFallback {
    /// Nobody. What runs stays, and the policy is asked again later.
    Fail,
    /// The daemon's own order by cost. The decision says so.
    BuiltIn,
}

/// What happens to offers with quotes that are not valid any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StaleQuotes {
    /// Nothing new is placed there.
    Refuse,
    /// They are used, and the decision says so.
    Mark,
}

/// Limits of the compilation of components. A number that begins with `max` holds for one component
/// with all its modules and inner components. The cost of compiling grows faster than some of these
/// numbers, so the size of the file alone bounds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CompileBounds {
    /// The size of all functions together.
    pub max_code: Bytes,
    /// The size of the largest function.
    pub max_function: Bytes,
    /// The depth of blocks, loops and branches within one another. A `switch` takes one for each of
    /// its cases.
    pub max_nesting: u32,
    /// The depth of loops within one another.
    pub max_loops: u32,
    /// The local variables of one function, without its parameters.
    pub max_locals: u32,
    /// The number of functions.
    pub max_functions: u32,
    /// The number of types of functions and interfaces.
    pub max_types: u32,
    /// The number of core modules and inner components.
    pub max_modules: u32,
    /// The depth of components within one another.
    pub max_depth: u32,
    /// The number of instances of modules and components.
    pub max_instances: u32,
    /// The longest time to compile a component, and to compare settings with a plugin's schema.
    pub deadline: Millis,
    /// The most processor time to compile a component, on all processors together.
    pub processor: Millis,
    /// The most memory to compile a component. At least 128Mi.
    pub memory: Bytes,
    /// The most components that are compiled at one time. At most half of them are uploads, and one
    /// token has one of them.
    pub concurrent: u32,
}

impl Default for CompileBounds {
    fn default() -> Self {
        Self {
            max_code: Bytes(64 << 20),
            max_function: Bytes(256 << 10),
            max_nesting: 2_000,
            max_loops: 100,
            max_locals: 5_000,
            max_functions: 50_000,
            max_types: 20_000,
            max_modules: 100,
            max_depth: 5,
            max_instances: 500,
            deadline: Millis::from_secs(60),
            processor: Millis::from_secs(120),
            memory: Bytes(2 << 30),
            concurrent: 4,
        }
    }
}
