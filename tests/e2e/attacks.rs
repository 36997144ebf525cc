//! Attacks on a running daemon, each as its attacker would make it: none may pass. `daemon/docs/security.md` names the actor of each.

mod bounds;
mod connections;
mod owners;
mod process;
mod terminal;
