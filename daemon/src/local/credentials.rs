//! `credential`: what the daemon of this machine would use, looked at and stored without asking it. Values enter by standard input and
//! leave nowhere.

use std::io::{self, Read};

use serde::Serialize;
use tradewind_core::grant::CredentialSource;
use tradewind_credentials::{Secret, owners};

use super::Error;
use crate::{owner, serve};
use tradewind_cli::{
    args::{Credential, Globals},
    output::{Column, Mood, Output, Table},
    overrides,
};
use tradewind_config::{Config, Effective, environment};

/// One credential, without its value.
#[derive(Serialize)]
struct Row {
    name: String,
    source: String,
    usable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub fn run(globals: &Globals, args: Credential) -> Result<(), Error> {
    let output = Output::new(globals);
    let config = Effective::load(&overrides(globals, None), environment)?.config;
    owners::trust_anybody(config.reload.trust_any_owner);
    if !matches!(args, Credential::List) {
        owner::check(&config.data)?;
    }
    match args {
        Credential::List => {
            let rows = rows(&config)?;
            let cells = rows.iter().map(|r| {
                let mood = if r.usable { Mood::Good } else { Mood::Bad };
                let state = r.problem.as_deref().unwrap_or("usable");
                [
                    output.cell(&r.name, Mood::Plain),
                    output.cell(&r.source, Mood::Plain),
                    output.cell(state, mood),
                ]
            });
            let columns = [
                Column::new("NAME").key(),
                Column::new("SOURCE").spare(),
                Column::new("STATE").sentence(),
            ];
            let names = rows.iter().map(|r| r.name.to_string());
            let table = Table::new(columns, cells).named(names).or("no credentials");
            Ok(output.list(&rows, &table)?)
        }
        Credential::Seal { name } => {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text)?;
            let value = Secret::from(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text));
            serve::vault(&config).seal(&name, &value)?;
            Ok(output.text(&format!(
                "\"{name}\" is sealed: name it as {{ sealed = \"{name}\" }}"
            ))?)
        }
        Credential::Remove { name } => match serve::vault(&config).remove(&name)? {
            true => Ok(output.text(&format!("\"{name}\" is forgotten"))?),
            false => Err(tradewind_credentials::VaultError::Missing { name }.into()),
        },
    }
}

/// Those of the settings, then what is stored and named by none of them.
fn rows(config: &Config) -> Result<Vec<Row>, Error> {
    let credentials = serve::credentials(config);
    let stored = serve::vault(config).names()?;
    let named_by_setting = |name: &String| {
        config
            .credentials
            .values()
            .any(|s| *s == CredentialSource::Sealed(name.clone()))
    };
    let mut all: Vec<(String, CredentialSource)> = config.credentials.clone().into_iter().collect();
    all.extend(
        stored
            .into_iter()
            .filter(|n| !named_by_setting(n))
            .map(|n| (n.clone(), CredentialSource::Sealed(n))),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(tradewind_cli::Error::Runtime)?;
    let row = |(name, source): (String, CredentialSource)| {
        let problem = runtime
            .block_on(credentials.text(&name, &source))
            .err()
            .map(|failure| failure.message);
        Row {
            source: source.to_string(),
            usable: problem.is_none(),
            problem,
            name,
        }
    };
    Ok(all.into_iter().map(row).collect())
}
