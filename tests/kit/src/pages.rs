//! The pages of the repository as text: fenced blocks, links, and the headings that links lead to. It knows Markdown as far as the pages
//! use it; it must not know what a page says.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Folders that hold no page of ours.
const LEFT_OUT: [&str; 3] = [".git", "target", "node_modules"];

/// A Markdown file of the repository.
#[derive(Debug, Clone)]
pub struct Page {
    /// Below the repository's root.
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// 1-based, of the opening fence.
    pub line: usize,
    /// What follows the opening fence: a language, and perhaps more.
    pub info: String,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

/// Where a link or a span of code stands, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// 1-based.
    pub line: usize,
    pub text: String,
}

/// The repository's root.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

/// Every page of the repository, in order of their paths.
///
/// # Errors
/// When a folder or a page can't be read.
pub fn all() -> io::Result<Vec<Page>> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name();
            if kind.is_dir() && !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|e| e == "md") {
                found.push(path.strip_prefix(&root).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    found.into_iter().map(Page::read).collect()
}

/// A span of code.
pub fn code(text: impl std::fmt::Display) -> String {
    format!("`{text}`")
}

/// A table in Markdown.
pub fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let line = |cells: [String; N]| {
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    };
    let mut table = line(head.map(str::to_owned));
    table.push_str(&format!("|{}\n", "---|".repeat(N)));
    table.extend(rows.into_iter().map(line));
    table
}

impl Page {
    /// Reads the page at this path below the repository's root.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let text = std::fs::read_to_string(root().join(&path))?;
        Ok(Self { path, text })
    }

    /// The fenced blocks, in order.
    pub fn blocks(&self) -> Vec<Block> {
        self.split().0
    }

    /// The page from one heading of the second level to the next, without its other sections.
    pub fn section(&self, heading: &str) -> Option<Self> {
        let start = self.text.find(&format!("\n## {heading}\n"))? + 1;
        let rest = &self.text[start..];
        let end = rest.get(1..)?.find("\n## ").map_or(rest.len(), |at| at + 2);
        Some(Self {
            path: self.path.clone(),
            text: rest[..end].to_owned(),
        })
    }

    /// The targets of links and images.
    pub fn links(&self) -> Vec<Span> {
        let (prose, _) = self.prose();
        let mut found = Vec::new();
        for (at, _) in prose.match_indices("](") {
            let rest = &prose[at + 2..];
            let end = rest.find([')', '\n']).unwrap_or(rest.len());
            // A title may follow.
            let target = rest[..end].split_whitespace().next().unwrap_or_default();
            found.push(span(&prose, at, target));
        }
        let mut at = 0;
        for line in prose.split_inclusive('\n') {
            if let Some((label, target)) = line.split_once("]: ")
                && label.starts_with('[')
            {
                found.push(span(&prose, at, target.trim()));
            }
            at += line.len();
        }
        found
    }

    /// Spans of code in the prose, line ends made spaces.
    pub fn code(&self) -> Vec<Span> {
        self.prose().1
    }

    /// What links to this page may have behind `#`, as GitHub derives it from headings.
    pub fn anchors(&self) -> Vec<String> {
        let rest = self.split().1;
        let slugs: Vec<String> = rest.lines().filter_map(heading).map(slug).collect();
        let numbered = slugs.iter().enumerate().map(|(n, slug)| {
            match slugs[..n].iter().filter(|other| *other == slug).count() {
                0 => slug.clone(),
                before => format!("{slug}-{before}"),
            }
        });
        numbered.collect()
    }

    /// The blocks, and the rest with blocks as empty lines.
    fn split(&self) -> (Vec<Block>, String) {
        let mut blocks: Vec<Block> = Vec::new();
        let mut rest = String::new();
        let mut open: Option<(Block, &str, usize)> = None;
        for (n, line) in self.text.lines().enumerate() {
            let inner = line.trim_start();
            let fence = inner.len() - inner.trim_start_matches('`').len();
            match &mut open {
                None if fence >= 3 => {
                    let block = Block {
                        line: n + 1,
                        info: inner[fence..].trim().to_owned(),
                        text: String::new(),
                    };
                    open = Some((block, &inner[..fence], line.len() - inner.len()));
                }
                None => rest.push_str(line),
                Some((block, opening, _)) if inner.trim_end() == *opening => {
                    blocks.push(block.clone());
                    open = None;
                }
                Some((block, _, indent)) => {
                    let indented = line.len() - inner.len();
                    block.text.push_str(&line[indented.min(*indent)..]);
                    block.text.push('\n');
                }
            }
            rest.push('\n');
        }
        // One that is never closed goes to the end.
        blocks.extend(open.map(|(block, ..)| block));
        (blocks, rest)
    }

    /// The text outside of blocks with spans of code blanked out, and these spans.
    fn prose(&self) -> (String, Vec<Span>) {
        let mut prose = self.split().1;
        let mut spans = Vec::new();
        let mut from = 0;
        while let Some(at) = prose[from..].find('`').map(|at| from + at) {
            let ticks = prose[at..].len() - prose[at..].trim_start_matches('`').len();
            let begin = at + ticks;
            let paragraph = prose[begin..]
                .find("\n\n")
                .map_or(prose.len(), |n| begin + n);
            let Some(end) = closing(&prose[begin..paragraph], ticks).map(|n| begin + n) else {
                from = begin;
                continue;
            };
            let text: Vec<&str> = prose[begin..end].split_whitespace().collect();
            spans.push(span(&prose, at, &text.join(" ")));
            let blank: String = prose[at..end + ticks]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' })
                .collect();
            from = at + blank.len();
            prose.replace_range(at..end + ticks, &blank);
        }
        (prose, spans)
    }
}

/// Where a run of exactly so many ticks begins.
fn closing(text: &str, ticks: usize) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find('`')?;
        let run = text[at..].len() - text[at..].trim_start_matches('`').len();
        if run == ticks {
            return Some(at);
        }
        from = at + run;
    }
}

fn span(text: &str, at: usize, inner: &str) -> Span {
    Span {
        line: text[..at].matches('\n').count() + 1,
        text: inner.to_owned(),
    }
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (1..=6).contains(&level).then(|| text.strip_prefix(' '))?
}

/// The anchor of a heading: lower case, spaces as hyphens, without marks.
pub fn slug(heading: &str) -> String {
    let mut text = heading.trim().to_lowercase();
    // Of a link its text remains.
    while let Some(at) = text.find("](") {
        let end = text[at..].find(')').map_or(text.len(), |n| at + n + 1);
        text.replace_range(at..end, "");
    }
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page {
            path: "a.md".into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn blocks_keep_their_lines() {
        let text = "# A\n\n- b\n\n  ```sh x\n  one\n    two\n  ```\n\n````text\n```\n````\n";
        let blocks = page(text).blocks();
        let seen: Vec<_> = blocks
            .iter()
            .map(|b| (b.line, b.info.as_str(), b.text.as_str()))
            .collect();
        assert_eq!(seen, [(5, "sh x", "one\n  two\n"), (10, "text", "```\n")]);
    }

    #[test]
    fn links_and_code_are_told_apart() {
        let page = page(
            "see [a\nb](b.md#c \"title\") and `[no](x.md)` ``of ` ticks``\n\n[ref]: d.md\n\n```\n[no](y.md)\n```\n",
        );
        let links: Vec<_> = page.links().into_iter().map(|l| (l.line, l.text)).collect();
        assert_eq!(links, [(2, "b.md#c".to_owned()), (4, "d.md".to_owned())]);
        let code: Vec<_> = page.code().into_iter().map(|c| c.text).collect();
        assert_eq!(code, ["[no](x.md)", "of ` ticks"]);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let page = page(
            "# Life of `a` request\n## [api]\n## A [link](b.md), and more\n## Twice\n## Twice\n#no\n```\n# no\n```\n",
        );
        assert_eq!(
            page.anchors(),
            [
                "life-of-a-request",
                "api",
                "a-link-and-more",
                "twice",
                "twice-1"
            ]
        );
    }

    #[test]
    fn a_section_ends_with_the_next() {
        let page = page("# A\n\n## B\nb\n### C\nc\n## D\nd\n");
        assert_eq!(
            page.section("B").map(|p| p.text).as_deref(),
            Some("## B\nb\n### C\nc\n")
        );
        assert_eq!(
            page.section("D").map(|p| p.text).as_deref(),
            Some("## D\nd\n")
        );
        assert!(page.section("E").is_none());
    }
}
