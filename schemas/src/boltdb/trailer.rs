//! The SHA-256 at the end of a snapshot file.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::FormatError;

/// Bytes of the trailer.
const TRAILER_LEN: u64 = 32;
/// Pages are multiples of this, so a remainder of [`TRAILER_LEN`] means that a trailer is there.
const ALIGNMENT: u64 = 512;
const READ_LEN: usize = 1 << 20;

/// What the end of a snapshot file says about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailer {
    /// It holds the SHA-256 of all bytes before it.
    Valid,
    /// There is none, as in a member's own db file: nothing proves the content.
    Absent,
}

/// Splits a file's length into the bytes of its pages and of its trailer. The snapshot RPC appends 32 bytes to pages,
/// so there is a trailer if and only if the length modulo 512 is 32 (etcd, `etcdutl/snapshot/v3_snapshot.go`).
pub(super) fn split_trailer(len: u64) -> (u64, bool) {
    if len % ALIGNMENT == TRAILER_LEN {
        (len - TRAILER_LEN, true)
    } else {
        (len, false)
    }
}

/// Reads the whole file at `path` once and compares its SHA-256 with its trailer.
///
/// # Errors
/// [`FormatError::Corrupt`] when they differ: the file is damaged or not a snapshot.
pub fn check_trailer(path: impl AsRef<Path>) -> Result<Trailer, FormatError> {
    let path = path.as_ref();
    let what = path.display().to_string();
    let file = File::open(path).map_err(FormatError::io(format!("{what}: open")))?;
    let len = file
        .metadata()
        .map_err(FormatError::io(format!("{what}: metadata")))?
        .len();
    let (pages_len, present) = split_trailer(len);
    if !present {
        return Ok(Trailer::Absent);
    }
    let computed = digest(&file, pages_len, &what)?;
    let mut stored = [0; 32];
    file.read_exact_at(&mut stored, pages_len)
        .map_err(FormatError::io(format!("{what}: read trailer")))?;
    if computed == stored {
        return Ok(Trailer::Valid);
    }
    Err(FormatError::corrupt(
        what,
        pages_len,
        format!("the SHA-256 of the bytes before it, {}", hex(&computed)),
        hex(&stored),
    ))
}

/// Appends the SHA-256 of the db file at `path` to it and syncs it: the form that `etcdutl snapshot restore` takes.
///
/// This reads the file once more, streaming: the hash starts with the metas, which are known only when all else is
/// written. Right after writing the bytes come from the page cache.
///
/// # Errors
/// [`FormatError::Misuse`] when the file's length is not one of whole pages: a trailer is there already, or it is not
/// a db file.
pub fn append_trailer(path: impl AsRef<Path>) -> Result<[u8; 32], FormatError> {
    let path = path.as_ref();
    let what = path.display().to_string();
    let file = OpenOptions::new().read(true).append(true).open(path);
    let mut file = file.map_err(FormatError::io(format!("{what}: open")))?;
    let len = file
        .metadata()
        .map_err(FormatError::io(format!("{what}: metadata")))?
        .len();
    if len == 0 || len % ALIGNMENT != 0 {
        let reason =
            format!("its {len} bytes are not whole pages: no db file, or one that has a trailer");
        return Err(FormatError::misuse(
            format!("{what}: append trailer"),
            reason,
        ));
    }
    let sum = digest(&file, len, &what)?;
    file.write_all(&sum)
        .and_then(|()| file.sync_all())
        .map_err(FormatError::io(format!("{what}: append trailer")))?;
    Ok(sum)
}

/// The SHA-256 of the first `len` bytes.
pub(super) fn digest(file: &File, len: u64, what: &str) -> Result<[u8; 32], FormatError> {
    let mut sha = Sha256::new();
    let mut buf = vec![0; READ_LEN];
    let mut offset = 0;
    while offset < len {
        let part = usize::try_from(len - offset)
            .unwrap_or(READ_LEN)
            .min(READ_LEN);
        let room = buf.get_mut(..part).unwrap_or_default();
        file.read_exact_at(room, offset)
            .map_err(FormatError::io(format!(
                "{what}: read {part} bytes at {offset}"
            )))?;
        sha.update(room);
        offset += part as u64;
    }
    Ok(sha.finalize().into())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
