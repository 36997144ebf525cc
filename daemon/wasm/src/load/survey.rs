//! A look at a component before anything is compiled: what it imports and exports, and how large it is. The time and the memory that it takes
//! grow with the number of bytes and no faster; it ends at the first bound that is passed. Function bodies are walked, not validated: the
//! compiler does that.

use wasmparser::{
    ComponentType, ComponentTypeDeclaration, FunctionBody, Instance, InstanceTypeDeclaration,
    MemoryType, Operator, Parser, Payload, TableType, TypeRef, ValidPayload, Validator,
    WasmFeatures,
    component_types::{ComponentEntityType, ComponentItem},
    types::{Types, TypesRef},
};

use super::bounds::{self, Figures};
use crate::runtime::limits::Ceilings;
use tradewind_core::settings::CompileBounds;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    #[error(transparent)]
    Bounds(#[from] bounds::Error),
}

/// The names of the interfaces that a component imports functions from, and those it exports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) figures: Figures,
}

/// How often a function is looked at while it is walked: a long one must not be walked to its end when it has passed a bound.
const STRIDE: u32 = 1 << 12;
const PAGE: u64 = 1 << 16;

struct Survey<'a> {
    bounds: &'a CompileBounds,
    ceilings: &'a Ceilings,
    figures: Figures,
    imports: Vec<String>,
    exports: Vec<String>,
}

/// Looks a component over.
///
/// # Errors
/// It is malformed, or larger than it may be.
pub(crate) fn survey(
    bytes: &[u8],
    bounds: &CompileBounds,
    ceilings: &Ceilings,
) -> Result<Outline, Error> {
    let mut survey = Survey {
        bounds,
        ceilings,
        figures: Figures::default(),
        imports: Vec::new(),
        exports: Vec::new(),
    };
    // Whatever the engine may understand: what it does not, it refuses itself.
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut types = None;
    let mut depth = 0u64;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match &payload {
            Payload::ModuleSection { .. } => {
                depth += 1;
                survey.figures.modules += 1;
            }
            Payload::ComponentSection { .. } => {
                depth += 1;
                survey.figures.modules += 1;
                survey.figures.depth = survey.figures.depth.max(depth);
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => survey.count(&payload, depth == 0)?,
        }
        // Before the validator looks at it: it allocates as much as a section promises.
        bounds::check(bounds, &survey.figures)?;
        if let ValidPayload::End(of_component) = validator.payload(&payload)? {
            types = Some(of_component);
        }
    }
    let Survey {
        mut imports,
        exports,
        figures,
        ..
    } = survey;
    imports.retain(|name| {
        types
            .as_ref()
            .is_none_or(|types| has_functions(types, name))
    });
    Ok(Outline {
        imports,
        exports,
        figures,
    })
}

impl Survey<'_> {
    fn count(&mut self, payload: &Payload<'_>, outermost: bool) -> Result<(), Error> {
        let figures = &mut self.figures;
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    figures.types += group?.types().len() as u64;
                    bounds::check(self.bounds, figures)?;
                }
            }
            Payload::CoreTypeSection(section) => figures.types += u64::from(section.count()),
            Payload::ComponentTypeSection(section) => {
                for declared in section.clone() {
                    figures.types += declared_types(&declared?);
                    bounds::check(self.bounds, figures)?;
                }
            }
            Payload::FunctionSection(section) => figures.functions += u64::from(section.count()),
            Payload::ComponentCanonicalSection(section) => {
                figures.functions += u64::from(section.count())
            }
            Payload::CodeSectionEntry(body) => self.body(body)?,
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    // A list of exports is an instance in name only.
                    figures.instances +=
                        u64::from(matches!(instance?, Instance::Instantiate { .. }));
                }
            }
            Payload::ComponentInstanceSection(section) => {
                figures.instances += u64::from(section.count())
            }
            Payload::MemorySection(section) => section
                .clone()
                .into_iter()
                .try_for_each(|memory| self.memory(&memory?))?,
            Payload::TableSection(section) => section
                .clone()
                .into_iter()
                .try_for_each(|table| self.table(&table?.ty))?,
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    match import?.ty {
                        TypeRef::Memory(memory) => self.memory(&memory)?,
                        TypeRef::Table(table) => self.table(&table)?,
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) if outermost => {
                for import in section.clone() {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if outermost => {
                for export in section.clone() {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn memory(&self, memory: &MemoryType) -> Result<(), Error> {
        if memory.memory64 {
            return Err(bounds::Error::Wide { what: "memory" }.into());
        }
        let page = memory
            .page_size_log2
            .map_or(PAGE, |log2| 1u64.checked_shl(log2).unwrap_or(u64::MAX));
        let found = tradewind_core::units::Bytes(memory.initial.saturating_mul(page));
        let most = self.ceilings.memory;
        if found > most {
            Err(bounds::Error::Memory { found, most }.into())
        } else {
            Ok(())
        }
    }

    fn table(&self, table: &TableType) -> Result<(), Error> {
        if table.table64 {
            return Err(bounds::Error::Wide { what: "table" }.into());
        }
        let most = self.ceilings.table_elements as u64;
        if table.initial > most {
            return Err(bounds::Error::Room {
                what: "elements in one table",
                found: table.initial,
                most,
            }
            .into());
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let size = body.range().len() as u64;
        self.figures.code = self.figures.code.saturating_add(size);
        self.figures.function = self.figures.function.max(size);
        let mut locals = 0u64;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(u64::from(group?.0));
        }
        self.figures.locals = self.figures.locals.max(locals);
        bounds::check(self.bounds, &self.figures)?;

        // Which of the open blocks are loops.
        let (mut open, mut loops, mut walked) = (Vec::new(), 0u64, 0u32);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            match reader.read()? {
                Operator::Loop { .. } => {
                    open.push(true);
                    loops += 1;
                }
                Operator::Block { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. }
                | Operator::Try { .. } => open.push(false),
                Operator::End | Operator::Delegate { .. } => {
                    loops -= u64::from(open.pop() == Some(true))
                }
                _ => continue,
            }
            self.figures.nesting = self.figures.nesting.max(open.len() as u64);
            self.figures.loops = self.figures.loops.max(loops);
            walked += 1;
            if walked.is_multiple_of(STRIDE) {
                bounds::check(self.bounds, &self.figures)?;
            }
        }
        Ok(())
    }
}

/// A type, and those that are declared within it.
fn declared_types(declared: &ComponentType<'_>) -> u64 {
    let of_component = |declaration: &ComponentTypeDeclaration<'_>| match declaration {
        ComponentTypeDeclaration::Type(ty) => declared_types(ty),
        _ => 1,
    };
    let of_instance = |declaration: &InstanceTypeDeclaration<'_>| match declaration {
        InstanceTypeDeclaration::Type(ty) => declared_types(ty),
        _ => 1,
    };
    1 + match declared {
        ComponentType::Component(declarations) => {
            declarations.iter().map(of_component).sum::<u64>()
        }
        ComponentType::Instance(declarations) => declarations.iter().map(of_instance).sum::<u64>(),
        _ => 0,
    }
}

/// An interface of types alone asks for nothing.
fn has_functions(types: &Types, import: &str) -> bool {
    let types: TypesRef<'_> = types.as_ref();
    match types.component_item_for_import(import) {
        Some(ComponentItem {
            ty: ComponentEntityType::Instance(id),
            ..
        }) => {
            let is_more =
                |item: &ComponentItem| !matches!(item.ty, ComponentEntityType::Type { .. });
            types
                .get(*id)
                .is_none_or(|instance| instance.exports.values().any(is_more))
        }
        Some(ComponentItem {
            ty: ComponentEntityType::Type { .. },
            ..
        }) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
