//! Attacks on a running daemon, each as its attacker would make it: none may pass. `daemon/docs/security.md` names the actor of each.

mod answers;
mod bounds;
mod certificate;
mod connections;
mod contract;
mod guests;
mod heads;
mod owners;
mod process;
mod spaces;
mod terminal;
