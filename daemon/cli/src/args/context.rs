//! `login`, `logout` and `context …`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Login {
    /// The daemon's URL, such as `https://tradewind.example.com:7180`
    pub url: String,
    /// The name of the context. Default: the host of the URL
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct Logout {
    /// The context. Default: the current one
    #[arg(value_name = "CONTEXT")]
    pub name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List the contexts. The current one has a star
    List,
    /// Make a context the current one. `local` is this machine's daemon
    Use {
        /// The context
        #[arg(value_name = "CONTEXT")]
        name: String,
    },
    /// Show a context
    Show {
        /// The context. Default: the current one
        #[arg(value_name = "CONTEXT")]
        name: Option<String>,
    },
    /// Give a context another name
    Rename {
        /// The context
        #[arg(value_name = "CONTEXT")]
        from: String,
        /// Its new name
        #[arg(value_name = "NEW")]
        to: String,
    },
    /// Set the namespace of commands that name none
    SetNamespace {
        /// The namespace
        #[arg(
            value_name = "NAMESPACE",
            required_unless_present = "unset",
            conflicts_with = "unset"
        )]
        value: Option<String>,
        /// Have no such namespace any more
        #[arg(long)]
        unset: bool,
        /// The context. Default: the current one
        #[arg(long = "of", value_name = "CONTEXT")]
        name: Option<String>,
    },
    /// Remove a context, and its token
    Remove {
        /// The context
        #[arg(value_name = "CONTEXT")]
        name: String,
    },
}
