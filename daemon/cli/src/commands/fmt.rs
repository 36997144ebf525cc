//! `fmt`: manifests laid out anew. A file is written only after its new text was read again and found to mean the same, with the same
//! comments. It needs no daemon, and knows no field of a manifest.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};
use serde::Serialize;
use tradewind_manifest::{
    Format, Invalid,
    layout::{self, Outline},
};

use super::{files, validate};
use crate::{
    Error, Output,
    args::{DIFFERENT, Fmt},
    client::Origin,
    render,
};

/// What stands in every manifest: of a folder, other files are nobody's business here.
const OURS: &[u8] = b"tradewind.dev/";
/// A flow mapping or list that is longer is laid out in lines.
const WIDTH: usize = 100;
/// Behind `#`: the value below stays as it is.
const IGNORE: &str = "tradewind-fmt-ignore";
/// How often a text is laid out until that changes nothing any more.
const ROUNDS: usize = 4;
/// The stack of the formatter, which descends with the nesting.
const STACK: usize = 16 << 20;

/// What became of one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    file: String,
    /// `formatted`, `unformatted`, `unchanged`, `refused`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    #[serde(skip)]
    shown: Option<String>,
}

pub(super) fn run(output: &Output, args: &Fmt) -> Result<u8, Error> {
    if args.files.iter().any(|file| file == Path::new("-")) {
        return standard_input(output, args);
    }
    let files = find(args)?;
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for file in &files {
        match one(output, file, args) {
            Ok(line) => lines.push(line),
            Err(error) => {
                lines.push(Line::of(file, "refused"));
                errors.push(error);
            }
        }
    }
    output.show(&lines, |_| {
        lines.iter().filter_map(Line::text).collect::<String>()
    })?;
    match errors.len() {
        0 => Ok(code(lines.iter().any(|line| line.outcome == "unformatted"))),
        1 if files.len() == 1 => Err(errors.remove(0)),
        left => Err(Error::Several {
            summary: format!("{left} of {} files were left as they are", files.len()),
            errors,
        }),
    }
}

fn code(differs: bool) -> u8 {
    if differs { DIFFERENT } else { 0 }
}

fn find(args: &Fmt) -> Result<Vec<PathBuf>, Error> {
    let here = [PathBuf::from(".")];
    let given = match args.files.as_slice() {
        [] => here.as_slice(),
        given => given,
    };
    let mut found = Vec::new();
    for one in given {
        if files::is_url(&one.to_string_lossy()) {
            return Err(unfit(one, "only files of this machine are formatted"));
        }
        let files = files::find("FILE", std::slice::from_ref(one), args.recursive)?;
        if !one.is_dir() {
            found.extend(files);
            continue;
        }
        for file in files {
            // What can't be read is told as such later.
            let is_ours = fs::read(&file).map_or(true, |bytes| {
                bytes.windows(OURS.len()).any(|part| part == OURS)
            });
            if is_ours {
                found.push(file.strip_prefix(".").map(Path::to_owned).unwrap_or(file));
            }
        }
    }
    Ok(found)
}

fn unfit(file: &Path, rule: &str) -> Error {
    Error::Argument {
        what: "FILE",
        value: file.display().to_string(),
        rule: rule.to_owned(),
    }
}

/// The result goes to standard output, so no other file can have its name there.
fn standard_input(output: &Output, args: &Fmt) -> Result<u8, Error> {
    let file = Path::new("-");
    if args.files.len() > 1 {
        return Err(unfit(file, "standard input is formatted alone"));
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|source| Error::Read {
        path: file.to_owned(),
        source,
    })?;
    let old = layout::text(&bytes).map_err(|e| refused(file, e))?;
    let new = formatted(file, old, layout::guess(old))?;
    let differs = new.as_bytes() != bytes;
    if args.diff {
        output.text(&shown(output, file, old, &new))?;
    }
    match args.check {
        true => Ok(code(differs)),
        // What is shown is the difference.
        false if args.diff => Ok(0),
        false => {
            let mut out = io::stdout().lock();
            out.write_all(new.as_bytes())?;
            out.flush()?;
            Ok(0)
        }
    }
}

fn one(output: &Output, file: &Path, args: &Fmt) -> Result<Line, Error> {
    let failed = |source| Error::Read {
        path: file.to_owned(),
        source,
    };
    if !fs::metadata(file).map_err(failed)?.is_file() {
        return Err(unfit(file, "only files and folders are formatted"));
    }
    let bytes = fs::read(file).map_err(failed)?;
    let old = layout::text(&bytes).map_err(|e| refused(file, e))?;
    let is_json = file
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let format = if is_json { Format::Json } else { Format::Yaml };
    let new = formatted(file, old, format)?;
    if new.as_bytes() == bytes {
        return Ok(Line::of(file, "unchanged"));
    }
    let mut line = Line::of(file, "unformatted");
    if args.diff {
        let name = file.display().to_string();
        line.shown = Some(shown(output, file, old, &new));
        line.diff = Some(render::diff::unified_plain((&name, old), (&name, &new)));
    }
    if !args.check {
        write(file, new.as_bytes())?;
        line.outcome = "formatted";
    }
    Ok(line)
}

fn shown(output: &Output, file: &Path, old: &str, new: &str) -> String {
    let name = file.display().to_string();
    render::diff::unified(output, (&name, old), (&name, new))
}

fn refused(file: &Path, invalid: Invalid) -> Error {
    validate::refused(Origin::of(file), invalid.problems)
}

// === impl Line ===

impl Line {
    fn of(file: &Path, outcome: &'static str) -> Self {
        Self {
            file: file.display().to_string(),
            outcome,
            diff: None,
            shown: None,
        }
    }

    /// The name of a file that changes; of one whose changes are shown, these, which bear its name.
    fn text(&self) -> Option<String> {
        let changes = ["formatted", "unformatted"].contains(&self.outcome);
        let text = || {
            self.shown
                .clone()
                .unwrap_or_else(|| format!("{}\n", self.file))
        };
        changes.then(text)
    }
}

/// The text laid out anew. Line ends stay as the first one is.
///
/// # Errors
/// `File` for what is not valid, with its place. `Unformatted` for what can't be laid out without a change of what it means.
fn formatted(file: &Path, text: &str, format: Format) -> Result<String, Error> {
    if text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    let crlf = text
        .split_once('\n')
        .is_some_and(|(first, _)| first.ends_with('\r'));
    let laid = match format {
        Format::Json => layout::json(text).map_err(|e| refused(file, e))?,
        Format::Yaml => yaml(file, &text.replace("\r\n", "\n"))?,
    };
    Ok(match crlf {
        true => laid.replace('\n', "\r\n"),
        false => laid,
    })
}

fn yaml(file: &Path, text: &str) -> Result<String, Error> {
    let unformatted = |why: String| Error::Unformatted {
        file: file.to_owned(),
        why,
    };
    let outline = Outline::read(text).map_err(|e| refused(file, e))?;
    let mut old = text.to_owned();
    for _ in 0..ROUNDS {
        let laid = pretty(old.clone()).map_err(unformatted)?;
        let new = outline
            .requoted(&laid)
            .map_err(|_| unformatted("the formatter would make it invalid".to_owned()))?;
        let read = Outline::read(&new).map_err(|e| refused(file, e))?;
        if let Some(line) = outline.difference(&read) {
            return Err(unformatted(format!(
                "the formatter would change what it means, or lose a comment, at line {line}: write that another way"
            )));
        }
        if new == old {
            return Ok(new);
        }
        old = new;
    }
    Err(unformatted(
        "the formatter comes to no end with it".to_owned(),
    ))
}

/// In a thread of its own, with a stack of its own: the formatter is for any text, and what it can't do is no end of this program.
fn pretty(text: String) -> Result<String, String> {
    let options = FormatOptions {
        layout: LayoutOptions {
            print_width: WIDTH,
            ..LayoutOptions::default()
        },
        language: LanguageOptions {
            brace_spacing: false,
            // In a block of text they are part of it.
            trim_trailing_whitespaces: false,
            ignore_comment_directive: IGNORE.to_owned(),
            ..LanguageOptions::default()
        },
    };
    let work = move || {
        pretty_yaml::format_text(&text, &options).map_err(|error| {
            let before = text.get(..error.offset()).unwrap_or(&text);
            before.split('\n').count()
        })
    };
    let thread = std::thread::Builder::new()
        .name("fmt".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|e| format!("the formatter can't be started: {e}"))?;
    match thread.join() {
        Ok(Ok(laid)) => Ok(laid),
        Ok(Err(line)) => Err(format!(
            "the formatter can't read line {line}: write that another way"
        )),
        Err(_) => Err("the formatter failed".to_owned()),
    }
}

/// Puts the text in the place of the file at once: of the file that a link leads to. Mode and owner stay.
///
/// # Errors
/// `Write`. The file is as it was.
fn write(path: &Path, text: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let target = fs::canonicalize(path).map_err(failed)?;
    let old = fs::metadata(&target).map_err(failed)?;
    if old.permissions().readonly() {
        return Err(failed(io::ErrorKind::PermissionDenied.into()));
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let fresh = target.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = replace(&fresh, &target, &old, text);
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(failed)
}

fn replace(fresh: &Path, target: &Path, old: &fs::Metadata, text: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(fresh)?;
    file.write_all(text)?;
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())?;
    file.sync_all()?;
    fs::rename(fresh, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(text: &str) -> Result<String, Error> {
        formatted(Path::new("m.yaml"), text, Format::Yaml)
    }

    /// What is not formatted is left alone; what is, is so from then on.
    #[test]
    fn odd_texts_are_formatted_once_for_all_or_left_alone() {
        let long = "x".repeat(300);
        for (text, expected) in [
            ("a:   1\n", Some("a: 1\n".to_owned())),
            ("a: 1", Some("a: 1\n".to_owned())),
            ("# only a comment\n", Some("# only a comment\n".to_owned())),
            ("", Some(String::new())),
            (
                "a:\n- 'b'\n-   2  #  c\n",
                Some("a:\n  - \"b\"\n  - 2 #  c\n".to_owned()),
            ),
            (
                "a: \"😀\"\nb: 😀  😀\n",
                Some("a: \"😀\"\nb: 😀  😀\n".to_owned()),
            ),
            (
                "a: |\n    x  \n\n      y\n    😀\nb: >-\n   c\n   d\n",
                Some("a: |\n  x  \n\n    y\n  😀\nb: >-\n  c\n  d\n".to_owned()),
            ),
            (
                "a: &x {b:   1}\nc: *x\nd:\n  <<: *x\n",
                Some("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n".to_owned()),
            ),
            ("a: 1\n---\nb:  2\n", Some("a: 1\n---\nb: 2\n".to_owned())),
            (
                "a: 'x\\y'\nb: '${c}'\nd: 'e'\n",
                Some("a: 'x\\y'\nb: '${c}'\nd: \"e\"\n".to_owned()),
            ),
            (
                "a: 1.10\nb: 0o17\nc: ~\nd:\n",
                Some("a: 1.10\nb: 0o17\nc: ~\nd:\n".to_owned()),
            ),
            (
                "a:  1\r\nb: |\r\n    x\r\n    y\r\n",
                Some("a: 1\r\nb: |\r\n  x\r\n  y\r\n".to_owned()),
            ),
            (
                format!("a:  {long}\n").as_str(),
                Some(format!("a: {long}\n")),
            ),
            ("a: {b\n", None),
            ("a:\n\t- b\n", None),
            ("a: *nothing\n", None),
        ] {
            match (laid(text), expected) {
                (Ok(found), Some(expected)) => {
                    assert_eq!(found, expected, "{text:?}");
                    assert_eq!(laid(&found).unwrap(), found, "{text:?}");
                }
                (Err(Error::File { problem, .. }), None) => {
                    assert!(problem.problems[0].line.is_some(), "{text:?}: {problem:?}");
                }
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(laid(&deep).is_err());
    }
}
