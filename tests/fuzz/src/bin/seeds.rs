//! Writes into a folder what the fuzzer begins with: a folder of inputs for each target, and the words of manifests.

use std::{fs, io, path::Path};

use tradewind_fuzz::seeds;

fn main() -> io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = Path::new(&folder);
    for (target, inputs) in [
        (
            "manifest",
            [seeds::manifests("good")?, seeds::manifests("bad")?].concat(),
        ),
        ("record", vec![seeds::record()]),
        ("answer", Vec::new()),
    ] {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (i, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{i}")), input)?;
        }
    }
    // As libFuzzer reads it: a text in quotation marks on each line.
    let words: String = seeds::words()
        .iter()
        .map(|word| format!("{word:?}\n"))
        .collect();
    fs::write(folder.join("words"), words)
}
