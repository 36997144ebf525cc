//! The cloud as a program: `fixture-cloud [ADDRESS] [CONFIG.json]`. Prints where it is, and runs until it is stopped.

use std::{error::Error, io::Write};

use tradewind_fixture_cloud::{Config, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let config = match arguments.next() {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => Config::default(),
    };
    let server = Server::start_on(config, &address)?;
    writeln!(std::io::stdout(), "{}", server.address)?;
    loop {
        std::thread::park();
    }
}
