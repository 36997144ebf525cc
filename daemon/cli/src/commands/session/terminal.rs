//! This side's terminal: its size, and keys as they are typed.

use std::io::{IsTerminal, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tradewind_api::TerminalSize;

/// What a terminal has that does not tell.
const USUAL: TerminalSize = TerminalSize {
    columns: 80,
    rows: 24,
};

/// Whether somebody sits at this side.
pub(super) fn is_one() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// The size of this side's terminal.
pub(super) fn size() -> TerminalSize {
    tcgetwinsize(stdout())
        .ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or(USUAL, |size| TerminalSize {
            columns: size.ws_col,
            rows: size.ws_row,
        })
}

/// Keys go to the other side as they are typed, as long as this lives.
pub(super) struct Raw(Option<Termios>);

impl Raw {
    pub(super) fn enter() -> Self {
        let Ok(before) = tcgetattr(stdin()) else {
            return Self(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        match tcsetattr(stdin(), OptionalActions::Drain, &raw) {
            Ok(()) => Self(Some(before)),
            Err(_) => Self(None),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may have gone.
            let _ = tcsetattr(stdin(), OptionalActions::Drain, before);
        }
    }
}
