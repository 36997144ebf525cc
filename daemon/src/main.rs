//! The `tradewind` binary: `tradewind serve` is the daemon, the other commands are its clients.
#![allow(
    unreachable_pub,
    reason = "a binary has no outside: pub means that other modules of it may use it"
)]

mod backup;
mod cli;
mod client;
mod config;
mod http;
mod identity;
mod installation;
mod problem;
mod readiness;
mod report;
mod runtime_file;
mod serve;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Several crates speak TLS and would each choose their own cryptography. An error means that it is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::main()
}
