//! `edit`: a deployment's manifest in an editor. What was typed is never lost: it stays in its file until it is accepted.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Method;
use tradewind_api::{Accepted, DeploymentView};
use tradewind_manifest::Format;

use super::apply;
use crate::{
    Context, Error,
    args::Edit,
    client::{self, Body, Document, Origin},
    render,
};

/// The beginning of the lines that are ours.
const NOTE: &str = "#| ";

pub(super) async fn run(context: &Context, args: Edit) -> Result<(), Error> {
    let path = ["v1", "deployments", args.name.as_str()];
    let view: DeploymentView = context.client.get(&path, &context.namespace()).await?;
    let (namespace, generation) = (&view.summary.namespace, view.summary.generation);
    let original = render::diff::yaml(&view.manifest)?;
    let file = File::create(&args.name)?;
    let mut text = original.clone();
    let mut notes = vec![
        format!(
            "{namespace}/{} at generation {generation}. Save it and leave the editor to apply it;",
            args.name
        ),
        "leave it as it is to change nothing. Lines like these are left out.".to_owned(),
    ];
    let mut refusal: Option<Error> = None;
    loop {
        file.write(&notes, &text)?;
        let opened = open(&file.path);
        let edited = match (opened, file.read()) {
            (Ok(()), Ok(edited)) => edited,
            // Nothing was typed that could be lost.
            (Err(error), Ok(edited)) if edited == original => {
                file.remove();
                return Err(error);
            }
            (Err(error), _) | (Ok(()), Err(error)) => return Err(file.kept(error)),
        };
        if edited == original {
            file.remove();
            eprintln!("nothing was changed");
            return Ok(());
        }
        if edited == text
            && let Some(error) = refusal.take()
        {
            // Who leaves it as it was refused gives up.
            return Err(file.kept(error));
        }
        let document = Document {
            origin: Origin::of(&file.path),
            format: Format::Yaml,
            bytes: edited.clone().into(),
        };
        let query = [("namespace", namespace.to_string())];
        let sent: Result<Accepted, client::Error> = context
            .client
            .send_at(
                generation,
                Method::PUT,
                &path,
                &query,
                Body::Manifest(document),
            )
            .await;
        match sent {
            Ok(accepted) => {
                file.remove();
                let accepted = (args.name.clone(), accepted);
                return apply::follow(context, accepted, args.detach, args.timeout).await;
            }
            Err(client::Error::Refused(problem)) if !problem.problems.is_empty() => {
                notes = vec![
                    "It was refused. Leave it as it is to give up; the text is kept.".to_owned(),
                ];
                notes.extend(problem.problems.iter().map(|p| match p.path.as_str() {
                    "" => p.message.clone(),
                    path => format!("{path}: {}", p.message),
                }));
                text = edited;
                let origin = Origin::of(&file.path);
                refusal = Some(Error::File { origin, problem });
            }
            Err(error) => return Err(file.kept(error.into())),
        }
    }
}

/// The file that is edited.
struct File {
    path: PathBuf,
}

impl File {
    /// A new file that only its owner reads: a manifest may hold what others must not see.
    fn create(name: &str) -> Result<Self, Error> {
        let folder = std::env::temp_dir();
        for number in 0..1000 {
            let path = folder.join(format!(
                "tradewind-{name}-{}-{number}.yaml",
                std::process::id()
            ));
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            match options.open(&path) {
                Ok(_) => return Ok(Self { path }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::Write { path, source }),
            }
        }
        Err(Error::Write {
            path: folder,
            source: std::io::ErrorKind::AlreadyExists.into(),
        })
    }

    fn write(&self, notes: &[String], text: &str) -> Result<(), Error> {
        let notes: String = notes
            .iter()
            .flat_map(|note| note.lines())
            .map(|line| format!("{NOTE}{line}\n"))
            .collect();
        let mut file = std::fs::File::create(&self.path).map_err(|e| self.unwritable(e))?;
        file.write_all((notes + text).as_bytes())
            .map_err(|e| self.unwritable(e))
    }

    fn unwritable(&self, source: std::io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            source,
        }
    }

    /// What was typed, without the notes at its top.
    fn read(&self) -> Result<String, Error> {
        let text = std::fs::read_to_string(&self.path).map_err(|source| Error::Read {
            path: self.path.clone(),
            source,
        })?;
        Ok(text
            .split_inclusive('\n')
            .skip_while(|line| line.starts_with(NOTE.trim_end()))
            .collect())
    }

    fn remove(&self) {
        // It is in the temporary folder.
        let _ = std::fs::remove_file(&self.path);
    }

    /// The text stays, and the error says where.
    fn kept(&self, error: Error) -> Error {
        Error::Several {
            summary: format!("the text is kept in \"{}\"", self.path.display()),
            errors: vec![error],
        }
    }
}

/// Opens the editor, and waits until it has ended.
fn open(path: &Path) -> Result<(), Error> {
    let named = ["VISUAL", "EDITOR"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|editor| !editor.trim().is_empty());
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    let wrong = |why: String| Error::Editor {
        editor: editor.clone(),
        why,
    };
    // An editor may come with arguments, which a shell reads.
    let ended = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(path)
        .status()
        .map_err(|e| wrong(format!("can't be started: {e}")))?;
    if ended.success() {
        Ok(())
    } else {
        Err(wrong(format!("ended with {ended}")))
    }
}
