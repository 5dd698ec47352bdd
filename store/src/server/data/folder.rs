//! The folder itself.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::{Identity, Seed};
use crate::error::{Result, StoreError};

/// A member's data directory.
#[derive(Clone, Debug)]
pub(in crate::server) struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Looks at a data directory, made if it is absent. etcd's own is refused.
    pub(in crate::server) fn open(path: &Path) -> Result<Self> {
        let folder = Self {
            path: path.to_path_buf(),
        };
        for etcds in ["snap", "wal"] {
            let found = folder.member().join(etcds);
            if found.exists() {
                return Err(StoreError::Config(format!(
                    "--data-dir={}: this is a data directory of etcd ({} exists). Give the store another; to move the \
                     data here, take a snapshot of etcd and restore it with `revkeep restore --store-dir`",
                    path.display(),
                    found.display()
                )));
            }
        }
        create_durably(path)?;
        Ok(folder)
    }

    /// Where the member's files are.
    pub(in crate::server) fn member(&self) -> PathBuf {
        self.path.join("member")
    }

    /// Where the member's files are put together before the first start.
    pub(in crate::server) fn unborn(&self) -> PathBuf {
        self.path.join("member.new")
    }

    /// Where snapshots are written before they are sent, and received.
    pub(in crate::server) fn scratch(&self) -> PathBuf {
        self.member().join("scratch")
    }

    /// Who the member is; `None` before its first start.
    pub(in crate::server) fn identity(&self) -> Result<Option<Identity>> {
        if !self.member().exists() {
            return Ok(None);
        }
        Identity::read(&self.member()).map(Some)
    }

    /// What a restore left.
    pub(in crate::server) fn seed(&self) -> Result<Option<Seed>> {
        Seed::open(self.path.join("seed"))
    }

    /// Removes what a restore left, once it is the member's own.
    pub(in crate::server) fn remove_seed(&self) -> Result<()> {
        let seed = self.path.join("seed");
        match fs::remove_dir_all(&seed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &seed, error))
            }
            _ => Ok(()),
        }
    }

    /// Begins the member's life: `fill` puts its files into the folder it is given. A kill in the middle leaves nothing
    /// that counts.
    pub(in crate::server) fn give_birth(
        &self,
        identity: &Identity,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let unborn = self.unborn();
        if unborn.exists() {
            fs::remove_dir_all(&unborn).map_err(|error| failed("remove", &unborn, error))?;
        }
        create(&unborn)?;
        fill(&unborn)?;
        identity.write(&unborn)?;
        sync(&unborn)?;
        let member = self.member();
        fs::rename(&unborn, &member).map_err(|error| failed("rename", &unborn, error))?;
        sync(&self.path)
    }

    /// Makes the folder for snapshots, and empties it of what a kill has left.
    pub(in crate::server) fn prepare_scratch(&self) -> Result<PathBuf> {
        let scratch = self.scratch();
        if scratch.exists() {
            fs::remove_dir_all(&scratch).map_err(|error| failed("remove", &scratch, error))?;
        }
        create(&scratch)?;
        Ok(scratch)
    }
}

pub(super) fn failed(action: &str, path: &Path, error: io::Error) -> StoreError {
    StoreError::disk(
        format!("cannot {action} {}: {error}", path.display()),
        error,
    )
}

fn create(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("create", path, error))
}

/// Makes a folder, and the names of it and of all above it that were made for it durable.
fn create_durably(path: &Path) -> Result<()> {
    let path = std::path::absolute(path).map_err(|error| failed("find", path, error))?;
    let made: Vec<&Path> = path
        .ancestors()
        .take_while(|above| !above.exists())
        .collect();
    create(&path)?;
    for name in made {
        if let Some(folder) = name.parent() {
            sync(folder)?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed("sync", folder, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_etcd_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("member/wal")).unwrap();
        let error = DataFolder::open(folder.path()).unwrap_err();
        assert!(error.message().contains("member/wal"), "{error}");
    }

    #[test]
    fn an_interrupted_birth_leaves_nothing_that_counts() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap();
        let identity = Identity {
            cluster_id: 1,
            member_id: 2,
            peer_urls: vec![],
            founders: vec![],
        };
        let fail = |_: &Path| Err(StoreError::Stopped);
        assert!(folder.give_birth(&identity, fail).is_err());
        assert!(folder.identity().unwrap().is_none());
        folder.give_birth(&identity, |_| Ok(())).unwrap();
        assert_eq!(folder.identity().unwrap(), Some(identity));
    }
}
