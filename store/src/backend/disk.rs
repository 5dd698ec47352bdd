//! The files of a member, so that tests can put a disk with faults in their place.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use redb::{StorageBackend, backends::FileBackend};

/// A folder of database files.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing, made if it is absent.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Whether the file is there.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// Renames a file, over another if need be, and makes that durable. Who has it open keeps it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file if it is there. Who has it open keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// What to call the file in an error.
    fn describe(&self, name: &str) -> String;
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct FileDisk {
    folder: PathBuf,
}

impl FileDisk {
    /// The folder, made with mode 0700 if it is absent.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Disk for FileDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        // The name has to survive as the content does; a kill may have come before the sync of whoever made it.
        self.sync_folder()?;
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.folder.join(name).try_exists()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))?;
        self.sync_folder()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn describe(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}
