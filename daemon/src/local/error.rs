//! Why a command that needs no daemon failed, and with which exit code.

use std::{io, path::PathBuf};

use tradewind_cli::Local;

use crate::owner::NotOurs;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As any command's.
    #[error(transparent)]
    Command(#[from] tradewind_cli::Error),
    #[error(transparent)]
    Serve(Box<crate::serve::Error>),
    #[error(transparent)]
    Dev(#[from] super::dev::Trouble),
    #[error(transparent)]
    Init(#[from] super::init::Error),
    #[error(transparent)]
    Vault(#[from] tradewind_credentials::VaultError),
    #[error(transparent)]
    Backup(Box<tradewind_backup::Error>),
    /// What needs somebody's word, with nobody at a terminal to give it.
    #[error(
        "nothing was put back: what would come into force is listed above, and nobody is there to ask"
    )]
    Unasked,
    #[error("nothing was put back")]
    Declined,
    #[error("the answer can't be read")]
    Answer(#[source] io::Error),
    #[error(transparent)]
    Author(#[from] tradewind_author::Error),
    #[error("\"{}\" is no plugin that can be used", path.display())]
    Inspect {
        path: PathBuf,
        source: tradewind_wasm::InspectError,
    },
    /// A file that a simulation or a test works with.
    #[error("\"{}\" can't be used", path.display())]
    Input {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(transparent)]
    Conformance(#[from] tradewind_conformance::Error),
    #[error("the simulation stopped")]
    Simulation(#[from] tradewind_simulate::Error),
    #[error("the state can't be opened")]
    Open(#[source] tradewind_store::Error),
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    #[error(transparent)]
    Identity(#[from] tradewind_http::identity::Error),
}

impl From<tradewind_config::Error> for Error {
    fn from(e: tradewind_config::Error) -> Self {
        Self::Command(e.into())
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Self::Command(e.into())
    }
}

impl From<Error> for tradewind_cli::Error {
    fn from(error: Error) -> Self {
        let exit_code = match &error {
            Error::Conformance(_) | Error::Unasked => tradewind_cli::args::USAGE,
            Error::Vault(tradewind_credentials::VaultError::Missing { .. }) => 3,
            _ => 1,
        };
        let remedy = match &error {
            Error::Backup(e) => e.remedy().map(str::to_owned),
            Error::Dev(e) => e.remedy().map(str::to_owned),
            Error::Init(e) => Some(e.remedy().to_owned()),
            Error::Unasked => Some("read the list, then say it with --yes".to_owned()),
            Error::Serve(e) => match e.as_ref() {
                crate::serve::Error::Second(e) => e.remedy().map(str::to_owned),
                crate::serve::Error::NotOurs(e) => Some(e.remedy()),
                _ => None,
            },
            Error::Open(_) => Some("stop the daemon first".to_owned()),
            Error::NotOurs(e) => Some(e.remedy()),
            _ => None,
        };
        let may_be_unheard = matches!(error, Error::Serve(_));
        match error {
            Error::Command(e) => e,
            error => Self::Local(Local {
                error: Box::new(error),
                exit_code,
                remedy,
                may_be_unheard,
            }),
        }
    }
}
