//! How large a component may be in each of its dimensions before any of it is compiled, and what compiling it may take. Pure numbers: who
//! counts is `survey`, who keeps the time is `compiler`.

use tradewind_core::{settings::CompileBounds, units::Bytes};

/// A component is larger in one dimension than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
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

/// # Errors
/// The first dimension that is too large.
pub(crate) fn check(bounds: &CompileBounds, figures: &Figures) -> Result<(), Error> {
    let sizes = [
        ("its code", figures.code, bounds.max_code, "max-code"),
        (
            "its largest function",
            figures.function,
            bounds.max_function,
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
            bounds.max_nesting,
            "max-nesting",
        ),
        (
            "loops within one another",
            figures.loops,
            bounds.max_loops,
            "max-loops",
        ),
        (
            "local variables in one function",
            figures.locals,
            bounds.max_locals,
            "max-locals",
        ),
        (
            "functions",
            figures.functions,
            bounds.max_functions,
            "max-functions",
        ),
        ("types", figures.types, bounds.max_types, "max-types"),
        (
            "modules",
            figures.modules,
            bounds.max_modules,
            "max-modules",
        ),
        (
            "components within one another",
            figures.depth,
            bounds.max_depth,
            "max-depth",
        ),
        (
            "instances",
            figures.instances,
            bounds.max_instances,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_dimension_the_value_the_limit_and_the_setting() {
        let bounds = CompileBounds::default();
        assert_eq!(check(&bounds, &Figures::default()), Ok(()));
        let at = Figures {
            nesting: 2_000,
            function: 256 << 10,
            ..Figures::default()
        };
        assert_eq!(check(&bounds, &at), Ok(()), "the limit itself is allowed");
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
            assert_eq!(check(&bounds, &figures).unwrap_err().to_string(), message);
        }
    }
}
