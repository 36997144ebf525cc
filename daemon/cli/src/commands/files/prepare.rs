//! From the bytes of a file to the manifests that are sent: variables, documents, views that hold a manifest, overlays. A file that uses none
//! of them is sent as it is.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tradewind_api::problem::{Kind, Problem};
use tradewind_manifest::{Format, Invalid, Part, Tree, split, variables};

use super::sources;
use crate::{
    Error, Globals,
    args::Reading,
    client::{Document, Origin, Places},
};

/// What was asked to be done with every file.
pub(super) struct Preparation {
    /// None: variables are replaced in files alone that ask for it.
    variables: Option<Variables>,
    overlays: Vec<Overlay>,
}

struct Variables {
    values: BTreeMap<String, String>,
    prefix: Option<String>,
}

struct Overlay {
    file: PathBuf,
    tree: Tree,
    used: Cell<bool>,
}

impl Preparation {
    /// # Errors
    /// Files of values and overlays that can't be read.
    pub(super) async fn new(globals: &Globals, reading: &Reading) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        for file in &reading.values {
            let (format, bytes) = sources::load(globals, file).await?;
            let read = variables::values(&bytes, format);
            values.extend(
                read.map_err(|e| refused(Origin::of(file), e, "the values are not valid"))?,
            );
        }
        let set = reading.settings.iter();
        values.extend(set.map(|s| (s.name.clone(), s.value.clone())));
        let asked = !reading.settings.is_empty()
            || !reading.values.is_empty()
            || reading.env_vars.is_some();
        let variables = asked.then(|| Variables {
            values,
            prefix: reading.env_vars.clone(),
        });
        let mut preparation = Self {
            variables,
            overlays: Vec::new(),
        };
        let mut overlays = Vec::new();
        for file in &reading.overlays {
            let (format, bytes) = sources::load(globals, file).await?;
            for (origin, text) in preparation.texts(file, format, &bytes)? {
                let tree = Tree::read(text.as_bytes(), format);
                overlays.push(Overlay {
                    file: file.clone(),
                    tree: tree.map_err(|e| refused(origin, e, "the overlay is not valid"))?,
                    used: Cell::new(false),
                });
            }
        }
        preparation.overlays = overlays;
        Ok(preparation)
    }

    /// The documents of a file.
    ///
    /// # Errors
    /// `File` for variables without a value, and for what overlays can't be laid over.
    pub(super) fn documents(
        &self,
        file: &Path,
        format: Format,
        bytes: Vec<u8>,
    ) -> Result<Vec<Document>, Error> {
        // What is wrong with it, the daemon says.
        if std::str::from_utf8(&bytes).is_err() && self.overlays.is_empty() {
            return Ok(vec![Document {
                origin: Origin::of(file),
                format,
                bytes: bytes.into(),
            }]);
        }
        self.texts(file, format, &bytes)?
            .into_iter()
            .map(|(origin, text)| self.document(origin, format, text))
            .collect()
    }

    /// Variables replaced, document by document.
    fn texts(
        &self,
        file: &Path,
        format: Format,
        bytes: &[u8],
    ) -> Result<Vec<(Origin, String)>, Error> {
        let origin = Origin::of(file);
        let text = String::from_utf8_lossy(bytes);
        let text = if self.variables.is_some() || variables::asked_for(&text) {
            let replaced = variables::replace(&text, |name| self.value(name));
            replaced.map_err(|e| refused(origin.clone(), e, "its variables can't be replaced"))?
        } else {
            text.into_owned()
        };
        let parts = match format {
            Format::Yaml => split(&text),
            Format::Json => Vec::new(),
        };
        if parts.len() < 2 {
            return Ok(vec![(origin, text)]);
        }
        let one = |Part { line, text }| {
            let origin = Origin {
                line: Some(line),
                ..origin.clone()
            };
            (origin, text)
        };
        Ok(parts.into_iter().map(one).collect())
    }

    fn value(&self, name: &str) -> Option<String> {
        let Variables { values, prefix } = self.variables.as_ref()?;
        let named = || prefix.as_ref().is_some_and(|p| name.starts_with(p));
        values
            .get(name)
            .cloned()
            .or_else(|| std::env::var(name).ok().filter(|_| named()))
            .filter(|value| !value.contains(['\n', '\r']))
    }

    fn document(&self, origin: Origin, format: Format, text: String) -> Result<Document, Error> {
        let whole = |origin, text: String| Document {
            origin,
            format,
            bytes: text.into(),
        };
        // A view of a deployment has its manifest in a field.
        let may_be_view = text.contains("manifest");
        if self.overlays.is_empty() && !may_be_view {
            return Ok(whole(origin, text));
        }
        let tree = match Tree::read(text.as_bytes(), format) {
            Ok(tree) => tree,
            Err(_) if self.overlays.is_empty() => return Ok(whole(origin, text)),
            Err(e) => return Err(refused(origin, e, INVALID)),
        };
        let view = tree.manifest_of_view();
        let is_view = view.is_some();
        let mut tree = view.unwrap_or(tree);
        let mut places = Places::default();
        places.add(&origin.file, &tree);
        let name = tree.name().map(str::to_owned);
        let mut laid = false;
        for overlay in &self.overlays {
            if overlay
                .tree
                .name()
                .is_some_and(|of| Some(of) != name.as_deref())
            {
                continue;
            }
            tree.lay_over(&overlay.tree);
            places.add(&overlay.file, &overlay.tree);
            overlay.used.set(true);
            laid = true;
        }
        if !laid && !is_view {
            return Ok(whole(origin, text));
        }
        Ok(Document {
            origin: Origin {
                places: Some(places.into()),
                ..origin
            },
            format: Format::Yaml,
            bytes: tree.text().into(),
        })
    }

    /// # Errors
    /// `Argument` for an overlay that names a manifest which is not among the files.
    pub(super) fn finish(&self) -> Result<(), Error> {
        match self.overlays.iter().find(|overlay| !overlay.used.get()) {
            None => Ok(()),
            Some(overlay) => {
                let name = overlay.tree.name().unwrap_or_default();
                Err(Error::Argument {
                    what: "--overlay",
                    value: overlay.file.display().to_string(),
                    rule: format!(
                        "no manifest is named \"{name}\": give its file, or leave metadata.name out"
                    ),
                })
            }
        }
    }
}

const INVALID: &str = "the manifest is not valid";

/// A refusal as the daemon's are.
fn refused(origin: Origin, invalid: Invalid, detail: &str) -> Error {
    let kind = Kind::InvalidManifest;
    Error::File {
        origin,
        problem: Box::new(Problem {
            kind,
            title: kind.title().to_owned(),
            status: 422,
            detail: detail.to_owned(),
            instance: None,
            request: None,
            problems: invalid.problems,
            causes: Vec::new(),
            remedy: None,
        }),
    }
}
