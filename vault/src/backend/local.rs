//! A folder.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

use super::{Backend, config};
use crate::error::{ErrorKind, VaultError};

pub(super) fn open(url: &Url, create: bool) -> Result<Backend, VaultError> {
    let wrong = || {
        config(format!(
            "vault {url}: it must name a folder, as in file:///var/backups"
        ))
    };
    if url.query().is_some() {
        return Err(wrong());
    }
    let dir = url.to_file_path().map_err(|()| wrong())?;
    if create {
        make_private(&dir).map_err(|error| {
            config(format!("vault {url}: the folder cannot be made")).with_source(error)
        })?;
    } else if !dir.is_dir() {
        return Err(VaultError::new(
            ErrorKind::NotFound,
            format!("vault {url}: there is no such folder"),
        ));
    }
    let place = format!("file\n{}", dir.display());
    let store = LocalFileSystem::new_with_prefix(dir)
        .map_err(VaultError::store(format_args!("vault {url}")))?
        .with_fsync(true);
    Ok(Backend {
        store: Arc::new(store),
        prefix: Path::default(),
        place,
        dates: None,
    })
}

/// Makes a folder and those above it where there are none, for this user alone: what a vault holds are the source's keys
/// and values, secrets among them. A folder that is there stays as it is.
fn make_private(dir: &std::path::Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_is_made_is_for_its_user_alone_and_one_that_is_there_stays_as_it_is() {
        let permissions_of = |dir: &std::path::Path| {
            let about = std::fs::metadata(dir).unwrap();
            about.permissions().mode() & 0o777
        };
        let place = tempfile::tempdir().unwrap();
        let there = place.path().join("there");
        std::fs::create_dir(&there).unwrap();
        std::fs::set_permissions(&there, std::fs::Permissions::from_mode(0o755)).unwrap();
        let made = there.join("a/vault");
        for dir in [&there, &made] {
            let url = Url::from_directory_path(dir).unwrap();
            open(&url, true).unwrap();
        }
        assert_eq!(permissions_of(&there), 0o755);
        assert_eq!(permissions_of(&made), 0o700);
        assert_eq!(permissions_of(&there.join("a")), 0o700);
    }
}
