//! Where a document came from, and where its fields were written: a document that was put together out of several has fields of each.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tradewind_manifest::{Problem, Tree};

/// Where a document came from, for messages.
#[derive(Debug, Clone)]
pub struct Origin {
    /// A path, a URL, or `-`.
    pub file: PathBuf,
    /// Where it begins in a file of several documents, from 1.
    pub line: Option<u64>,
    /// Where its fields were written, where the positions of what is sent say nothing.
    pub places: Option<Arc<Places>>,
}

/// Where fields were written: line and column by path, file by file. What a later file says wins.
#[derive(Debug, Clone, Default)]
pub struct Places(Vec<(PathBuf, Fields)>);

/// Line and column of each field.
type Fields = BTreeMap<String, (u64, u64)>;

// === impl Places ===

impl Places {
    pub(crate) fn add(&mut self, file: &Path, tree: &Tree) {
        self.0.push((file.to_owned(), tree.places()));
    }

    /// The place of a field, else that of the nearest one around it.
    fn find(&self, path: &str) -> Option<(&Path, u64, u64)> {
        let mut path = path;
        loop {
            let here = self.0.iter().rev().find_map(|(file, fields)| {
                let (line, column) = fields.get(path)?;
                Some((file.as_path(), *line, *column))
            });
            if here.is_some() {
                return here;
            }
            let end = path.rfind(['.', '['])?;
            path = path.get(..end)?;
        }
    }
}

// === impl Origin ===

impl Origin {
    pub(crate) fn of(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            places: None,
        }
    }

    /// `FILE:LINE:COLUMN` of a problem, as far as it is known.
    pub(crate) fn place(&self, problem: &Problem) -> String {
        let (file, line, column) = match &self.places {
            None => (self.file.as_path(), problem.line, problem.column),
            Some(places) => match places.find(&problem.path) {
                Some((file, line, column)) => (file, Some(line), Some(column)),
                None => (self.file.as_path(), None, None),
            },
        };
        let mut place = file.display().to_string();
        for number in [line, column].into_iter().flatten() {
            place.push_str(&format!(":{number}"));
        }
        place
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.iter().try_for_each(|line| write!(f, ":{line}"))
    }
}

#[cfg(test)]
mod tests {
    use tradewind_manifest::Format;

    use super::*;

    #[test]
    fn a_problem_is_shown_where_its_field_was_written() {
        let tree = |text: &str| Tree::read(text.as_bytes(), Format::Yaml).unwrap();
        let mut places = Places::default();
        places.add(
            Path::new("base.yaml"),
            &tree("spec:\n  services:\n    web: {image: a}\n"),
        );
        places.add(
            Path::new("prod.yaml"),
            &tree("spec: {services: {web: {replicas: x}}}"),
        );
        let origin = Origin {
            places: Some(places.into()),
            ..Origin::of(Path::new("base.yaml"))
        };
        let at = |path: &str| {
            origin.place(&Problem {
                path: path.to_owned(),
                message: String::new(),
                line: Some(1),
                column: Some(99),
            })
        };
        assert_eq!(at("spec.services.web.replicas"), "prod.yaml:1:25");
        assert_eq!(at("spec.services.web.image"), "base.yaml:3:11");
        assert_eq!(at("spec.services.web.image.more[0].x"), "base.yaml:3:11");
        assert_eq!(at("metadata"), "base.yaml");
    }
}
