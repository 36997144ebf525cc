//! How results reach the terminal: as tables and lines for people, as JSON or YAML for programs.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::{
    Error,
    args::Form,
    tame::{tame_lines, tame_printed},
};

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    form: Form,
    colours: bool,
    terminal: bool,
}

/// What a status means to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As wanted. Green.
    Good,
    /// Something still changes. Yellow.
    Busy,
    /// Somebody has to look at it. Red.
    Bad,
    /// Says nothing of good or bad. Without a colour.
    Plain,
}

impl Output {
    /// To standard output. Colours are used on a terminal alone, and not where `NO_COLOR` is set.
    pub fn new(form: Form) -> Self {
        let terminal = io::stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self {
            form,
            colours,
            terminal,
        }
    }

    /// Prints for programs if that was asked for, else what `human` makes.
    pub fn show<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&Self) -> String,
    ) -> Result<(), Error> {
        match self.form {
            Form::Html => Err(no_html()),
            Form::Table => self.text(&tame_printed(&human(self))),
            Form::Json => {
                let text = serde_json::to_string_pretty(value).map_err(|e| Error::Encode {
                    form: "JSON",
                    source: e.into(),
                })?;
                self.text(&text)
            }
            Form::Yaml => {
                let text = serde_saphyr::to_string(value).map_err(|e| Error::Encode {
                    form: "YAML",
                    source: e.into(),
                })?;
                self.text(&text)
            }
        }
    }

    /// The results of several files; that of a single one stands alone.
    pub fn show_all<T: Serialize>(
        &self,
        values: &[T],
        human: impl FnOnce(&Self) -> String,
    ) -> Result<(), Error> {
        match values {
            [one] => self.show(one, human),
            all => self.show(&all, human),
        }
    }

    /// One item of an endless list: a line for people, a JSON line or a YAML document for programs.
    pub fn item<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&Self) -> String,
    ) -> Result<(), Error> {
        match self.form {
            Form::Html => Err(no_html()),
            Form::Table => self.text(&tame_printed(&human(self))),
            Form::Json => self.text(&serde_json::to_string(value).map_err(|e| Error::Encode {
                form: "JSON",
                source: e.into(),
            })?),
            Form::Yaml => {
                let text = serde_saphyr::to_string(value).map_err(|e| Error::Encode {
                    form: "YAML",
                    source: e.into(),
                })?;
                self.text(&format!("---\n{text}"))
            }
        }
    }

    /// The form that was asked for.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether tables and lines are printed, not a form for programs.
    pub fn is_for_people(&self) -> bool {
        self.form == Form::Table
    }

    /// Text with a line end, written at once. Nothing is printed for nothing.
    pub fn text(&self, text: &str) -> Result<(), Error> {
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(())
    }

    /// Columns without lines, as other tools can read them too.
    pub fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let arrangement = if self.terminal {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        };
        table.set_content_arrangement(arrangement);
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.map(|h| self.cell(h, Mood::Plain).add_attribute(Attribute::Bold)));
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
            .to_string()
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// A cell of a table. The text's control characters are shown, not obeyed.
    pub fn cell(&self, text: impl ToString, mood: Mood) -> Cell {
        let cell = Cell::new(tame_lines(&text.to_string()));
        match mood {
            Mood::Good => cell.fg(Color::Green),
            Mood::Busy => cell.fg(Color::Yellow),
            Mood::Bad => cell.fg(Color::Red),
            Mood::Plain => cell,
        }
    }
}

fn no_html() -> Error {
    let rule = "only `assess` prints a page: use table, json or yaml".to_owned();
    Error::Argument {
        what: "--output",
        value: "html".to_owned(),
        rule,
    }
}
