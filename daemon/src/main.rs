//! The `tradewind` binary: `tradewind serve` is the daemon, the other commands are its clients.
#![allow(
    unreachable_pub,
    reason = "a binary has no outside: pub means that other modules of it may use it"
)]

mod clouds;
mod installation;
mod local;
mod owner;
mod serve;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Several crates speak TLS and would each choose their own cryptography. An error means that it is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tradewind_cli::main(local::run)
}
