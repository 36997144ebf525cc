//! One wasmtime engine: its pool, its clock, how much it holds at once. Knows nothing of plugins, nor where compiled code comes from.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tradewind_core::{units::Bytes, vital};
use wasmtime::{
    Cache, Config, Enabled, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
};

use super::{
    coredump::CoreDumps,
    limits::{Ceilings, PARTS},
};
use crate::base::text::tame;

/// How long a guest computes before it yields to others.
const TICK: Duration = Duration::from_millis(10);
/// Memory of a slot that stays resident between calls; refilling it beats mapping it anew.
const RESIDENT: usize = 16 << 20;
/// The same where the kernel can't tell which pages were written: then all of it is cleared after every call.
const RESIDENT_BLIND: usize = 2 << 20;
/// Slots kept resident while unused.
const WARM: u32 = 16;
/// Python needs about 50,000.
const TABLE_ELEMENTS: usize = 100_000;

/// How much the engine may hold at once, and what it keeps.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) memory_ceiling: Bytes,
    pub(crate) slots: u32,
    /// Where core dumps of plugins that trapped go, and how many are kept; none: none are written.
    pub(crate) core_dumps: Option<(PathBuf, usize)>,
    /// None: compiled code is not kept.
    pub(crate) cache: Option<Cache>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the folder for core dumps \"{path}\" can't be used")]
    CoreDumps {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the component engine can't be started")]
    Engine { source: anyhow::Error },
    #[error("the engine's clock thread can't be started")]
    Ticker { source: std::io::Error },
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    /// A call takes as many as its component has memories (or tables), so the pool can't run out.
    pub(super) slots: Arc<Semaphore>,
    pub(super) ceilings: Ceilings,
    pub(super) core_dumps: Option<Arc<CoreDumps>>,
}

impl Engine {
    /// # Errors
    /// When the folder for core dumps is unusable or the pool can't be reserved.
    pub(crate) fn start(options: Options) -> Result<Self, Error> {
        let dumps = |(folder, keep): &(PathBuf, usize)| {
            CoreDumps::open(folder, *keep)
                .map(Arc::new)
                .map_err(|source| Error::CoreDumps {
                    path: folder.clone(),
                    source,
                })
        };
        let core_dumps = options.core_dumps.as_ref().map(dumps).transpose()?;
        let (memory, slots) = (options.memory_ceiling, options.slots);
        let wasmtime = wasmtime::Engine::new(&config(options))
            .map_err(|e| Error::Engine { source: e.into() })?;
        let weak = wasmtime.weak();
        std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || {
                let _guard = vital::guard("plugin clock");
                tick(&weak);
            })
            .map_err(|source| Error::Ticker { source })?;
        Ok(Self {
            wasmtime,
            slots: Arc::new(Semaphore::new(slots as usize)),
            ceilings: Ceilings {
                memory,
                slots,
                table_elements: TABLE_ELEMENTS,
            },
            core_dumps,
        })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(crate) fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }

    /// Whether code is made for core dumps.
    pub(crate) fn dumps_core(&self) -> bool {
        self.core_dumps.is_some()
    }
}

/// Ends with the engine.
fn tick(engine: &EngineWeak) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        std::thread::sleep(TICK);
    }
}

fn config(options: Options) -> Config {
    let slots = options.slots;
    let resident = if PoolingAllocationConfig::is_pagemap_scan_available() {
        RESIDENT
    } else {
        RESIDENT_BLIND
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_memories(slots)
        .total_tables(slots)
        .total_core_instances(slots.saturating_mul(PARTS))
        .max_core_instances_per_component(PARTS)
        .max_memories_per_component(PARTS)
        .max_tables_per_component(PARTS)
        .max_memories_per_module(8)
        .max_tables_per_module(8)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(options.memory_ceiling.0).unwrap_or(usize::MAX))
        .max_unused_warm_slots(WARM)
        .linear_memory_keep_resident(resident)
        // Only pages that a call has written are cleared after it, where the kernel can tell them (Linux 6.7 and newer).
        .pagemap_scan(Enabled::Auto)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10);

    let mut config = compiler_config(options.core_dumps.is_some(), options.cache);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// All that decides what code is made. Where memory comes from does not: a process that only compiles reserves none.
pub(crate) fn compiler_config(core_dumps: bool, cache: Option<Cache>) -> Config {
    let mut config = Config::new();
    config
        .cache(cache)
        .epoch_interruption(true)
        .coredump_on_trap(core_dumps)
        .wasm_memory64(false)
        .max_wasm_stack(1 << 20)
        .async_stack_size(2 << 20)
        // Decisions replay bit for bit.
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    config
}

/// The whole chain in one line: the outermost alone says too little.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let parts: Vec<String> = error.chain().map(|e| tame(&e.to_string())).collect();
    parts.join(": ")
}
