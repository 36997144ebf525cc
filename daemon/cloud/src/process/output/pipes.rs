//! Where replicas write while they run: named pipes in their folders, from which the collector copies into files of bounded size. A program
//! that writes faster waits for the copy; nothing that is written is on disk twice, and the files never hold more than they may.
//!
//! A replica holds its pipes open for reading and writing, so that it outlives a collector that was killed. A collector that follows
//! finds in the pipe what has not been copied.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileTypeExt,
    path::PathBuf,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tradewind_core::workload::Output;

use super::super::folder::Folder;

/// The pipe of one output.
pub(in crate::process) fn path(folder: &Folder, output: Output) -> PathBuf {
    folder.path().join(if output == Output::Stderr {
        "stderr.pipe"
    } else {
        "stdout.pipe"
    })
}

/// Whether the folder has pipes: its runs were started by a version that has them.
pub(in crate::process) fn are_there(folder: &Folder) -> bool {
    super::OUTPUTS.into_iter().all(|output| {
        std::fs::symlink_metadata(path(folder, output)).is_ok_and(|m| m.file_type().is_fifo())
    })
}

/// Makes what is missing.
///
/// # Errors
/// The file system has no pipes, or can't be written.
pub(in crate::process) fn make(folder: &Folder) -> io::Result<()> {
    for output in super::OUTPUTS {
        match mknodat(
            CWD,
            path(folder, output),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        ) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The end that a process writes to. Opening it waits for nobody, and it never breaks.
pub(in crate::process) fn open(folder: &Folder, output: Output) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path(folder, output))
}
