//! How large a component may be in each of its dimensions before any of it is compiled, and what compiling it may take. Pure numbers: who
//! counts is `survey`, who keeps the time is `compiler`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::units::{Bytes, Millis};

/// What compiling components may take. The numbers that begin with `max` are of one component, all its modules and inner components together.
/// What compiling costs grows faster than some of them, so the size of the file alone bounds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Bounds {
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

impl Default for Bounds {
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

/// A component is larger in one dimension than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{what} is {found}, and the setting \"compile.{setting}\" allows {most}")]
    Size {
        what: &'static str,
        found: Bytes,
        most: Bytes,
        setting: &'static str,
    },
    #[error("it has {found} {what}, and the setting \"compile.{setting}\" allows {most}")]
    Count {
        what: &'static str,
        found: u64,
        most: u32,
        setting: &'static str,
    },
    #[error("it has {found} {what}, and the engine has room for {most}")]
    Room {
        what: &'static str,
        found: u64,
        most: u64,
    },
    #[error(
        "it has a memory of at least {found}, and the setting \"calls.memory-ceiling\" allows {most}"
    )]
    Memory { found: Bytes, most: Bytes },
    #[error(
        "it has a {what} with 64-bit addresses, and this daemon gives those with 32-bit addresses only"
    )]
    Wide { what: &'static str },
}

/// What has been counted of a component so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) code: u64,
    pub(crate) function: u64,
    pub(crate) nesting: u64,
    pub(crate) loops: u64,
    pub(crate) locals: u64,
    pub(crate) functions: u64,
    pub(crate) types: u64,
    pub(crate) modules: u64,
    pub(crate) depth: u64,
    pub(crate) instances: u64,
}

impl Bounds {
    /// # Errors
    /// The first dimension that is too large.
    pub(crate) fn check(&self, figures: &Figures) -> Result<(), Error> {
        let sizes = [
            ("its code", figures.code, self.max_code, "max-code"),
            (
                "its largest function",
                figures.function,
                self.max_function,
                "max-function",
            ),
        ];
        if let Some((what, found, most, setting)) = sizes
            .into_iter()
            .find(|(_, found, most, _)| *found > most.0)
        {
            return Err(Error::Size {
                what,
                found: Bytes(found),
                most,
                setting,
            });
        }
        let counts = [
            (
                "blocks within one another",
                figures.nesting,
                self.max_nesting,
                "max-nesting",
            ),
            (
                "loops within one another",
                figures.loops,
                self.max_loops,
                "max-loops",
            ),
            (
                "local variables in one function",
                figures.locals,
                self.max_locals,
                "max-locals",
            ),
            (
                "functions",
                figures.functions,
                self.max_functions,
                "max-functions",
            ),
            ("types", figures.types, self.max_types, "max-types"),
            ("modules", figures.modules, self.max_modules, "max-modules"),
            (
                "components within one another",
                figures.depth,
                self.max_depth,
                "max-depth",
            ),
            (
                "instances",
                figures.instances,
                self.max_instances,
                "max-instances",
            ),
        ];
        match counts
            .into_iter()
            .find(|(_, found, most, _)| *found > u64::from(*most))
        {
            Some((what, found, most, setting)) => Err(Error::Count {
                what,
                found,
                most,
                setting,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_dimension_the_value_the_limit_and_the_setting() {
        let bounds = Bounds::default();
        assert_eq!(bounds.check(&Figures::default()), Ok(()));
        let at = Figures {
            nesting: 2_000,
            function: 256 << 10,
            ..Figures::default()
        };
        assert_eq!(bounds.check(&at), Ok(()), "the limit itself is allowed");
        for (figures, message) in [
            (
                Figures {
                    loops: 101,
                    ..Figures::default()
                },
                "it has 101 loops within one another, and the setting \"compile.max-loops\" allows 100",
            ),
            (
                Figures {
                    function: 1 << 20,
                    ..Figures::default()
                },
                "its largest function is 1Mi, and the setting \"compile.max-function\" allows 256Ki",
            ),
        ] {
            assert_eq!(bounds.check(&figures).unwrap_err().to_string(), message);
        }
    }
}
