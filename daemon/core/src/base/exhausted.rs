//! Failures that are the daemon's own: it has no descriptor left for a call. They say nothing about the place that was called, nor about what
//! was to run there: such a call is made again, and counts against nobody. Pure.

use std::{error::Error, io};

use crate::base::failure::Failure;

/// The code of a call that the daemon had no room for.
pub const BUSY: &str = "busy";
/// `ENFILE` and `EMFILE`, the same numbers on every Unix.
const OUT_OF_FILES: [i32; 2] = [23, 24];

/// Whether an error, or one behind it, says that the daemon has no descriptor left.
pub fn is_out_of_files(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(inner) = next {
        let io = inner.downcast_ref::<io::Error>();
        if io
            .and_then(io::Error::raw_os_error)
            .is_some_and(|number| OUT_OF_FILES.contains(&number))
        {
            return true;
        }
        // One that wraps another answers that one's source, not the one itself.
        next = match io.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    false
}

/// The failure of a call that could not be made because the daemon has no descriptor left. None: the error says something else.
pub fn out_of_files(error: &(dyn Error + 'static), what: &str) -> Option<Failure> {
    let failure = || {
        Failure::unavailable(format!("{what}: the daemon has too many files open"))
            .code(BUSY)
            .remedy("raise the limit on open files (ulimit -n) of the daemon")
    };
    is_out_of_files(error).then(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_want_of_descriptors_is_the_daemons_own() {
        let deep = io::Error::other(io::Error::from_raw_os_error(24));
        let failure = out_of_files(&deep, "the engine can't be asked").unwrap();
        assert_eq!(
            (
                failure.code.as_deref(),
                failure.message.contains("too many files open")
            ),
            (Some(BUSY), true)
        );
        assert!(
            out_of_files(&io::Error::from_raw_os_error(111), "x").is_none(),
            "a refused connection is the place's"
        );
    }
}
