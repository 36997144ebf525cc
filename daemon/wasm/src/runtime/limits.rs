//! What one call may use: time, memory, bytes through the host, log lines. Knows nothing of what is called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::units::{Bytes, Millis};
use wasmtime::ResourceLimiter;

/// The `[limits]` of an instance file. All of them hold per call, except `concurrency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// From the start of the instantiation to the answer. Default 10s.
    pub deadline: Millis,
    /// Of all linear memories together. Default 64Mi.
    pub memory: Bytes,
    /// Calls at once; further ones wait. Default 32.
    pub concurrency: u32,
    /// Further lines are dropped, and so are those beyond ten times as many a minute over all calls. Default 100.
    pub log_lines: u32,
    /// Of arguments and results of host calls together, and of one lifted answer. Each host call takes 16 of them at least (the clock takes
    /// none), so that there are so many at most. Default 16Mi.
    pub host_bytes: Bytes,
    /// HTTP requests, and questions to clouds, engines and clusters; further ones are denied. Default 1000.
    pub http_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Millis::from_secs(10),
            memory: Bytes(64 << 20),
            concurrency: 32,
            log_lines: 100,
            host_bytes: Bytes(16 << 20),
            http_requests: 1000,
        }
    }
}

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

impl Limits {
    /// The first limit that this host can't keep, as a sentence.
    pub(crate) fn fault(&self, ceilings: &Ceilings) -> Option<String> {
        if self.deadline.0 == 0 || self.deadline > LONGEST {
            return Some(format!(
                "limits.deadline is \"{}\": use 1ms to {LONGEST}",
                self.deadline
            ));
        }
        if self.memory.0 < 64 << 10 || self.memory > ceilings.memory {
            return Some(format!(
                "limits.memory is \"{}\": use 64Ki to {}",
                self.memory, ceilings.memory
            ));
        }
        if self.concurrency == 0 || self.concurrency > ceilings.slots {
            return Some(format!(
                "limits.concurrency is \"{}\": use 1 to {}",
                self.concurrency, ceilings.slots
            ));
        }
        if self.host_bytes.0 == 0 || self.host_bytes.0 > 1 << 30 {
            return Some(format!(
                "limits.host-bytes is \"{}\": use 1 to 1Gi",
                self.host_bytes
            ));
        }
        None
    }
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
