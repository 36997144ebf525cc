//! How results reach the terminal: as tables and lines for people, in one of several forms for programs.

mod clock;
mod money;
mod table;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;
use tradewind_core::units::{Instant, MicroUsd, Millis};

use super::{
    Error,
    args::{Form, Globals},
    tame::{tame_lines, tame_printed},
};
use clock::Clock;
use table::Looks;

pub(crate) use clock::{short, span};
pub(crate) use money::{money, signed};
pub use table::{Cell, Column, Sort, Table};
pub(crate) use table::{cut, fold};

/// Where and how to print.
#[derive(Debug, Clone)]
pub struct Output {
    form: Form,
    colours: bool,
    /// The size of the terminal as it is now, if standard output is one.
    size: fn() -> Option<Size>,
    clock: Clock,
    /// The namespace that was named: names are told without it.
    namespace: Option<String>,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub columns: usize,
    pub lines: usize,
}

/// Of a terminal that does not say its size.
const USUAL: Size = Size {
    columns: 80,
    lines: 24,
};

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

impl Mood {
    /// The parameter that sets its colour (ECMA-48, "SGR").
    fn colour(self) -> Option<&'static str> {
        match self {
            Self::Good => Some("32"),
            Self::Busy => Some("33"),
            Self::Bad => Some("31"),
            Self::Plain => None,
        }
    }
}

impl Output {
    /// To standard output. Colours are used on a terminal alone, and not where `NO_COLOR` is set.
    pub fn new(globals: &Globals) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            form: globals.output.clone(),
            colours: terminal && !plain,
            size: if terminal { || Some(size()) } else { || None },
            clock: Clock::new(globals.utc),
            namespace: globals.namespace.clone(),
        }
    }

    /// What is written to a file for people: every column, in UTC, without colours.
    pub(crate) fn for_files() -> Self {
        Self::of_size(Form::Table, || None)
    }

    /// As it is at a terminal of that size, without colours, in UTC.
    pub(crate) fn of_size(form: Form, size: fn() -> Option<Size>) -> Self {
        Self {
            form,
            colours: false,
            size,
            clock: Clock::new(true),
            namespace: None,
        }
    }

    /// Prints for programs if that was asked for, else what `human` makes.
    pub fn show<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&Self) -> String,
    ) -> Result<(), Error> {
        match &self.form {
            Form::Table | Form::Wide => self.text(&tame_printed(&human(self))),
            Form::Json => self.text(&json(serde_json::to_string_pretty(value))?),
            Form::Yaml => self.text(&yaml(value)?),
            Form::JsonPath(path) => self.text(&tame_printed(&path.lines(&tree(value)?))),
            Form::Name => {
                let names = self.names(&tree(value)?);
                if names.is_empty() {
                    return Err(self.unfit("the result is about nothing that has a name"));
                }
                self.text(&tame_printed(&names.join("\n")))
            }
            Form::Csv => Err(self.unfit("only lists are printed so: use table, json or yaml")),
            Form::Html => Err(self.unfit("only `assess` prints a page: use table, json or yaml")),
        }
    }

    /// A list: as a table, or in a form for programs.
    pub fn list<T: Serialize>(&self, value: &T, table: &Table) -> Result<(), Error> {
        match &self.form {
            Form::Csv => {
                let mut out = io::stdout().lock();
                out.write_all(table.csv().as_bytes())?;
                Ok(out.flush()?)
            }
            Form::Name => self.text(&table.names().join("\n")),
            _ => self.show(value, |out| out.listing(table)),
        }
    }

    /// The table with what is said around it.
    pub(crate) fn listing(&self, table: &Table) -> String {
        let mut parts = vec![if table.is_empty() {
            table.empty.to_owned()
        } else {
            self.draw(table)
        }];
        parts.extend(table.summary.clone().filter(|_| self.terminal().is_some()));
        if !table.notes.is_empty() {
            parts.push(table.notes.clone());
        }
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
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
        match &self.form {
            Form::Json => self.text(&json(serde_json::to_string(value))?),
            Form::Yaml => self.text(&format!("---\n{}", yaml(value)?)),
            _ => self.show(value, human),
        }
    }

    /// The form that was asked for.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Whether tables and lines are printed, not a form for programs.
    pub fn is_for_people(&self) -> bool {
        self.form.is_for_people()
    }

    /// The size of the terminal as it is now, if standard output is one.
    pub(crate) fn terminal(&self) -> Option<Size> {
        (self.size)()
    }

    /// What is JSON whatever the form: a schema.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Error::Encode {
            form: "JSON",
            source: e.into(),
        })?;
        self.text(&text)
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

    /// A line in the colour of its meaning. The text's control characters are shown, not obeyed.
    pub fn paint(&self, text: &str, mood: Mood) -> String {
        let text = tame_lines(text);
        match mood.colour().filter(|_| self.colours) {
            Some(colour) => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
            None => text,
        }
    }

    /// Columns without lines, as other tools can read them too.
    pub fn table<const N: usize>(
        &self,
        columns: [impl Into<Column>; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) -> String {
        self.draw(&Table::new(columns, rows))
    }

    /// A table as text.
    pub(crate) fn draw(&self, table: &Table) -> String {
        self.rows(table).join("\n")
    }

    /// The header of a table and its rows.
    pub(crate) fn rows(&self, table: &Table) -> Vec<String> {
        table.lines(Looks {
            width: self.terminal().map(|size| size.columns),
            colours: self.colours,
            all: self.form == Form::Wide,
        })
    }

    /// A cell of a table. The text's control characters are shown, not obeyed.
    pub fn cell(&self, text: impl ToString, mood: Mood) -> Cell {
        Cell::new(&text.to_string(), mood)
    }

    /// A cell with a number, with at most four decimals.
    pub fn number(&self, value: f64) -> Cell {
        Cell::new(&number(value), Mood::Plain).key(value)
    }

    /// A cell with a count.
    pub fn count(&self, value: u64) -> Cell {
        Cell::new(&value.to_string(), Mood::Plain).key(value as f64)
    }

    /// A cell with an amount of money.
    pub fn money(&self, amount: MicroUsd) -> Cell {
        Cell::new(&money(amount), Mood::Plain).key(amount.0 as f64)
    }

    /// A cell with what something costs in an hour.
    pub fn rate(&self, amount: MicroUsd) -> Cell {
        Cell::new(&format!("{}/h", money(amount)), Mood::Plain).key(amount.0 as f64)
    }

    /// A cell with how long ago something was. Where every column is asked for, and in CSV: when.
    pub fn ago(&self, at: Instant) -> Cell {
        Cell::new(&self.clock.ago(at), Mood::Plain)
            .exact(self.clock.at(at))
            .key(at.0 as f64)
    }

    /// A cell with how long it is until something. Where every column is asked for, and in CSV: when.
    pub fn due(&self, at: Instant) -> Cell {
        Cell::new(&self.clock.due(at), Mood::Plain)
            .exact(self.clock.at(at))
            .key(at.0 as f64)
    }

    /// A cell with the age of something that began then. The youngest has the least.
    pub fn age(&self, since: Instant) -> Cell {
        let age = self.clock.age(since);
        Cell::new(&short(age), Mood::Plain)
            .exact(self.clock.at(since))
            .key(age.0 as f64)
    }

    /// A cell with a length of time.
    pub fn span(&self, length: Millis) -> Cell {
        Cell::new(&span(length), Mood::Plain).key(length.0 as f64)
    }

    /// A point in time: in the zone of who reads, to the second.
    pub fn at(&self, at: Instant) -> String {
        self.clock.at(at)
    }

    /// How long ago something was.
    pub(crate) fn since(&self, at: Instant) -> String {
        self.clock.ago(at)
    }

    /// The name of something in a namespace, as `-o name` prints it.
    pub fn name(
        &self,
        namespace: &(impl std::fmt::Display + ?Sized),
        name: &(impl std::fmt::Display + ?Sized),
    ) -> String {
        match self.namespace {
            Some(_) => name.to_string(),
            None => format!("{namespace}/{name}"),
        }
    }

    /// Whether the namespace has to be told: these things are not all in the one that commands use without being told another.
    pub(crate) fn tells_namespace<'a>(
        &self,
        mut namespaces: impl Iterator<Item = &'a str>,
    ) -> bool {
        let usual = self.namespace.as_deref().unwrap_or("default");
        !namespaces.all(|namespace| namespace == usual)
    }

    /// The names in a result: of its items, or its own.
    fn names(&self, value: &Value) -> Vec<String> {
        match value {
            Value::Array(items) => items.iter().flat_map(|item| self.names(item)).collect(),
            Value::Object(fields) => {
                if let Some(Value::Array(items)) = fields.get("items").or(fields.get("files")) {
                    return items.iter().flat_map(|item| self.names(item)).collect();
                }
                let text = |key: &str| fields.get(key).and_then(Value::as_str);
                let name = ["name", "instance", "id"].into_iter().find_map(text);
                let named = name.map(|name| match text("namespace") {
                    Some(namespace) => self.name(namespace, name),
                    None => name.to_owned(),
                });
                named.into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn unfit(&self, rule: &str) -> Error {
        Error::Argument {
            what: "--output",
            value: self.form.to_string(),
            rule: rule.to_owned(),
        }
    }
}

/// At most four decimals, none that are zero.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// `1 replica`, `2 replicas`, `2,000 deployments`.
pub(crate) fn counted(number: impl Into<u64>, one: &str, several: &str) -> String {
    let number = number.into();
    let noun = if number == 1 { one } else { several };
    format!("{} {noun}", grouped(number))
}

/// With a comma at every third digit.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn size() -> Size {
    let told = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    told.ok()
        .filter(|told| told.ws_col > 0 && told.ws_row > 0)
        .map_or(USUAL, |told| Size {
            columns: told.ws_col.into(),
            lines: told.ws_row.into(),
        })
}

fn json(made: serde_json::Result<String>) -> Result<String, Error> {
    made.map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })
}

fn tree<T: Serialize>(value: &T) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })
}

fn yaml<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|e| Error::Encode {
        form: "YAML",
        source: e.into(),
    })
}
