//! Components that the binary carries, so that a first daemon needs no file: the policies, `process` and `simulated`. They are built by the
//! binary itself, so a first build has none; the build after them has those that lie in the folder `plugins` of the target folder, or in the
//! folder that the variable `TRADEWIND_BUILTIN` names. It knows names and bytes, and nothing of what they are.
#![warn(missing_docs)]

/// A name, and the bytes of the component.
pub type Component = (&'static str, &'static [u8]);

include!(concat!(env!("OUT_DIR"), "/built.rs"));

/// The component of this name.
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bytes)| *bytes)
}
