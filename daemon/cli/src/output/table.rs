//! Lists in columns: which of them are shown, how wide each is, in which order the rows stand. Pure: cells and a width in, text out. A line
//! is never broken: on a terminal that is too narrow, the least important columns go first, then the longest cells are cut.

use std::{cmp::Ordering, str::FromStr};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Mood;
use crate::tame::tame;

/// Between two columns.
const GAP: usize = 2;
/// Stands for what is cut off.
const CUT: &str = "…";
/// Sentences keep so much before another column goes for them.
const SENTENCE: usize = 24;
/// What is left of a cell where nothing else helps.
const LEAST: usize = 6;

/// How long a column stays when there is little room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Spare,
    Usual,
    Key,
}

/// A column of a table: its header, and how it behaves.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    header: &'static str,
    rank: Rank,
    right: bool,
    wide: bool,
    filled: bool,
    sentence: bool,
    hidden: bool,
    least: usize,
}

/// One cell. What came from others is tamed.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    mood: Mood,
    /// What is shown where every column is: the exact value of what the text rounds.
    exact: Option<String>,
    key: Option<f64>,
}

/// A list: columns, rows, the name of what each row is about, and what is said around them.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    names: Vec<String>,
    pub(super) empty: &'static str,
    pub(super) notes: String,
    pub(super) summary: Option<String>,
}

/// The room and the looks of a table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looks {
    /// The columns of the terminal. None: a line may be as long as it is.
    pub width: Option<usize>,
    pub colours: bool,
    /// Every column, and exact values.
    pub all: bool,
}

/// By which column a list is sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    column: String,
    descending: bool,
}

// === impl Column ===

impl Column {
    /// A column of texts, which is always shown.
    pub const fn new(header: &'static str) -> Self {
        Self {
            header,
            rank: Rank::Usual,
            right: false,
            wide: false,
            filled: false,
            sentence: false,
            hidden: false,
            least: 0,
        }
    }

    /// Of numbers and amounts: aligned at the right.
    pub const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// Never dropped.
    pub const fn key(mut self) -> Self {
        self.rank = Rank::Key;
        self
    }

    /// Dropped first where there is little room.
    pub const fn spare(mut self) -> Self {
        self.rank = Rank::Spare;
        self
    }

    /// Shown only where every column is asked for.
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Shown only if a cell says something.
    pub const fn filled(mut self) -> Self {
        self.filled = true;
        self
    }

    /// Of sentences, which are cut before another column is dropped.
    pub const fn sentence(mut self) -> Self {
        self.sentence = true;
        self
    }

    /// Shown where every column is asked for, and where this holds.
    pub const fn shown_if(mut self, holds: bool) -> Self {
        self.hidden = !holds;
        self
    }

    /// As it is named to sort by it: `PRICE/H` is `price`, `LAST USED` is `last-used`.
    fn name(&self) -> String {
        let name = self.header.split('/').next().unwrap_or_default();
        name.trim().to_lowercase().replace(' ', "-")
    }
}

impl From<&'static str> for Column {
    fn from(header: &'static str) -> Self {
        Self::new(header)
    }
}

// === impl Cell ===

impl Cell {
    /// On one line, whatever the text has in it.
    pub(super) fn new(text: &str, mood: Mood) -> Self {
        let lines: Vec<&str> = text
            .split(['\n', '\r', '\t'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Self {
            text: tame(&lines.join(" ")),
            mood,
            exact: None,
            key: None,
        }
    }

    /// The value by which it is sorted, instead of its text.
    #[must_use]
    pub fn key(mut self, key: f64) -> Self {
        self.key = Some(key);
        self
    }

    /// What is shown instead where every column is asked for.
    #[must_use]
    pub fn exact(mut self, exact: impl ToString) -> Self {
        self.exact = Some(tame(&exact.to_string()));
        self
    }

    fn shown(&self, all: bool) -> &str {
        self.exact.as_ref().filter(|_| all).unwrap_or(&self.text)
    }

    fn says_nothing(&self) -> bool {
        self.text.is_empty() || self.text == "-"
    }

    /// What says nothing comes last, in both directions.
    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let turned = |order: Ordering| if descending { order.reverse() } else { order };
        match (self.key, other.key) {
            (Some(a), Some(b)) => turned(a.total_cmp(&b)),
            (Some(_), None) if other.says_nothing() => Ordering::Less,
            (None, Some(_)) if self.says_nothing() => Ordering::Greater,
            _ => match (self.says_nothing(), other.says_nothing()) {
                (false, true) => Ordering::Less,
                (true, false) => Ordering::Greater,
                _ => turned(self.text.cmp(&other.text)),
            },
        }
    }
}

// === impl Table ===

impl Table {
    /// A table of these columns.
    pub fn new<const N: usize>(
        columns: [impl Into<Column>; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) -> Self {
        Self {
            columns: columns.into_iter().map(Into::into).collect(),
            rows: rows.into_iter().map(Vec::from).collect(),
            ..Self::default()
        }
    }

    /// The name of what each row is about, for `-o name`.
    #[must_use]
    pub fn named(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names = names.into_iter().collect();
        self
    }

    /// What is said instead of a table without rows.
    #[must_use]
    pub fn or(mut self, empty: &'static str) -> Self {
        self.empty = empty;
        self
    }

    /// What people read below the table.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        let note = note.into();
        if !note.is_empty() && !self.notes.is_empty() {
            self.notes.push('\n');
        }
        self.notes.push_str(&note);
        self
    }

    /// The whole list in a line, below the table on a terminal.
    #[must_use]
    pub fn summed_up(mut self, summary: Option<String>) -> Self {
        self.summary = summary;
        self
    }

    /// With a column that has room for longer texts than it has now: rows that come later stand below it too.
    #[must_use]
    pub(crate) fn with_room(mut self, header: &str, least: usize) -> Self {
        for column in self.columns.iter_mut().filter(|c| c.header == header) {
            column.least = least;
        }
        self
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The order of the rows: the places where they stand now. Rows that are equal stay as they are.
    ///
    /// # Errors
    /// There is no such column.
    pub(crate) fn order(&self, sort: &Sort) -> Result<Vec<usize>, String> {
        let wanted = sort.column.to_lowercase().replace([' ', '_'], "-");
        let named = |c: &Column| !c.header.is_empty() && c.name() == wanted;
        let Some(at) = self.columns.iter().position(named) else {
            let names: Vec<String> = self.columns.iter().map(Column::name).collect();
            let names: Vec<String> = names.into_iter().filter(|n| !n.is_empty()).collect();
            return Err(format!("sort by one of {}", names.join(", ")));
        };
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let cell = |row: usize| self.rows.get(row).and_then(|row| row.get(at));
        order.sort_by(|a, b| match (cell(*a), cell(*b)) {
            (Some(a), Some(b)) => a.compare(b, sort.descending),
            _ => Ordering::Equal,
        });
        Ok(order)
    }

    /// RFC 4180: every column, with headers.
    pub(super) fn csv(&self) -> String {
        let quoted = |text: &str| {
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let shown: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.header.is_empty())
            .map(|(i, _)| i)
            .collect();
        let headers = shown.iter().filter_map(|i| self.columns.get(*i));
        let mut text = headers
            .map(|c| quoted(c.header))
            .collect::<Vec<_>>()
            .join(",");
        for row in &self.rows {
            let cells = shown.iter().filter_map(|i| row.get(*i));
            let cells: Vec<String> = cells.map(|cell| quoted(cell.shown(true))).collect();
            text.push_str("\r\n");
            text.push_str(&cells.join(","));
        }
        text.push_str("\r\n");
        text
    }

    /// The header and the rows, a line each.
    pub(super) fn lines(&self, looks: Looks) -> Vec<String> {
        let laid = self.laid(looks);
        let bold = |column: &Column| (column.header.to_owned(), looks.colours.then_some("1"));
        let header = laid.columns.iter().filter_map(|(i, width)| {
            let column = self.columns.get(*i)?;
            Some((bold(column), *width, column.right))
        });
        let mut lines = vec![line(header, laid.dropped)];
        lines.extend(self.rows.iter().map(|row| {
            let cells = laid.columns.iter().filter_map(|(i, width)| {
                let (cell, column) = (row.get(*i)?, self.columns.get(*i)?);
                let colour = cell.mood.colour().filter(|_| looks.colours);
                let text = cell.shown(looks.all).to_owned();
                Some(((text, colour), *width, column.right))
            });
            line(cells, false)
        }));
        lines
    }

    /// Which columns are shown, and how wide.
    fn laid(&self, looks: Looks) -> Laid {
        let mut columns: Vec<(usize, usize)> = Vec::new();
        for (i, column) in self.columns.iter().enumerate() {
            let cells = || self.rows.iter().filter_map(move |row| row.get(i));
            let is_empty = column.filled && cells().all(Cell::says_nothing);
            let is_hidden = !looks.all && (column.wide || column.hidden);
            if is_hidden || is_empty {
                continue;
            }
            let widest = cells().map(|cell| cell.shown(looks.all).width()).max();
            let header = column.header.width().max(column.least);
            columns.push((i, widest.unwrap_or(0).max(header)));
        }
        let mut laid = Laid {
            columns,
            dropped: false,
        };
        // Who asks for everything gets it, as long as it is.
        if let Some(room) = looks.width.filter(|_| !looks.all) {
            self.drop_columns(&mut laid, room);
            self.cut_columns(&mut laid, room);
        }
        laid
    }

    fn is_sentence(&self, i: usize) -> bool {
        self.columns.get(i).is_some_and(|column| column.sentence)
    }

    fn drop_columns(&self, laid: &mut Laid, room: usize) {
        let least = |(i, width): &(usize, usize)| {
            if self.is_sentence(*i) {
                (*width).min(SENTENCE)
            } else {
                *width
            }
        };
        // The first with a header says what a row is about.
        let first = self.columns.iter().position(|c| !c.header.is_empty());
        let mut dropped = Vec::new();
        while laid.wanted(least) > room {
            let droppable = laid.columns.iter().enumerate().filter_map(|(at, (i, _))| {
                let column = self.columns.get(*i)?;
                let stays = column.rank == Rank::Key || Some(*i) == first;
                (!stays && !column.header.is_empty()).then_some((column.rank, at))
            });
            // Of the least important the one at the right.
            let Some((_, at)) = droppable.min_by_key(|(rank, at)| (*rank, usize::MAX - at)) else {
                return;
            };
            dropped.push(laid.columns.remove(at));
            laid.dropped = true;
        }
        // A short one may fit beside what a long one left.
        for column in dropped {
            laid.columns.push(column);
            if laid.wanted(least) > room {
                laid.columns.pop();
            }
        }
        laid.columns.sort_unstable();
    }

    fn cut_columns(&self, laid: &mut Laid, room: usize) {
        for (sentences, least) in [(true, SENTENCE), (false, LEAST)] {
            while let Some(excess) = laid.wanted(|(_, width)| *width).checked_sub(room) {
                let can = |(i, width): &&mut (usize, usize)| {
                    *width > least && (!sentences || self.is_sentence(*i))
                };
                let widest = laid.columns.iter_mut().filter(can).max_by_key(|(_, w)| *w);
                let Some((_, width)) = widest.filter(|_| excess > 0) else {
                    break;
                };
                *width = width.saturating_sub(excess).max(least);
            }
        }
    }
}

/// The columns that are shown, by their place, each with its width.
struct Laid {
    columns: Vec<(usize, usize)>,
    /// Some did not fit.
    dropped: bool,
}

impl Laid {
    /// The length of a line.
    fn wanted(&self, width: impl Fn(&(usize, usize)) -> usize) -> usize {
        let texts: usize = self.columns.iter().map(width).sum();
        let mark = if self.dropped { GAP + 1 } else { 0 };
        texts + GAP * self.columns.len().saturating_sub(1) + mark
    }
}

type Styled = (String, Option<&'static str>);

/// `more`: columns are missing at the end.
fn line(cells: impl Iterator<Item = (Styled, usize, bool)>, more: bool) -> String {
    let mut out = String::new();
    // Blanks are written before the next text only: no line ends with them.
    let mut blanks = 0;
    for ((text, style), width, right) in cells {
        let text = cut(&text, width);
        let rest = width.saturating_sub(text.width());
        if right {
            blanks += rest;
        }
        if !text.is_empty() {
            out.push_str(&" ".repeat(blanks));
            blanks = 0;
            match style {
                Some(style) => out.push_str(&format!("\u{1b}[{style}m{text}\u{1b}[0m")),
                None => out.push_str(&text),
            }
        }
        blanks += GAP + if right { 0 } else { rest };
    }
    if more {
        out.push_str(&" ".repeat(blanks));
        out.push_str(CUT);
    }
    out
}

/// At most so wide; what is missing is marked.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else {
            break;
        };
        left = rest;
        out.push(c);
    }
    let mut out = out.trim_end().to_owned();
    out.push_str(CUT);
    out
}

/// At most so many lines of at most that width, broken at blanks. What is missing is marked.
pub(crate) fn fold(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let full = lines.len() >= most;
        match lines.last_mut() {
            // What goes too far is cut below.
            Some(line) if full || line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

impl FromStr for Sort {
    type Err = String;
    /// `cost`, `-cost`, `cost:desc`, `cost:asc`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (column, direction) = text.split_once(':').unwrap_or((text, "asc"));
        let (column, turned) = match column.strip_prefix('-') {
            Some(column) => (column, true),
            None => (column, false),
        };
        let descending = match direction {
            "asc" => turned,
            "desc" => true,
            other => {
                return Err(format!(
                    "\"{other}\" is no direction: write COLUMN:asc or COLUMN:desc"
                ));
            }
        };
        if column.is_empty() {
            return Err("it names no column: write one such as name or -cost".to_owned());
        }
        Ok(Self {
            column: column.to_owned(),
            descending,
        })
    }
}

impl std::fmt::Display for Sort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.descending { "-" } else { "" };
        write!(f, "{sign}{}", self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Cell {
        Cell::new(text, Mood::Plain)
    }

    fn services() -> Table {
        let columns = [
            Column::new("NAMESPACE").shown_if(false),
            Column::new("NAME").key(),
            Column::new("STATUS").key(),
            Column::new("PLACES").spare(),
            Column::new("COST").right().spare(),
            Column::new("GENERATION").right().wide(),
            Column::new("MESSAGE").sentence().filled(),
        ];
        let row = |name: &str, cost: f64, message: &str| {
            [
                plain("default"),
                plain(name),
                Cell::new("running", Mood::Good),
                plain("north/eu-north-1,south/eu-south-1"),
                plain(&format!("${cost:.2}/h")).key(cost),
                plain("12"),
                plain(message),
            ]
        };
        Table::new(
            columns,
            [
                row("web", 0.09, ""),
                row(
                    "東京-shop",
                    10.5,
                    "shop/0 ends again and again: exit status 1, last line: no such file",
                ),
            ],
        )
    }

    #[test]
    fn a_narrow_terminal_shows_less_and_breaks_no_line() {
        let cases: [(usize, &[&str]); 4] = [
            (
                160,
                &[
                    "NAME       STATUS   PLACES                                 COST  MESSAGE",
                    "web        running  north/eu-north-1,south/eu-south-1   $0.09/h",
                    "東京-shop  running  north/eu-north-1,south/eu-south-1  $10.50/h  shop/0 ends again and again: exit status 1, last line: no such file",
                ],
            ),
            (
                80,
                &[
                    "NAME       STATUS       COST  MESSAGE                                          …",
                    "web        running   $0.09/h",
                    "東京-shop  running  $10.50/h  shop/0 ends again and again: exit status 1, la…",
                ],
            ),
            (
                44,
                &[
                    "NAME       STATUS       COST  …",
                    "web        running   $0.09/h",
                    "東京-shop  running  $10.50/h",
                ],
            ),
            (
                20,
                &[
                    "NAME      STATUS   …",
                    "web       running",
                    "東京-sh…  running",
                ],
            ),
        ];
        for (width, wanted) in cases {
            let looks = Looks {
                width: Some(width),
                ..Looks::default()
            };
            let lines = services().lines(looks);
            assert_eq!(lines, wanted, "at {width} columns");
            assert!(lines.iter().all(|line| line.width() <= width));
        }
        let piped = services().lines(Looks::default());
        assert!(piped.iter().any(|line| line.ends_with("no such file")));
        let everything = services().lines(Looks {
            width: Some(80),
            all: true,
            colours: false,
        });
        assert!(
            everything
                .iter()
                .all(|line| line.width() > 80 || line.contains("default")),
            "who asks for every column gets it: {everything:#?}"
        );
    }

    #[test]
    fn numbers_stand_at_the_right_and_lines_have_no_blanks_at_their_end() {
        let table = Table::new(
            [
                Column::new("NAME"),
                Column::new("COUNT").right(),
                Column::new("NOTE"),
            ],
            [
                [plain("a"), plain("7"), plain("")],
                [plain("b"), plain("1200"), plain("x")],
            ],
        );
        let lines = table.lines(Looks::default());
        assert_eq!(
            lines,
            ["NAME  COUNT  NOTE", "a         7", "b      1200  x"]
        );
    }

    #[test]
    fn cells_of_others_stay_on_their_line() {
        let table = Table::new(["NAME"], [[plain("two\nlines\u{1b}[2J")]]);
        let lines = table.lines(Looks::default());
        assert_eq!(lines, ["NAME", "two lines\\u{1b}[2J"]);
        assert_eq!(cut("東京都", 5), "東京…");
        assert_eq!(cut("a word", 3), "a…");
    }

    #[test]
    fn a_list_is_sorted_by_what_its_cells_mean() {
        let order = |text: &str| services().order(&text.parse().unwrap());
        assert_eq!(order("cost").unwrap(), [0, 1]);
        assert_eq!(order("-cost").unwrap(), [1, 0]);
        assert_eq!(order("COST:desc").unwrap(), [1, 0]);
        assert_eq!(
            order("message").unwrap(),
            [1, 0],
            "what says nothing is last"
        );
        assert_eq!(order("-message").unwrap(), [1, 0]);
        let known = order("costs").unwrap_err();
        assert!(known.contains("name, status, places, cost"), "{known}");
        assert!("cost:down".parse::<Sort>().is_err() && "-".parse::<Sort>().is_err());
    }

    #[test]
    fn csv_has_every_column_and_quotes_what_needs_it() {
        let table = Table::new(
            [Column::new("A").wide(), Column::new("B,C")],
            [[plain("say \"x\""), plain("5m ago").exact("12:00")]],
        );
        assert_eq!(table.csv(), "A,\"B,C\"\r\n\"say \"\"x\"\"\",12:00\r\n");
    }
}
