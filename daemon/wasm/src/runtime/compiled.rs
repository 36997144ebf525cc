//! A compiled component, what it imports and exports, and how much of the pool a call of it takes. Knows no contract.

use wasmtime::component::{Component, types::ComponentItem};

use super::engine::Engine;

/// Machine code, freed with its last version.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    /// Memories or tables, whichever are more: the pool's slots that a call takes.
    pub(crate) weight: u32,
}

impl Compiled {
    pub(crate) fn of(engine: &Engine, component: Component) -> Self {
        let (imports, exports) = interfaces(&engine.wasmtime, &component);
        let needs = component.resources_required();
        let weight = needs.map_or(1, |n| n.num_memories.max(n.num_tables).max(1));
        Self {
            component,
            imports,
            exports,
            weight,
        }
    }
}

/// The names of the interfaces that a component imports functions from, and those it exports.
fn interfaces(engine: &wasmtime::Engine, component: &Component) -> (Vec<String>, Vec<String>) {
    let component_type = component.component_type();
    let imports = component_type
        .imports(engine)
        .filter(|(_, item)| has_functions(engine, &item.ty))
        .map(|(name, _)| name.to_owned());
    let exports = component_type
        .exports(engine)
        .map(|(name, _)| name.to_owned());
    (imports.collect(), exports.collect())
}

/// An interface of types alone asks for nothing.
fn has_functions(engine: &wasmtime::Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::ComponentInstance(instance) => instance
            .exports(engine)
            .any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_))),
        ComponentItem::Type(_) => false,
        _ => true,
    }
}
