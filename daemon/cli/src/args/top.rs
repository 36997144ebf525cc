//! `top`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Top {
    /// The deployment whose replicas are shown. Default: every deployment as a whole
    pub name: Option<String>,
    /// What the largest comes first of
    #[arg(long, value_enum, default_value_t = TopSort::Cpu)]
    pub sort: TopSort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopSort {
    Cpu,
    Memory,
    /// By name instead
    Name,
}
