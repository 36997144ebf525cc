//! What every room uses: files that are the daemon's own, text of strangers made harmless, what tells versions apart. It must not know plugins,
//! wasmtime or any other room.

pub(crate) mod files;
pub(crate) mod pair;
pub(crate) mod text;
