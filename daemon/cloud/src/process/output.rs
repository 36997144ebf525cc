//! The kept output of processes: cuts it to size and reads it line by line, from the end or behind a cursor. Everything here blocks.
//!
//! Processes append to plain files, so output survives the daemon. When both files of a process outgrow their size, the older half of
//! each becomes a hole: its blocks are freed, while what follows stays at its offset. Nothing that is written meanwhile is lost, and
//! a cursor, which is offsets, stays true.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use tradewind_core::{
    failure::Failure,
    workload::{LogChunk, LogLine, LogQuery, Output},
};

use super::folder::Folder;

const BLOCK: u64 = 4096;
/// One answer's bytes.
const ANSWER: u64 = 1 << 20;
/// The least share of a stream in an answer, and so the longest line that comes in one piece.
const SHARE: u64 = 16 << 10;
/// How far back a tail is looked for.
const FURTHEST: u64 = 4 << 20;
const OUTPUTS: [Output; 2] = [Output::Stdout, Output::Stderr];

/// One replica's output.
pub(super) struct Source {
    pub(super) replica: u32,
    pub(super) folder: Folder,
    /// Whether more may come.
    pub(super) open: bool,
}

/// When both outputs together hold more than `size` bytes, frees what is oldest in each until half of that is left.
pub(super) fn trim(folder: &Folder, size: u64) -> std::io::Result<()> {
    let mut kept = Vec::new();
    for output in OUTPUTS {
        match std::fs::metadata(folder.output(output)) {
            Ok(m) => kept.push((output, m.len(), (m.blocks() * 512).min(m.len()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    let total = kept.iter().map(|(_, _, kept)| kept).sum::<u64>();
    if total <= size {
        return Ok(());
    }
    for (output, length, kept) in kept {
        // Each gives up the same share, so that half of the size is left.
        let rest = (u128::from(kept) * u128::from(size / 2) / u128::from(total)) as u64;
        cut(&folder.output(output), length.saturating_sub(rest) / BLOCK * BLOCK)?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn cut(path: &Path, end: u64) -> std::io::Result<()> {
    use rustix::fs::FallocateFlags;
    let file = OpenOptions::new().write(true).open(path)?;
    if end > 0 && rustix::fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, end).is_err() {
        // A file system without holes: everything goes, and cursors begin anew.
        file.set_len(0)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn cut(path: &Path, _: u64) -> std::io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

/// Where what is kept begins.
fn beginning(file: &File) -> u64 {
    #[cfg(target_os = "linux")]
    if let Ok(offset) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(0)) {
        return offset;
    }
    let _ = file;
    0
}

/// Answers a query over the replicas of one allocation, in the order given.
///
/// # Errors
/// `invalid` for a cursor that is none of ours.
pub(super) fn read(sources: &[Source], query: &LogQuery) -> Result<LogChunk, Failure> {
    let mut cursor = query.after.as_deref().map(Cursor::parse).transpose()?;
    let from_cursor = cursor.is_some();
    let mut next = cursor.take().unwrap_or_default();
    let share = (ANSWER / (2 * sources.len().max(1) as u64)).max(SHARE);
    let mut streams: Vec<Vec<LogLine>> = Vec::new();
    let mut finished = true;
    for source in sources {
        let offsets = next.0.entry(source.replica).or_default();
        for (output, offset) in OUTPUTS.into_iter().zip(offsets) {
            let Ok(file) = File::open(source.folder.output(output)) else {
                finished &= !source.open;
                continue;
            };
            let piece =
                if from_cursor { Piece::after(&file, *offset, share, source.open) } else { Piece::tail(&file, query.tail, source.open) };
            finished &= !source.open && piece.at_end;
            *offset = piece.end;
            let line = |text| LogLine { replica: source.replica, output, time: None, text };
            streams.push(piece.lines.into_iter().map(line).collect());
        }
    }
    if !from_cursor {
        share_out(&mut streams, query.tail as usize);
    }
    Ok(LogChunk { lines: streams.into_iter().flatten().collect(), next: (!finished).then(|| next.to_string()) })
}

/// Keeps `total` lines in all: the last ones of each stream, as evenly as the streams allow.
fn share_out(streams: &mut [Vec<LogLine>], total: usize) {
    let mut lengths: Vec<usize> = streams.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    let (mut left, mut streams_left, mut most) = (total, lengths.len(), 0);
    for length in lengths {
        most = left / streams_left.max(1);
        if length > most {
            break;
        }
        left -= length;
        streams_left -= 1;
        most = usize::MAX;
    }
    for stream in streams {
        let excess = stream.len().saturating_sub(most);
        stream.drain(..excess);
    }
}

/// Whole lines of one stream.
struct Piece {
    lines: Vec<String>,
    /// Where to go on.
    end: u64,
    /// Nothing was left unread.
    at_end: bool,
}

impl Piece {
    fn after(file: &File, offset: u64, most: u64, open: bool) -> Self {
        let length = file.metadata().map_or(0, |m| m.len());
        let start = beginning(file);
        // Beyond the end: the file began anew.
        let offset = if offset > length { 0 } else { offset };
        let (from, torn) = if offset < start { (start, start > 0) } else { (offset, false) };
        Self::between(file, from, length.min(from.saturating_add(most)), length, torn, open)
    }

    fn tail(file: &File, lines: u32, open: bool) -> Self {
        let length = file.metadata().map_or(0, |m| m.len());
        let start = beginning(file).max(length.saturating_sub(FURTHEST));
        let mut reach = 16 << 10;
        loop {
            let from = length.saturating_sub(reach).max(start);
            let mut piece = Self::between(file, from, length, length, from > 0, open);
            if piece.lines.len() >= lines as usize || from == start {
                let excess = piece.lines.len().saturating_sub(lines as usize);
                piece.lines.drain(..excess);
                return piece;
            }
            reach *= 4;
        }
    }

    /// Lines in `from..to`. `torn`: it begins inside a line, which is skipped.
    fn between(file: &File, from: u64, to: u64, length: u64, torn: bool, open: bool) -> Self {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        let read = read_full(file, &mut bytes, from);
        bytes.truncate(read);
        let mut rest = bytes.as_slice();
        if torn {
            rest = rest.iter().position(|b| *b == b'\n').and_then(|i| rest.get(i + 1..)).unwrap_or_default();
        }
        let reached_end = from + read as u64 >= length;
        // An unfinished last line waits for its end, unless none will come or it is longer than one answer.
        let whole = match rest.iter().rposition(|b| *b == b'\n') {
            Some(i) if open || !reached_end => i + 1,
            None if open && reached_end && (rest.len() as u64) < SHARE => 0,
            _ => rest.len(),
        };
        let text = rest.get(..whole).unwrap_or_default();
        let unread = (rest.len() - whole) as u64;
        let body = text.strip_suffix(b"\n").unwrap_or(text);
        let line = |l: &[u8]| String::from_utf8_lossy(l.strip_suffix(b"\r").unwrap_or(l)).into_owned();
        let lines = if text.is_empty() { Vec::new() } else { body.split(|b| *b == b'\n').map(line).collect() };
        let end = from + read as u64 - unread;
        Self { lines, end, at_end: end >= length }
    }
}

fn read_full(file: &File, buffer: &mut [u8], mut offset: u64) -> usize {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, offset) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                offset += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

/// Offsets of standard output and standard error by replica.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cursor(BTreeMap<u32, [u64; 2]>);

impl Cursor {
    fn parse(text: &str) -> Result<Self, Failure> {
        let bad = || Failure::invalid(format!("\"{}\" is not a cursor of an earlier answer", text.escape_debug())).field("after");
        let mut offsets = BTreeMap::new();
        for part in text.strip_prefix("v1").ok_or_else(bad)?.split('.').skip(1) {
            let numbers: Vec<u64> = part.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
            let [replica, out, err] = numbers.try_into().map_err(|_| bad())?;
            offsets.insert(u32::try_from(replica).map_err(|_| bad())?, [out, err]);
        }
        Ok(Self(offsets))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("v1")?;
        self.0.iter().try_for_each(|(replica, [out, err])| write!(f, ".{replica}-{out}-{err}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_nonsense_is_refused() {
        let cursor = Cursor(BTreeMap::from([(0, [1, 2]), (7, [u64::MAX, 0])]));
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        for bad in ["", "v2.0-1-2", "v1.0-1", "v1.0-1-2-3", "v1.x-1-2", "v1.0--1-2"] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tail_is_shared_evenly() {
        let line = |n: usize| LogLine { replica: 0, output: Output::Stdout, time: None, text: n.to_string() };
        for (lengths, total, expected) in
            [([1, 9, 9], 9, [1, 4, 4]), ([2, 2, 2], 9, [2, 2, 2]), ([5, 0, 5], 4, [2, 0, 2]), ([3, 3, 3], 0, [0, 0, 0])]
        {
            let mut streams = lengths.map(|n| (0..n).map(line).collect::<Vec<_>>());
            share_out(&mut streams, total);
            assert_eq!(streams.map(|s| s.len()), expected, "{lengths:?} {total}");
        }
    }
}
