//! Building beside the target, and moving there in one step.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Kind, RestoreError};

/// What the names of staging directories have in common, after a dot and the target's name.
const INFIX: &str = ".revkeep-partial-";
/// How often a directory is made again because another restore took it for a dead one before it was locked.
const RACES: usize = 8;

/// A hidden directory beside the target, on the same file system. It is removed when it is dropped, so that whatever fails leaves
/// nothing behind.
///
/// A process that was killed outright, or a power cut, does leave it behind. Every restore holds a lock on its staging directory,
/// and the operating system lets go of the lock when the process ends, however it ends: so the next restore into the
/// same target sees which of them nobody works in any more, and removes those.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    parent: PathBuf,
    directory: TempDir,
    // After the directory: what is in them must be gone first.
    above: MadeAbove,
    /// What was removed: the remains of restores that were killed.
    removed: Vec<PathBuf>,
    /// Held, never read. A file system without locks has none.
    _lock: Option<File>,
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
        let above = MadeAbove::make(&parent)?;
        let name = name.to_string_lossy();
        let removed = remove_dead(target, &parent, &name)?;
        let (directory, lock) = make_locked(&parent, &name)?;
        Ok(Self {
            target: target.to_path_buf(),
            parent,
            directory,
            above,
            removed,
            _lock: lock,
        })
    }

    /// The remains of restores into the same target that were killed, which are gone now.
    #[must_use]
    pub fn removed(&self) -> &[PathBuf] {
        &self.removed
    }

    /// Where to build.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Syncs the staging directory, puts it at the target in one rename, and makes that durable. After an error nothing is
    /// at the target.
    ///
    /// # Errors
    /// [`Kind::Refused`] when something appeared at the target meanwhile.
    pub fn commit_directory(self) -> Result<(), RestoreError> {
        self.commit(|| false)
    }

    /// [`Staging::commit_directory`] for many files of which none was synced yet, unless `cancelled` says otherwise before all
    /// of them are on disk.
    ///
    /// # Errors
    /// As there; [`Kind::Interrupted`].
    pub fn commit_files(self, cancelled: impl Fn() -> bool) -> Result<(), RestoreError> {
        write_back(self.path());
        self.commit(cancelled)
    }

    fn commit(mut self, cancelled: impl Fn() -> bool) -> Result<(), RestoreError> {
        sync_tree(self.path(), &mut |path| {
            if cancelled() {
                return Err(crate::replay::interrupted());
            }
            sync(path)
        })?;
        self.above.sync()?;
        refuse_unless_free(&self.target, true)?;
        fs::rename(self.path(), &self.target).map_err(|error| not_placed(&self.target, error))?;
        // It is no longer where the guard would look for it.
        let _moved = self.directory.keep();
        sync_directory(&self.parent).inspect_err(|_| {
            let _best_effort = fs::remove_dir_all(&self.target);
        })?;
        self.above.keep();
        Ok(())
    }

    /// Puts a synced file out of the staging directory at the target, never over another, and makes that durable. After
    /// an error nothing is at the target.
    ///
    /// # Errors
    /// [`Kind::Refused`] when something appeared at the target meanwhile.
    pub fn commit_file(mut self, built: &Path) -> Result<(), RestoreError> {
        self.above.sync()?;
        refuse_unless_free(&self.target, false)?;
        match fs::hard_link(built, &self.target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // Not every file system has hard links.
                move_unless_there(built, &self.target)
                    .map_err(|error| not_placed(&self.target, error))?;
            }
            placed => placed.map_err(|error| not_placed(&self.target, error))?,
        }
        sync_directory(&self.parent).inspect_err(|_| {
            let _best_effort = fs::remove_file(&self.target);
        })?;
        self.above.keep();
        Ok(())
    }
}

/// Directories that were made above the target, and are removed again unless they are kept.
#[derive(Debug, Default)]
struct MadeAbove(Vec<PathBuf>);

impl MadeAbove {
    fn make(parent: &Path) -> Result<Self, RestoreError> {
        let missing = parent
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let made = Self(missing.map(Path::to_path_buf).collect());
        fs::create_dir_all(parent).map_err(RestoreError::io(format!(
            "create {}: give a target where this user may write",
            parent.display()
        )))?;
        Ok(made)
    }

    /// Makes them durable: what is put into one that a power cut takes away is lost with it.
    fn sync(&self) -> Result<(), RestoreError> {
        self.holders().try_for_each(sync_directory)
    }

    /// The directories that they are entries of.
    fn holders(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|made| match made.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        })
    }

    fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for MadeAbove {
    fn drop(&mut self) {
        // The deepest first; one that somebody else uses by now is not empty and stays.
        for path in &self.0 {
            let _in_use = fs::remove_dir(path);
        }
    }
}

fn make_locked(parent: &Path, name: &str) -> Result<(TempDir, Option<File>), RestoreError> {
    let mut made = make(parent, name)?;
    for _ in 0..RACES {
        match try_lock(made.path()) {
            Lock::Held(lock) if made.path().is_dir() => return Ok((made, Some(lock))),
            Lock::Unsupported => return Ok((made, None)),
            // Another restore looked for dead directories between the making and the locking.
            Lock::Held(_) | Lock::Busy => made = make(parent, name)?,
        }
    }
    Err(RestoreError::new(
        Kind::Failed,
        format!(
            "other restores into {} take each other's working directories away: run one at a time",
            parent.join(name).display()
        ),
    ))
}

fn make(parent: &Path, name: &str) -> Result<TempDir, RestoreError> {
    tempfile::Builder::new()
        .prefix(&format!(".{name}{INFIX}"))
        .tempdir_in(parent)
        .map_err(RestoreError::io(format!(
            "create a directory in {}: give a target where this user may write",
            parent.display()
        )))
}

enum Lock {
    Held(File),
    /// Somebody else holds it, or it went away.
    Busy,
    /// Nobody can say.
    Unsupported,
}

/// Locks a directory until the file is dropped (`flock`). Network file systems may not be able to.
fn try_lock(directory: &Path) -> Lock {
    let opened = match File::open(directory) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Lock::Busy,
        Err(_) => return Lock::Unsupported,
    };
    match opened.try_lock() {
        Ok(()) => Lock::Held(opened),
        Err(TryLockError::WouldBlock) => Lock::Busy,
        Err(TryLockError::Error(_)) => Lock::Unsupported,
    }
}

/// Removes the staging directories of restores into the same target that nobody works in any more.
fn remove_dead(target: &Path, parent: &Path, name: &str) -> Result<Vec<PathBuf>, RestoreError> {
    let prefix = format!(".{name}{INFIX}");
    let listing = || RestoreError::io(format!("list {}", parent.display()));
    let mut removed = Vec::new();
    for entry in fs::read_dir(parent).map_err(listing())? {
        let entry = entry.map_err(listing())?;
        let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        match try_lock(&path) {
            Lock::Held(_lock) => {
                fs::remove_dir_all(&path).map_err(RestoreError::io(format!(
                    "remove {}, which a restore left that was killed",
                    path.display()
                )))?;
                removed.push(path);
            }
            Lock::Busy if path.is_dir() => {
                return Err(RestoreError::new(
                    Kind::Refused,
                    format!(
                        "another restore into {} is running, in {}: wait for it, or give another target",
                        target.display(),
                        path.display()
                    ),
                ));
            }
            // It went away meanwhile; or nobody can say whether it is in use, and then it stays.
            Lock::Busy | Lock::Unsupported => {}
        }
    }
    Ok(removed)
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
            return refuse_mount_point(target, &found);
        }
    }
    if found.is_symlink() {
        return Err(RestoreError::new(
            Kind::Refused,
            format!(
                "{} is a symbolic link, which a restore would replace: give the path that it leads to",
                target.display()
            ),
        ));
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

/// The result is built beside the target and renamed, which cannot replace the root of a file system: better said before the
/// work than after it.
#[cfg(unix)]
fn refuse_mount_point(target: &Path, found: &fs::Metadata) -> Result<(), RestoreError> {
    use std::os::unix::fs::MetadataExt;
    let above = fs::canonicalize(target)
        .ok()
        .and_then(|target| fs::metadata(target.parent()?).ok());
    if above.is_none_or(|above| above.dev() == found.dev()) {
        return Ok(());
    }
    Err(RestoreError::new(
        Kind::Refused,
        format!(
            "{} is a mount point, which cannot be replaced: give a directory in it, such as {}",
            target.display(),
            target.join("restored").display()
        ),
    ))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn refuse_mount_point(_target: &Path, _found: &fs::Metadata) -> Result<(), RestoreError> {
    Ok(())
}

/// Has the system write all that waits, in its own order, so that syncing one file after the other has little left to wait for. What
/// fails here is told there.
fn write_back(directory: &Path) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Ok(directory) = File::open(directory) {
        let _told_by_each_file = rustix::fs::syncfs(directory);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = directory;
}

/// Has all files and directories below a directory synced, and last itself.
fn sync_tree(
    directory: &Path,
    sync: &mut impl FnMut(&Path) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let listing = || RestoreError::io(format!("list {}", directory.display()));
    for entry in fs::read_dir(directory).map_err(listing())? {
        let path = entry.map_err(listing())?.path();
        let kind = fs::symlink_metadata(&path)
            .map_err(RestoreError::io(format!("look at {}", path.display())))?;
        if kind.is_dir() {
            sync_tree(&path, sync)?;
        } else if kind.is_file() {
            sync(&path)?;
        }
    }
    sync(directory)
}

/// Moves a file where no hard link can be made, never over another.
fn move_unless_there(built: &Path, target: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, built, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(error) if error == rustix::io::Errno::EXIST => return Err(error.into()),
            // Not every file system knows this either.
            Err(_) => {}
        }
    }
    copy_unless_there(built, target)
}

/// Copies a file to a name that is not taken, and syncs it.
fn copy_unless_there(built: &Path, target: &Path) -> io::Result<()> {
    let mut from = File::open(built)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut to = options.open(target)?;
    let copied = io::copy(&mut from, &mut to)
        .and_then(|_| to.set_permissions(from.metadata()?.permissions()))
        .and_then(|()| to.sync_all());
    copied.inspect_err(|_| {
        let _best_effort = fs::remove_file(target);
    })
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), RestoreError> {
    sync(directory)
}

/// Makes a file's content durable, or the entries of a directory.
fn sync(path: &Path) -> Result<(), RestoreError> {
    File::open(path)
        .and_then(|opened| opened.sync_all())
        .map_err(RestoreError::io(format!("sync {}", path.display())))
}

#[cfg(test)]
mod tests;
