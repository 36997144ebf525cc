//! The plugin host against real components in a real folder.

mod folder;
mod hostile;
mod reload;
mod support;
