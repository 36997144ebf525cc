//! Texts that would steer the terminal of whoever looks at them.

use anyhow::{Result, ensure};
use serde_json::json;
use tradewind_kit::Daemon;

/// A title, a cleared screen, a colour, and marks that turn what follows round or can't be seen.
const STEERS: &str = "\u{1b}]0;T\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{200b}";

#[tokio::test]
async fn no_text_steers_the_terminal_of_who_looks_at_it() -> Result<()> {
    let daemon = Daemon::local()?;
    let spec = json!({"jobs": {"j": {"command": ["sh", "-c", format!("printf '{STEERS}end\\n'; exit 3"), STEERS]}}});
    let manifest = json!({"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": "evil"}, "spec": spec});
    let file = daemon.file("evil.json", &manifest.to_string())?;
    let strange = daemon.file(
        "strange.json",
        &manifest
            .to_string()
            .replace("\"jobs\"", &format!("\"{}\"", STEERS.escape_unicode())),
    )?;
    let mut shown = String::new();
    for arguments in [
        &["apply", "-f", &file][..],
        &["apply", "-f", &strange],
        &["apply", "-f", STEERS],
        &["plan", "-f", &file],
        &["describe", "evil"],
        &["describe", STEERS],
        &["get"],
        &["logs", "evil"],
        &["events", "evil"],
        &["explain", "evil"],
    ] {
        let output = daemon.cli(arguments)?;
        for text in
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        {
            let obeyed =
                |c: char| (c.is_control() && !"\n\t".contains(c)) || "\u{202e}\u{200b}".contains(c);
            ensure!(!text.contains(obeyed), "{arguments:?} prints {text:?}");
            shown.push_str(&text);
        }
    }
    ensure!(
        shown.matches("\\u{202e}").count() >= 3,
        "it is shown: {shown}"
    );
    Ok(())
}
