//! `cp`: files from and to replicas, as tar archives on the way. What comes from a replica is not trusted: nothing is written outside of the
//! destination, and links are left out.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
    sync::mpsc as blocking,
};

use futures::{SinkExt, StreamExt};
use tar::{Archive, Builder, EntryType};
use tokio::sync::mpsc;
use tradewind_api::ClientMessage;

use super::{Said, broken, control, frame, next, opened, query};
use crate::{Context, Error, args};

const WAITING: usize = 8;
const PIECE: usize = 32 << 10;
/// Standard input or output.
const STANDARD: &str = "-";

/// One end of a copy.
enum End<'a> {
    Here(&'a str),
    There { name: &'a str, path: &'a str },
}

/// A path that begins with a folder is this machine's, whatever else is in it.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        Some((name, path)) if !name.is_empty() && !name.contains(['/', '.']) => End::There {
            name,
            path: if path.is_empty() { "." } else { path },
        },
        _ => End::Here(text),
    }
}

pub(in crate::commands) async fn run(context: &Context, args: args::Copy) -> Result<(), Error> {
    match (end(&args.source), end(&args.destination)) {
        (End::There { name, path }, End::Here(to)) => {
            download(context, &args, (name, path), to).await
        }
        (End::Here(from), End::There { name, path }) => {
            upload(context, &args, from, (name, path)).await
        }
        _ => Err(Error::Argument {
            what: "DESTINATION",
            value: args.destination.clone(),
            rule: "one of the two has to be NAME:PATH of a deployment, and the other a path of this machine"
                .to_owned(),
        }),
    }
}

async fn download(
    context: &Context,
    args: &args::Copy,
    (name, path): (&str, &str),
    to: &str,
) -> Result<(), Error> {
    let route = ["v1", "deployments", name, "download"];
    let mut query = query(context, &args.replica);
    query.push(("path", path.to_owned()));
    let mut socket = context.client.session(&route, &query).await?;
    opened(&mut socket).await?;
    let (send, receive) = blocking::sync_channel::<Vec<u8>>(WAITING);
    let inside = path.ends_with("/.") || path == ".";
    let destination = (to != STANDARD).then(|| PathBuf::from(to));
    let last = Path::new(path).file_name().map(PathBuf::from);
    let unpacked = std::thread::spawn(move || match destination {
        Some(to) => unpack(Pieces::new(receive), &to, last.as_deref(), inside),
        None => io::copy(&mut Pieces::new(receive), &mut io::stdout().lock()).map(|_| Vec::new()),
    });
    let mut words = Vec::new();
    let code = loop {
        match next(&mut socket).await? {
            // Unpacking has failed.
            Said::Stdout(bytes) => {
                if send.send(bytes).is_err() {
                    break 0;
                }
            }
            Said::Stderr(bytes) => words.extend(bytes),
            Said::Exit(code) => break code,
        }
    };
    drop(send);
    let unpacked = unpacked.join().map_err(|_| broken("unpacking broke off"))?;
    ended(code, &words)?;
    let left_out = unpacked.map_err(|source| Error::Write {
        path: PathBuf::from(to),
        source,
    })?;
    for what in left_out {
        let _ = writeln!(
            io::stderr(),
            "note: \"{what}\" is left out: it is no file and no folder"
        );
    }
    Ok(())
}

async fn upload(
    context: &Context,
    args: &args::Copy,
    from: &str,
    (name, path): (&str, &str),
) -> Result<(), Error> {
    let source = Path::new(from);
    if from != STANDARD {
        fs::metadata(source).map_err(|e| Error::Read {
            path: source.to_owned(),
            source: e,
        })?;
    }
    let place = Place::of(source, path, from == STANDARD);
    let route = ["v1", "deployments", name, "upload"];
    let mut query = query(context, &args.replica);
    query.push(("path", place.folder));
    let mut socket = context.client.session(&route, &query).await?;
    opened(&mut socket).await?;
    let (send, mut pieces) = mpsc::channel::<Vec<u8>>(WAITING);
    let (packed, from) = (source.to_owned(), from.to_owned());
    let under = place.under;
    let packing = std::thread::spawn(move || {
        if from == STANDARD {
            return io::copy(&mut io::stdin().lock(), &mut Sink(send)).map(|_| ());
        }
        pack(&packed, under.as_deref(), Sink(send))
    });
    let (mut sink, mut stream) = socket.split();
    let sent = async {
        while let Some(piece) = pieces.recv().await {
            sink.send(frame(&piece)).await.map_err(broken)?;
        }
        control(&mut sink, &ClientMessage::End).await?;
        std::future::pending::<Result<(), Error>>().await
    };
    let mut words = Vec::new();
    let answered = async {
        loop {
            match next(&mut stream).await? {
                Said::Stdout(_) => {}
                Said::Stderr(bytes) => words.extend(bytes),
                Said::Exit(code) => return Ok::<i32, Error>(code),
            }
        }
    };
    let code = tokio::select! {
        broke = sent => { broke?; 0 }
        code = answered => code?,
    };
    drop(pieces);
    if code != 0 && !packing.is_finished() {
        // It may wait for input that nobody takes any more.
        return ended(code, &words);
    }
    match packing.join().map_err(|_| broken("packing broke off"))? {
        // The other side has ended first, and says why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Read {
            path: source.to_owned(),
            source: error,
        }),
        _ => ended(code, &words),
    }
}

/// Where at the replica something goes.
struct Place {
    /// The folder that it is unpacked in, which is there.
    folder: String,
    /// Its name there. None: what is in the folder goes there.
    under: Option<PathBuf>,
}

impl Place {
    /// `TO/` and `TO/.` are folders; any other is the new name.
    fn of(source: &Path, to: &str, archive: bool) -> Self {
        let name = source.file_name().map(PathBuf::from);
        let contents = source.as_os_str().to_string_lossy().ends_with("/.") || name.is_none();
        if archive || contents {
            return Self {
                folder: to.to_owned(),
                under: None,
            };
        }
        if to.ends_with('/') || to == "." || to.ends_with("/.") {
            return Self {
                folder: to.to_owned(),
                under: name,
            };
        }
        match to.rsplit_once('/') {
            Some((folder, last)) => Self {
                folder: if folder.is_empty() { "/" } else { folder }.to_owned(),
                under: Some(PathBuf::from(last)),
            },
            None => Self {
                folder: ".".to_owned(),
                under: Some(PathBuf::from(to)),
            },
        }
    }
}

fn ended(code: i32, words: &[u8]) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    let words = String::from_utf8_lossy(words);
    let said = words.trim();
    Err(broken(if said.is_empty() {
        format!("the archive ended with code {code}")
    } else {
        format!("the archive ended with code {code}: {said}")
    }))
}

/// Packs a file or a folder under this name; without one, what is in the folder.
fn pack(source: &Path, under: Option<&Path>, to: Sink) -> io::Result<()> {
    let mut archive = Builder::new(to);
    archive.follow_symlinks(false);
    if source.is_dir() {
        archive.append_dir_all(under.unwrap_or(Path::new(".")), source)?;
    } else {
        let mut file = File::open(source)?;
        archive.append_file(under.unwrap_or(Path::new(".")), &mut file)?;
    }
    archive.into_inner()?.flush()
}

/// Unpacks what was asked for. The first entry is it, and the others lie below. Answers what was left out.
fn unpack(from: Pieces, to: &Path, last: Option<&Path>, contents: bool) -> io::Result<Vec<String>> {
    let mut archive = Archive::new(from);
    let mut left_out = Vec::new();
    let mut root: Option<(PathBuf, PathBuf)> = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        let path = plain(&entry.path()?)?;
        let (stem, base) = root.get_or_insert_with(|| {
            let inside = contents && kind == EntryType::Directory;
            (path.clone(), base(to, last, inside))
        });
        let below = path.strip_prefix(&*stem).map_err(|_| {
            io::Error::other(format!("\"{}\" does not belong to it", path.display()))
        })?;
        let target = if below.as_os_str().is_empty() {
            base.clone()
        } else {
            base.join(below)
        };
        match kind {
            EntryType::Directory => fs::create_dir_all(&target)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
                    fs::create_dir_all(parent)?;
                }
                // A link that is there is replaced, not followed.
                if fs::symlink_metadata(&target).is_ok_and(|m| m.is_symlink()) {
                    fs::remove_file(&target)?;
                }
                let mut file = File::create(&target)?;
                io::copy(&mut entry, &mut file)?;
                if let Ok(mode) = entry.header().mode() {
                    use std::os::unix::fs::PermissionsExt;
                    fs::set_permissions(&target, fs::Permissions::from_mode(mode & 0o777))?;
                }
            }
            EntryType::XGlobalHeader | EntryType::XHeader => {}
            _ => left_out.push(path.display().to_string()),
        }
    }
    // Behind the end of an archive there is padding, and then how it ended.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(left_out)
}

/// Where the first entry goes: into a folder that is there, else under the name that was given.
fn base(to: &Path, last: Option<&Path>, contents: bool) -> PathBuf {
    match last {
        Some(last) if to.is_dir() && !contents => to.join(last),
        _ => to.to_owned(),
    }
}

/// Without what changes nothing; what would lead out is refused.
fn plain(path: &Path) -> io::Result<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            _ => {
                return Err(io::Error::other(format!(
                    "the archive has the path \"{}\", which leads out of it",
                    path.display()
                )));
            }
        }
    }
    Ok(plain)
}

/// Reads what comes piece by piece.
struct Pieces {
    from: blocking::Receiver<Vec<u8>>,
    rest: io::Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(from: blocking::Receiver<Vec<u8>>) -> Self {
        Self {
            from,
            rest: io::Cursor::default(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.rest.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.from.recv() {
                Ok(piece) => self.rest = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

/// Sends what is written piece by piece.
struct Sink(mpsc::Sender<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
        self.0
            .blocking_send(piece.to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
