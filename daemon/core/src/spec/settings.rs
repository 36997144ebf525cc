//! What an operator sets and several parts name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::{Bytes, Millis};

/// Who decides when a policy fails or its answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyFallback {
    /// Nobody: what runs stays, and the policy is asked again later.
    Fail,
    /// The daemon's own order by cost, told as such.
    BuiltIn,
}

/// What happens to offers whose quotes are older than they are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StaleQuotes {
    /// Nothing new is placed there.
    Refuse,
    /// They are used, and the decision says so.
    Mark,
}

/// What compiling components may take. The numbers that begin with `max` are of one component, all its modules and inner components together.
/// What compiling costs grows faster than some of them, so the size of the file alone bounds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CompileBounds {
    /// Of all functions together. Default 64Mi.
    pub max_code: Bytes,
    /// Of the largest function. Default 256Ki.
    pub max_function: Bytes,
    /// Blocks, loops and branches within one another. Default 2000: a `switch` takes one for each of its cases.
    pub max_nesting: u32,
    /// Loops within one another. Default 100.
    pub max_loops: u32,
    /// Local variables of one function, its parameters left out. Default 5000.
    pub max_locals: u32,
    /// Default 50000.
    pub max_functions: u32,
    /// Of functions and of interfaces. Default 20000.
    pub max_types: u32,
    /// Core modules and inner components. Default 100.
    pub max_modules: u32,
    /// Component nesting. Default 5.
    pub max_depth: u32,
    /// Of modules and of components. Default 500.
    pub max_instances: u32,
    /// The longest that compiling a component may take, and comparing settings with a plugin's schema. Default 1m.
    pub deadline: Millis,
    /// The most processor time that it may take, on all processors together. Default 2m.
    pub processor: Millis,
    /// The most memory that it may take. Default 2Gi.
    pub memory: Bytes,
    /// Components compiled at once. Half of them may be uploads, and one of each token. Default 4.
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
