//! The kept output of processes: cuts it to size and reads it line by line, from the end or behind a cursor. Everything here blocks.
//!
//! Processes write into pipes, which a collector that outlives the daemon copies into plain files. When both files of a process would
//! outgrow their size, the older half of each becomes a hole first: its blocks are freed, while what follows stays at its offset. Nothing
//! that is written meanwhile is lost, and a cursor, which is offsets, stays true. Where there is no collector, processes append to the files
//! themselves, and these are cut to size from time to time.
//!
//! A line that is longer than one answer, or that is not finished yet, comes in pieces that end between characters and say so.

pub(super) mod collecting;
pub(super) mod collector;
mod cursor;
pub(super) mod pipes;
mod stream;

use std::{
    fs::{File, OpenOptions},
    io::Write,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use tradewind_core::{
    failure::Failure,
    units::Instant,
    workload::{LogChunk, LogLine, LogQuery, Output, Restart},
};

use self::{cursor::Cursor, stream::Stream};
use super::folder::{Begin, Folder};

const BLOCK: u64 = 4096;
/// One answer's bytes.
const ANSWER: u64 = 1 << 20;
/// The least share of a stream in an answer.
const SHARE: u64 = 16 << 10;
const OUTPUTS: [Output; 2] = [Output::Stdout, Output::Stderr];

/// One replica's output.
pub(super) struct Source {
    pub(super) replica: u32,
    pub(super) folder: Folder,
    /// Whether more may come.
    pub(super) open: bool,
    /// Where the output of the last runs begins.
    pub(super) begins: Vec<Begin>,
}

// === impl Source ===

impl Source {
    /// The bytes of an output that the run before the last one wrote. None: there is none, or it is not known.
    fn previous(&self, output: Output) -> Option<Range<u64>> {
        let [.., before, last] = self.begins.as_slice() else {
            return None;
        };
        Some(before.offset(output)..last.offset(output))
    }

    /// The run that wrote there, if it is known: of runs that wrote nothing, the last.
    fn run(&self, output: Output, offset: u64) -> Option<&Begin> {
        let mut begins = self.begins.iter().rev();
        begins.find(|begin| begin.offset(output) <= offset)
    }

    /// The run whose output begins there, unless it is the first.
    fn restart(&self, output: Output, offset: u64) -> Option<Restart> {
        self.run(output, offset)
            .filter(|begin| begin.offset(output) == offset && begin.run > 1)
            .map(|begin| Restart {
                run: begin.run,
                at: begin.at,
            })
    }
}

/// When both outputs together hold more than `size` bytes, frees what is oldest in each until half of that is left.
pub(super) fn trim(folder: &Folder, size: u64) -> std::io::Result<()> {
    make_room(folder, size, 0).map(|_| ())
}

/// Frees what is oldest when so many bytes more would be too many, and answers how many more there may be.
fn make_room(folder: &Folder, size: u64, more: u64) -> std::io::Result<u64> {
    let files = files(folder)?;
    let total = files.iter().map(|(_, _, kept)| kept).sum::<u64>();
    if total.saturating_add(more) <= size {
        return Ok(size - total);
    }
    for (output, length, kept) in files {
        // Each gives up the same share, so that half of the size is left. Files that are empty still have nothing to give.
        let rest = (u128::from(kept) * u128::from(size / 2) / u128::from(total.max(1))) as u64;
        cut(
            &folder.output(output),
            length.saturating_sub(rest) / BLOCK * BLOCK,
        )?;
    }
    Ok(size.saturating_sub(kept(folder)?))
}

/// How many bytes both outputs hold together.
fn kept(folder: &Folder) -> std::io::Result<u64> {
    Ok(files(folder)?.iter().map(|(_, _, kept)| kept).sum())
}

/// The files that are there, with their lengths and how much of them is no hole.
fn files(folder: &Folder) -> std::io::Result<Vec<(Output, u64, u64)>> {
    let mut found = Vec::new();
    for output in OUTPUTS {
        match std::fs::metadata(folder.output(output)) {
            Ok(m) => found.push((output, m.len(), (m.blocks() * 512).min(m.len()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

#[cfg(target_os = "linux")]
fn cut(path: &Path, end: u64) -> std::io::Result<()> {
    use rustix::fs::FallocateFlags;
    let file = OpenOptions::new().write(true).open(path)?;
    if end > 0
        && rustix::fs::fallocate(
            &file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            0,
            end,
        )
        .is_err()
    {
        // A file system without holes: everything goes, and cursors begin anew.
        file.set_len(0)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn cut(path: &Path, _: u64) -> std::io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

/// Last words of an earlier run that lack their newline get it, so that those of the next run are not glued to them.
pub(super) fn end_line(folder: &Folder, output: Output) -> std::io::Result<()> {
    let mut file = match OpenOptions::new()
        .read(true)
        .append(true)
        .open(folder.output(output))
    {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 && file.read_at(&mut last, length - 1)? == 1 && last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// Answers a query over the replicas of one allocation, in the order given. Without a cursor it begins at the last lines; what does not fit
/// into one answer comes behind the cursor.
///
/// # Errors
/// `invalid` for a cursor that is none of ours.
pub(super) fn read(
    sources: &[Source],
    query: &LogQuery,
    now: Instant,
) -> Result<LogChunk, Failure> {
    let cursor = query.after.as_deref().map(Cursor::parse).transpose()?;
    let follows = cursor.is_some();
    let mut next = cursor.unwrap_or_default();
    let mut streams = Vec::new();
    let mut finished = true;
    for source in sources {
        let positions = *next.0.entry(source.replica).or_default();
        for (output, position) in OUTPUTS.into_iter().zip(positions) {
            let within = match (query.previous, source.previous(output)) {
                (false, _) => 0..u64::MAX,
                (true, Some(range)) => range,
                (true, None) => continue,
            };
            let open = source.open && !query.previous;
            match File::open(source.folder.output(output)) {
                Ok(file) => {
                    let mut stream = Stream::open(source.replica, output, (file, within), position);
                    stream.open = open;
                    streams.push((source, stream));
                }
                Err(_) => finished &= !open,
            }
        }
    }
    if !follows {
        let starts: Vec<Vec<u64>> = streams
            .iter()
            .map(|(_, s)| s.last_lines(query.tail as usize))
            .collect();
        let most = level(starts.iter().map(|s| s.len() as u64), u64::from(query.tail));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // Fewer lines than outputs: the first ones have one each.
        let mut single = query.tail as usize;
        for ((_, stream), starts) in streams.iter_mut().zip(starts) {
            let lines = match most {
                0 => starts.len().min(1).min(single),
                most => most,
            };
            single = single.saturating_sub(lines);
            stream.begin(&starts, lines);
        }
    }
    let share = level(streams.iter().map(|(_, s)| s.unread()), ANSWER).max(SHARE);
    let mut lines = Vec::new();
    for (source, mut stream) in streams {
        let pieces = stream.read(share, follows, now);
        finished &= !stream.open && stream.is_at_end();
        let position = next.0.entry(stream.replica).or_default();
        if let Some(position) = position.get_mut(usize::from(stream.output == Output::Stderr)) {
            *position = stream.position;
        }
        let (replica, output) = (stream.replica, stream.output);
        let line = |p: stream::Piece| {
            let run = source.run(output, p.offset).map(|begin| begin.run);
            let line = LogLine {
                replica,
                output,
                time: None,
                text: p.text,
                continues: p.continues,
                partial: p.partial,
                restart: source.restart(output, p.offset),
            };
            (run, line)
        };
        lines.extend(pieces.into_iter().map(line));
    }
    // What one run wrote to both outputs stands together.
    lines.sort_by_key(|(run, line)| (line.replica, *run));
    Ok(LogChunk {
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        next: (!finished).then(|| next.to_string()),
    })
}

/// The most that each may take so that all together take no more than `total`, as evenly as their lengths allow.
fn level(lengths: impl Iterator<Item = u64>, total: u64) -> u64 {
    let mut lengths: Vec<u64> = lengths.collect();
    lengths.sort_unstable();
    let (mut left, mut those_left) = (total, lengths.len() as u64);
    for length in lengths {
        let most = left / those_left.max(1);
        if length > most {
            return most;
        }
        left -= length;
        those_left -= 1;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_shared_evenly() {
        for (lengths, total, expected) in [
            ([1, 9, 9], 9, [1, 4, 4]),
            ([2, 2, 2], 9, [2, 2, 2]),
            ([5, 0, 5], 4, [2, 0, 2]),
            ([3, 3, 3], 0, [0, 0, 0]),
        ] {
            let most = level(lengths.into_iter(), total);
            assert_eq!(
                lengths.map(|length: u64| length.min(most)),
                expected,
                "{lengths:?} {total}"
            );
        }
    }

    #[test]
    fn a_chunk_larger_than_the_size_gets_what_there_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().to_owned());
        for written in [None, Some("")] {
            if let Some(text) = written {
                std::fs::write(folder.output(Output::Stdout), text).unwrap();
            }
            assert_eq!(make_room(&folder, 100, 1000).unwrap(), 100, "{written:?}");
        }
        std::fs::write(folder.output(Output::Stdout), [b'x'; 3 * BLOCK as usize]).unwrap();
        let room = make_room(&folder, 4 * BLOCK, 100 * BLOCK).unwrap();
        assert!((2 * BLOCK..=4 * BLOCK).contains(&room), "{room}");
    }
}
