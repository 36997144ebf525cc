//! `config`: the settings that `serve` would use, read here: no daemon is asked.

use super::Error;
use tradewind_cli::{
    args::{Config, ConfigCommand, Globals},
    output::{Mood, Output},
    overrides,
};
use tradewind_config::{Effective, environment};

pub fn run(globals: &Globals, args: Config) -> Result<(), Error> {
    let output = Output::new(globals.output);
    let effective = Effective::load(&overrides(globals, None), environment)?;
    match args.command.unwrap_or(ConfigCommand::Show) {
        ConfigCommand::Check => Ok(output.text("the configuration can be used")?),
        ConfigCommand::Show => {
            let rows = effective.rows().map_err(|e| tradewind_cli::Error::Encode {
                form: "TOML",
                source: e.into(),
            })?;
            Ok(output.show(&effective.config, |out| {
                let cells = rows.iter().map(|(name, value, source)| {
                    [
                        out.cell(name, Mood::Plain),
                        out.cell(value, Mood::Plain),
                        out.cell(source, Mood::Plain),
                    ]
                });
                out.table(["SETTING", "VALUE", "SOURCE"], cells)
            })?)
        }
    }
}
