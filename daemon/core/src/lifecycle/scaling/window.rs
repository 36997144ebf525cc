//! The extreme of what was noted within a span that slides. It keeps only what can still become the extreme, so it stays small.

use std::collections::VecDeque;

use super::since_then;
use crate::base::units::Millis;

#[derive(Debug, Clone, Default)]
pub(super) struct Window(VecDeque<(Millis, u32)>);

impl Window {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `covers(new, old)`: the new value makes the old one irrelevant.
    pub(super) fn note(&mut self, now: Millis, value: u32, covers: impl Fn(&u32, &u32) -> bool) {
        while self.0.back().is_some_and(|(_, old)| covers(&value, old)) {
            self.0.pop_back();
        }
        self.0.push_back((now, value));
    }

    /// The extreme of the last `span`; what is older is forgotten.
    pub(super) fn extreme(&mut self, now: Millis, span: Millis) -> Option<u32> {
        while self.0.len() > 1
            && self
                .0
                .front()
                .is_some_and(|(at, _)| since_then(now, *at) >= span)
        {
            self.0.pop_front();
        }
        self.0.front().map(|(_, value)| *value)
    }

    /// How long until the extreme is another by time alone.
    pub(super) fn leaves(&self, now: Millis, span: Millis) -> Option<Millis> {
        let (at, _) = self.0.front().filter(|_| self.0.len() > 1)?;
        Some(super::left(now, *at, span))
    }
}
