//! What the kernel passes to a program at most: each argument, each variable, and all together. Refused before a start is tried, with the field
//! and its size, since the kernel's own refusal names neither.

use rustix::process::{Resource, getrlimit};
use tradewind_core::failure::Failure;

/// Linux's MAX_ARG_STRLEN with pages of 4 KiB, the smallest there are: 32 pages, the NUL behind the text included.
const STRING: usize = 32 * 4096;
/// ARG_MAX: what is passed on however small the stack may be.
const LEAST: u64 = 128 << 10;
/// Three quarters of 8 MiB, however large the stack may be.
const MOST: u64 = 6 << 20;
/// What the wrapper adds: its script, the paths of its folder and of the program, `PATH` and the ports.
const RESERVED: u64 = 32 << 10;
/// Of each string.
const POINTER: u64 = 8;

/// # Errors
/// `invalid` when it is longer than what is passed on.
pub(super) fn argument(text: &str, field: &str) -> Result<(), Failure> {
    if text.len() < STRING {
        return Ok(());
    }
    let message = format!(
        "the argument has {} bytes, and at most {} are passed to a program",
        text.len(),
        STRING - 1
    );
    Err(Failure::invalid(message)
        .field(field)
        .remedy("pass a large value as a file"))
}

/// The variables, each with the size of its value, and the arguments beside them.
///
/// # Errors
/// `invalid` with the variable that is too large, or with the larger part of what is too large together.
pub(super) fn fits<'a>(
    env: impl Iterator<Item = (&'a str, usize)>,
    command: &[String],
) -> Result<(), Failure> {
    let limit = limit();
    let mut variables = 0u64;
    for (name, value) in env {
        let size = name.len() + 1 + value;
        if size >= STRING {
            let message = format!(
                "the variable \"{name}\" has {size} bytes with its name, and at most {} are passed to a program",
                STRING - 1
            );
            return Err(Failure::invalid(message)
                .field(format!("env.{name}"))
                .remedy("pass a large value as a file"));
        }
        variables += size as u64 + 1 + POINTER;
    }
    let arguments: u64 = command
        .iter()
        .map(|word| word.len() as u64 + 1 + POINTER)
        .sum();
    if variables + arguments <= limit {
        return Ok(());
    }
    let field = if variables > arguments {
        "env"
    } else {
        "command"
    };
    let message = format!(
        "the environment has {variables} bytes and the arguments {arguments}, and at most {limit} in all are passed to a program on this machine"
    );
    Err(Failure::invalid(message)
        .field(field)
        .remedy("pass large values as files, or raise the limit of the daemon's stack (ulimit -s)"))
}

/// For all strings and the pointers to them: a quarter of the stack.
fn limit() -> u64 {
    let stack = getrlimit(Resource::Stack).current.unwrap_or(u64::MAX);
    (stack / 4).clamp(LEAST, MOST) - RESERVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_named_with_its_size() {
        assert!(argument(&"x".repeat(STRING - 1), "command[1]").is_ok());
        let refused = argument(&"x".repeat(STRING), "command[1]").unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("command[1]"));
        assert!(refused.message.contains("131072"), "{}", refused.message);

        assert!(
            fits([("BIG", STRING - 5)].into_iter(), &[]).is_ok(),
            "with its name and the NUL it just fits"
        );
        let refused = fits([("SMALL", 1), ("BIG", STRING - 4)].into_iter(), &[]).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("env.BIG"));
        assert!(refused.message.contains("131072"), "{}", refused.message);

        let many: Vec<(&str, usize)> = std::iter::repeat_n(("V", 100_000), 100).collect();
        let refused = fits(many.into_iter(), &[]).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("env"));
        let words = vec!["x".repeat(100_000); 100];
        assert_eq!(
            fits(std::iter::empty(), &words)
                .unwrap_err()
                .field
                .as_deref(),
            Some("command")
        );
    }

    /// The kernel is of the same opinion.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_just_fits_starts_and_one_byte_more_does_not() {
        let run = |size: usize| {
            std::process::Command::new("/bin/true")
                .env("BIG", "x".repeat(size))
                .status()
        };
        assert!(run(STRING - 5).is_ok_and(|status| status.success()));
        assert!(run(STRING - 4).is_err());
    }
}
