//! Building beside the target, and moving there in one step.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Kind, RestoreError};

/// A hidden directory beside the target, on the same file system. It is removed when it is dropped, so that whatever fails leaves
/// nothing behind.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    parent: PathBuf,
    directory: TempDir,
}

impl Staging {
    /// Makes the staging directory for a target that is absent or an empty directory. Missing parents are made.
    ///
    /// # Errors
    /// [`Kind::Refused`] when something is at the target; [`Kind::Invalid`] for a path without a name.
    pub fn for_directory(target: &Path) -> Result<Self, RestoreError> {
        refuse_unless_free(target, true)?;
        Self::beside(target)
    }

    /// Makes the staging directory for a file that must not exist.
    ///
    /// # Errors
    /// [`Kind::Refused`] when something is at the target; [`Kind::Invalid`] for a path without a name.
    pub fn for_file(target: &Path) -> Result<Self, RestoreError> {
        refuse_unless_free(target, false)?;
        Self::beside(target)
    }

    fn beside(target: &Path) -> Result<Self, RestoreError> {
        let name = target.file_name().ok_or_else(|| {
            RestoreError::new(
                Kind::Invalid,
                format!("{}: name a path that can be created", target.display()),
            )
        })?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent)
            .map_err(RestoreError::io(format!("create {}", parent.display())))?;
        let directory = tempfile::Builder::new()
            .prefix(&format!(".{}.revkeep-partial-", name.to_string_lossy()))
            .tempdir_in(&parent)
            .map_err(RestoreError::io(format!(
                "create a directory in {}",
                parent.display()
            )))?;
        Ok(Self {
            target: target.to_path_buf(),
            parent,
            directory,
        })
    }

    /// Where to build.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Syncs the staging directory and puts it at the target in one rename.
    ///
    /// # Errors
    /// [`Kind::Refused`] when something appeared at the target meanwhile.
    pub fn commit_directory(self) -> Result<(), RestoreError> {
        sync_tree(self.path())?;
        refuse_unless_free(&self.target, true)?;
        fs::rename(self.path(), &self.target).map_err(|error| not_placed(&self.target, error))?;
        // It is no longer where the guard would look for it.
        let _moved = self.directory.keep();
        sync_directory(&self.parent)
    }

    /// Puts a synced file out of the staging directory at the target, never over another.
    ///
    /// # Errors
    /// [`Kind::Refused`] when something appeared at the target meanwhile.
    pub fn commit_file(self, built: &Path) -> Result<(), RestoreError> {
        refuse_unless_free(&self.target, false)?;
        match fs::hard_link(built, &self.target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // Not every file system has hard links.
                fs::rename(built, &self.target).map_err(|error| not_placed(&self.target, error))?;
            }
            placed => placed.map_err(|error| not_placed(&self.target, error))?,
        }
        sync_directory(&self.parent)
    }
}

fn not_placed(target: &Path, error: io::Error) -> RestoreError {
    let kind = match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => Kind::Refused,
        _ => Kind::Failed,
    };
    RestoreError::new(kind, format!("move the result to {}", target.display())).because(error)
}

/// Refuses a target that holds anything.
///
/// # Errors
/// [`Kind::Refused`].
pub fn refuse_unless_free(
    target: &Path,
    empty_directory_is_free: bool,
) -> Result<(), RestoreError> {
    let found = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(RestoreError::io(format!("look at {}", target.display()))(
                error,
            ));
        }
        Ok(found) => found,
    };
    if empty_directory_is_free && found.is_dir() {
        let mut entries =
            fs::read_dir(target).map_err(RestoreError::io(format!("list {}", target.display())))?;
        if entries.next().is_none() {
            return Ok(());
        }
    }
    let wanted = if empty_directory_is_free {
        "a path that is absent or an empty directory"
    } else {
        "a path that does not exist"
    };
    Err(RestoreError::new(
        Kind::Refused,
        format!(
            "{} holds something already, and a restore overwrites nothing: give {wanted}",
            target.display()
        ),
    ))
}

fn sync_tree(directory: &Path) -> Result<(), RestoreError> {
    let entries = fs::read_dir(directory)
        .map_err(RestoreError::io(format!("list {}", directory.display())))?;
    for entry in entries {
        let entry = entry.map_err(RestoreError::io(format!("list {}", directory.display())))?;
        let is_dir = entry
            .file_type()
            .map_err(RestoreError::io(format!(
                "look at {}",
                entry.path().display()
            )))?
            .is_dir();
        if is_dir {
            sync_tree(&entry.path())?;
        }
    }
    sync_directory(directory)
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), RestoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(RestoreError::io(format!("sync {}", directory.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("deep/data");
        let staging = Staging::for_directory(&target).unwrap();
        fs::create_dir(staging.path().join("member")).unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(place.path().join("deep")).unwrap().count(), 0);

        let staging = Staging::for_directory(&target).unwrap();
        fs::create_dir(staging.path().join("member")).unwrap();
        staging.commit_directory().unwrap();
        assert!(target.join("member").is_dir());
        assert_eq!(fs::read_dir(place.path().join("deep")).unwrap().count(), 1);
        assert_eq!(
            Staging::for_directory(&target).unwrap_err().kind(),
            Kind::Refused
        );
    }

    #[test]
    fn an_empty_directory_is_a_target_and_a_file_is_not() {
        let place = tempfile::tempdir().unwrap();
        let empty = place.path().join("empty");
        fs::create_dir(&empty).unwrap();
        Staging::for_directory(&empty)
            .unwrap()
            .commit_directory()
            .unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"mine").unwrap();
        assert_eq!(
            Staging::for_directory(&file).unwrap_err().kind(),
            Kind::Refused
        );
        assert_eq!(Staging::for_file(&file).unwrap_err().kind(), Kind::Refused);
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("snapshot.db");
        let staging = Staging::for_file(&target).unwrap();
        let built = staging.path().join("db");
        fs::write(&built, b"new").unwrap();
        fs::write(&target, b"old").unwrap();
        assert_eq!(
            staging.commit_file(&built).unwrap_err().kind(),
            Kind::Refused
        );
        assert_eq!(fs::read(&target).unwrap(), b"old");
    }
}
