//! What a task asks for and what it is limited to.

use super::{Found, task};
use tradewind_core::{
    field::Path,
    manifest::{GpuSpec, LimitsSpec, ResourcesSpec},
    units::{Bytes, MilliCpu},
};

const MAX_CPU: MilliCpu = MilliCpu(4_096_000);
const MIN_MEMORY: Bytes = Bytes(1 << 20);
const MAX_MEMORY: Bytes = Bytes(64 << 40);
pub(super) const MAX_DISK: Bytes = Bytes(1 << 50);
const MAX_GPUS: u32 = 1_024;

pub(super) fn resources(found: &mut Found, spec: &ResourcesSpec, at: &Path) {
    cores(found, spec.cpu, at);
    size(found, spec.memory, at);
    space(found, spec.disk, at);
    let (count, kind, path) = match &spec.gpu {
        None => return,
        Some(GpuSpec::Count(count)) => (*count, "", at.clone().key("gpu")),
        Some(GpuSpec::Long(long)) => (
            long.count,
            long.kind.as_str(),
            at.clone().key("gpu").key("count"),
        ),
    };
    found.require(
        count <= MAX_GPUS,
        || path,
        || format!("{count} accelerators are too many: write 0 to {MAX_GPUS}"),
    );
    found.require(
        kind.is_empty() || task::is_name(kind),
        || at.clone().key("gpu").key("kind"),
        || task::not_a_name("kind of accelerator", kind),
    );
}

fn cores(found: &mut Found, cpu: MilliCpu, at: &Path) {
    found.require(
        (MilliCpu(1)..=MAX_CPU).contains(&cpu),
        || at.clone().key("cpu"),
        || format!("{cpu} is out of range: write more than 0 and at most {MAX_CPU} cores, such as 500m or 2"),
    );
}

fn size(found: &mut Found, memory: Bytes, at: &Path) {
    found.require(
        (MIN_MEMORY..=MAX_MEMORY).contains(&memory),
        || at.clone().key("memory"),
        || {
            let hint = if memory < MIN_MEMORY && memory.0 > 0 {
                " (a number without a unit counts bytes)"
            } else {
                ""
            };
            format!(
                "{memory} is out of range: write {MIN_MEMORY} to {MAX_MEMORY}, such as 512Mi{hint}"
            )
        },
    );
}

fn space(found: &mut Found, disk: Option<Bytes>, at: &Path) {
    found.require(
        disk.is_none_or(|d| d <= MAX_DISK),
        || at.clone().key("disk"),
        || {
            format!(
                "{} is out of range: write at most 1Pi",
                disk.unwrap_or_default()
            )
        },
    );
}

pub(super) fn limits(found: &mut Found, limits: &LimitsSpec, needs: &ResourcesSpec, at: &Path) {
    let below = |what: &str, limit: String, need: String| {
        format!(
            "a limit of {limit} is below the {need} that \"resources.{what}\" asks for: raise the limit or lower the resource"
        )
    };
    if let Some(cpu) = limits.cpu {
        cores(found, cpu, at);
        found.require(
            cpu >= needs.cpu,
            || at.clone().key("cpu"),
            || below("cpu", cpu.to_string(), needs.cpu.to_string()),
        );
    }
    if let Some(memory) = limits.memory {
        size(found, memory, at);
        found.require(
            memory >= needs.memory,
            || at.clone().key("memory"),
            || below("memory", memory.to_string(), needs.memory.to_string()),
        );
    }
    if let Some(disk) = limits.disk {
        let need = needs.disk.unwrap_or_default();
        space(found, Some(disk), at);
        found.require(
            disk >= need,
            || at.clone().key("disk"),
            || below("disk", disk.to_string(), need.to_string()),
        );
    }
}
