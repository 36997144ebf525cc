//! Attacks on a running daemon, each as its reproduction: none of them passes.

mod connections;
