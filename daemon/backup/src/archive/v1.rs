//! Format 1, which is read and no longer written: a first line that says what it is, the files' bytes one after another, the index, and a
//! last line with the index's length and the hash of everything before.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use tradewind_core::names::Digest;

use super::{Fault, Found, Hashing, LONGEST_INDEX, read_index};

const FORMAT: u32 = 1;
pub(super) const MAGIC: &[u8] = b"tradewind backup 1\n";
/// `\nindex `, 20 digits, a space; then the hash with its name and a line end.
const BEFORE_HASH: u64 = 7 + 20 + 1;
const LAST_LINE: u64 = BEFORE_HASH + 71 + 1;

/// Reads the whole file and checks it. Its digest is the one that its last line names.
pub(super) fn read(mut file: &File, length: u64) -> Result<Found, Fault> {
    let body = length
        .checked_sub(LAST_LINE)
        .filter(|n| *n >= MAGIC.len() as u64)
        .ok_or(Fault::Foreign)?;
    file.seek(SeekFrom::Start(body))?;
    let mut last = String::new();
    file.take(LAST_LINE)
        .read_to_string(&mut last)
        .map_err(|_| Fault::Foreign)?;
    let told = last
        .strip_prefix("\nindex ")
        .and_then(|l| l.trim_end().split_once(' '));
    let told = told
        .and_then(|(size, hash)| Some((size.parse::<u64>().ok()?, hash.parse::<Digest>().ok()?)));
    let (size, digest) = told
        .filter(|(size, digest)| last == format!("\nindex {size:020} {digest}\n"))
        .ok_or(Fault::Foreign)?;

    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Hashing::new(BufReader::with_capacity(1 << 18, file).take(body + BEFORE_HASH));
    io::copy(&mut bytes, &mut io::sink())?;
    if bytes.digest() != digest {
        return Err(Fault::Damaged(
            "its bytes do not have the hash that its last line names".to_owned(),
        ));
    }
    let end = body
        .checked_sub(size)
        .filter(|_| size <= LONGEST_INDEX)
        .ok_or(Fault::Foreign)?;
    file.seek(SeekFrom::Start(end))?;
    let mut text = Vec::new();
    file.take(size).read_to_end(&mut text)?;
    let index = read_index(&text, FORMAT)?;
    let mut starts = Vec::with_capacity(index.files.len());
    let mut at = Some(MAGIC.len() as u64);
    for member in &index.files {
        starts.extend(at);
        at = at.and_then(|at| at.checked_add(member.size));
    }
    if at != Some(end) {
        return Err(Fault::Damaged(
            "its index and its content do not fit together".to_owned(),
        ));
    }
    Ok(Found {
        digest,
        index,
        starts,
    })
}
