//! Builds every plugin of a folder: `cargo run -p tradewind-author --example build-plugins -- FOLDER [OUT]`.

use std::{env, error::Error};

use tradewind_author::{BuildOptions, build_all};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let manifest_dir = arguments
        .next()
        .ok_or("name the folder of a plugin or of a workspace of plugins")?
        .into();
    let options = BuildOptions {
        manifest_dir,
        out: arguments.next().map(Into::into),
        verbose: true,
        ..BuildOptions::default()
    };
    for built in build_all(&options)? {
        println!(
            "{} {} {} bytes {} {}",
            built.kind,
            built.name,
            built.size,
            built.digest,
            built.wasm.display()
        );
    }
    Ok(())
}
