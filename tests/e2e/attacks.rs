//! Attacks on a running daemon, each as its attacker would make it: none may pass. `daemon/docs/security.md` names the actor of each.

mod answers;
mod certificate;
mod connections;
mod guests;
mod contract;
mod heads;
mod process;
mod spaces;
mod terminal;
