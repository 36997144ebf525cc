//! What these commands print for people. Pure: values in, text out.

pub mod conformance;
pub mod simulate;

use tradewind_wasm::FileInspection;

/// A component file, without the daemon.
pub fn component(f: &FileInspection) -> String {
    let about = &f.about;
    let mut lines = vec![
        format!(
            "{} {} {}: {}",
            about.kind, about.name, about.version, about.summary
        ),
        format!("component {}, {} bytes", f.digest, f.size),
    ];
    lines.extend(
        about
            .capabilities
            .iter()
            .map(|w| format!("wants {}: {}", w.name, w.why)),
    );
    lines.push(format!(
        "imports {}",
        if f.imports.is_empty() {
            "nothing".to_owned()
        } else {
            f.imports.join(", ")
        }
    ));
    lines.push(format!("exports {}", f.exports.join(", ")));
    lines.push(format!("settings {}", about.settings_schema));
    lines.join("\n")
}
