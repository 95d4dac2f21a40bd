//! Where bytes go: a file opened for appending, or standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

/// An open target.
pub(crate) enum Output {
    File(File),
    Stderr,
}

impl Output {
    /// Opens the file at `path` for appending, creating it with mode 0644; without a path, standard error.
    pub(crate) fn open(path: Option<&str>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stderr) };
        OpenOptions::new().append(true).create(true).mode(0o644).open(path).map(Self::File)
    }

    /// Writes whole lines, with one system call unless the system takes only a part.
    pub(crate) fn write(&self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => (&mut &*file).write_all(lines),
            Self::Stderr => io::stderr().lock().write_all(lines),
        }
    }
}
