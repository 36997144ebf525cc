//! `config`: the settings that `serve` would use, read here: no daemon is asked.

use super::Error;
use tradewind_cli::{
    args::{Config, ConfigCommand, Globals},
    output::{Column, Mood, Output, Table},
    overrides,
};
use tradewind_config::{Effective, environment};

pub fn run(globals: &Globals, args: Config) -> Result<(), Error> {
    let output = Output::new(globals);
    let effective = Effective::load(&overrides(globals, None), environment)?;
    match args.command.unwrap_or(ConfigCommand::Show) {
        ConfigCommand::Check => Ok(output.text("the configuration can be used")?),
        ConfigCommand::Show => {
            let rows = effective.rows().map_err(|e| tradewind_cli::Error::Encode {
                form: "TOML",
                source: e.into(),
            })?;
            let cells = rows.iter().map(|(name, value, source)| {
                [
                    output.cell(name, Mood::Plain),
                    output.cell(value, Mood::Plain),
                    output.cell(source, Mood::Plain),
                ]
            });
            let columns = [
                Column::new("SETTING").key(),
                Column::new("VALUE").sentence(),
                Column::new("SOURCE").key(),
            ];
            let names = rows.iter().map(|(name, ..)| name.to_string());
            let table = Table::new(columns, cells).named(names);
            Ok(output.list(&effective.config, &table)?)
        }
    }
}
