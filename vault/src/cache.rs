//! A local folder of indexes that were read: they never change, and reading the past asks for the same ones again.
//!
//! It is a help and no more. What comes out of it is verified as if it came from the store; what cannot be read or
//! written there is fetched. It holds parts as they stand in the store, so nothing in it is readable that is not there.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use revkeep_schemas::names::Uid;
use sha2::{Digest, Sha256};

/// The version of what stands in the files; others are in other folders.
const VERSION: &str = "v1";

/// How exactly it is known when a file was last used.
const USE_NOTED_EVERY: Duration = Duration::from_secs(3600);

/// A folder of bounded size.
#[derive(Debug)]
pub struct IndexCache {
    folder: PathBuf,
    limit_bytes: u64,
    /// Bytes that this process has added.
    added: AtomicU64,
}

impl IndexCache {
    /// A cache in `folder`, which is made when something is put there. When a process has added a sixteenth of
    /// `limit_bytes`, and when it ends, what was not used for longest is removed until the rest fits.
    pub fn new(folder: impl Into<PathBuf>, limit_bytes: u64) -> Self {
        Self {
            folder: folder.into().join(VERSION),
            limit_bytes,
            added: AtomicU64::new(0),
        }
    }

    /// What was put under a label, whole or not at all.
    pub(crate) fn get(&self, label: &str) -> Option<Bytes> {
        let path = self.path(label);
        let mut file = fs::File::open(&path).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        // A file's age is that of its last use, to the hour: not every system notes when a file was read.
        let age = file.metadata().ok()?.modified().ok()?.elapsed();
        if age.is_ok_and(|age| age > USE_NOTED_EVERY)
            && let Ok(file) = fs::File::options().append(true).open(&path)
        {
            let _unknown_age = file.set_modified(SystemTime::now());
        }
        Some(bytes.into())
    }

    /// Puts bytes under a label. Whatever fails, fails silently: the next reader fetches them again.
    pub(crate) fn put(&self, label: &str, bytes: &[u8]) {
        let path = self.path(label);
        if bytes.len() as u64 <= self.limit_bytes && write(&path, bytes).is_some() {
            let len = bytes.len() as u64;
            let added = self.added.fetch_add(len, Ordering::Relaxed) + len;
            if added > self.limit_bytes / 16 {
                self.added.store(0, Ordering::Relaxed);
                self.trim();
            }
        }
    }

    fn path(&self, label: &str) -> PathBuf {
        let name = Uid(u64::from_be_bytes(prefix_of(&Sha256::digest(label)))).to_string();
        let folder = name.get(..2).unwrap_or_default();
        self.folder.join(folder).join(&name)
    }

    /// Removes what was not used for longest until the rest fits.
    fn trim(&self) {
        let shelves = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let files = shelves.flat_map(|shelf| fs::read_dir(shelf.path()).into_iter().flatten());
        let mut files: Vec<_> = files
            .flatten()
            .filter_map(|file| {
                let meta = file.metadata().ok()?;
                Some((meta.modified().ok()?, meta.len(), file.path()))
            })
            .collect();
        files.sort();
        let mut bytes: u64 = files.iter().map(|file| file.1).sum();
        for (_, len, path) in files {
            if bytes <= self.limit_bytes {
                break;
            }
            if fs::remove_file(path).is_ok() {
                bytes -= len;
            }
        }
    }
}

impl Drop for IndexCache {
    fn drop(&mut self) {
        if self.added.load(Ordering::Relaxed) > 0 {
            self.trim();
        }
    }
}

/// The first bytes of a hash. What is found under the same ones by chance is not what was asked for, and verified so.
fn prefix_of(hash: &[u8]) -> [u8; 8] {
    hash.first_chunk().copied().unwrap_or_default()
}

/// Writes aside and renames, so that a reader never sees a part. For the user alone.
fn write(path: &Path, bytes: &[u8]) -> Option<()> {
    let folder = path.parent()?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).ok()?;
    let aside = path.with_extension(format!("{:016x}", rand::random::<u64>()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside).ok()?;
    let written = file
        .write_all(bytes)
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _left_behind = fs::remove_file(&aside);
    }
    written.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_until_it_is_too_much() {
        let place = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(place.path(), 1000);
        assert_eq!(cache.get("a"), None);
        cache.put("a", b"one");
        assert_eq!(cache.get("a").unwrap(), "one");
        for n in 0..40 {
            cache.put(&format!("{n}"), &[n; 100]);
        }
        cache.put("too long", &[0; 1001]);
        assert_eq!(cache.get("too long"), None);
        drop(cache);
        let cache = IndexCache::new(place.path(), 1000);
        let left = (0..40).filter(|n| cache.get(&n.to_string()).is_some());
        assert!((1..=10).contains(&left.count()));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_obstacle() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("v1"), "a file").unwrap();
        let cache = IndexCache::new(place.path(), 1000);
        cache.put("a", b"one");
        assert_eq!(cache.get("a"), None);
    }
}
