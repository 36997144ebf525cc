//! What one call may use: time, memory, bytes through the host, log lines. Knows nothing of what is called.

use tradewind_core::{
    plugin::Limits,
    units::{Bytes, Millis},
};
use wasmtime::ResourceLimiter;

/// What the pool can hold, whatever an instance file asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceilings {
    pub(crate) memory: Bytes,
    /// Memories, or tables, of all calls together.
    pub(crate) slots: u32,
    pub(crate) table_elements: usize,
}

/// Core instances, and tables, of one component.
pub(crate) const PARTS: u32 = 64;
const LONGEST: Millis = Millis(3_600_000);

/// The first limit that this host can't keep, as a sentence.
pub(crate) fn fault(limits: &Limits, ceilings: &Ceilings) -> Option<String> {
    if limits.deadline.0 == 0 || limits.deadline > LONGEST {
        return Some(format!(
            "limits.deadline is \"{}\": use 1ms to {LONGEST}",
            limits.deadline
        ));
    }
    if limits.memory.0 < 64 << 10 || limits.memory > ceilings.memory {
        return Some(format!(
            "limits.memory is \"{}\": use 64Ki to {}",
            limits.memory, ceilings.memory
        ));
    }
    if limits.concurrency == 0 || limits.concurrency > ceilings.slots {
        return Some(format!(
            "limits.concurrency is \"{}\": use 1 to {}",
            limits.concurrency, ceilings.slots
        ));
    }
    if limits.host_bytes.0 == 0 || limits.host_bytes.0 > 1 << 30 {
        return Some(format!(
            "limits.host-bytes is \"{}\": use 1 to 1Gi",
            limits.host_bytes
        ));
    }
    None
}

/// Counts the memory of one store and refuses growth past the cap.
#[derive(Debug)]
pub(crate) struct Limiter {
    cap: usize,
    used: usize,
    table_elements: usize,
    /// Growth was refused: what follows is this limit's doing.
    pub(crate) refused: bool,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, ceilings: &Ceilings) -> Self {
        Self {
            cap: usize::try_from(limits.memory.0).unwrap_or(usize::MAX),
            used: 0,
            table_elements: ceilings.table_elements,
            refused: false,
        }
    }

    /// Bytes in use; memories never shrink, so this is the peak too.
    pub(crate) fn used(&self) -> u64 {
        self.used as u64
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.used.saturating_add(desired.saturating_sub(current));
        if after > self.cap {
            self.refused = true;
            return Ok(false);
        }
        self.used = after;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements)
    }

    fn instances(&self) -> usize {
        PARTS as usize
    }

    fn tables(&self) -> usize {
        PARTS as usize
    }

    fn memories(&self) -> usize {
        PARTS as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_cap() {
        let limits = Limits {
            memory: Bytes(1 << 20),
            ..Limits::default()
        };
        let mut limiter = Limiter::new(
            &limits,
            &Ceilings {
                memory: Bytes(1 << 30),
                slots: 8,
                table_elements: 10,
            },
        );
        assert!(limiter.memory_growing(0, 768 << 10, None).unwrap());
        assert!(limiter.memory_growing(0, 128 << 10, None).unwrap());
        assert!(!limiter.memory_growing(128 << 10, 512 << 10, None).unwrap());
        assert!(limiter.refused);
        assert_eq!(limiter.used(), 896 << 10);
    }
}
