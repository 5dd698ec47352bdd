//! The folder on the disk: one file for each segment, the bytes of the object.
//!
//! `segments/{vault}/{cluster}/{timeline}/{first:020}-{last:020}-{uid}.segment` below the state directory. A file is
//! written to a temporary name, synced, renamed, and the folder synced, so what has its name is whole. The envelope in
//! each file says where it belongs; it is compared before anything is uploaded. What is damaged or does not belong here
//! goes to `segments/set-aside/`, for people to look at. What waits for another vault, cluster or timeline lies in another
//! folder, and stays there until the agent runs for that one again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use revkeep_schemas::envelope::{Identity, Kind};
use revkeep_schemas::names::{ClusterName, TimelineId, Uid, VaultId};
use revkeep_schemas::segment::SealedSegment;
use revkeep_schemas::{FormatError, Revision};
use revkeep_vault::fail_point;

use super::waiting::cost_of;
use super::{Name, Owner};
use crate::AgentError;
use crate::state_dir::{create_private, make_private};
use crate::target::Target;

const FOLDER: &str = "segments";
const SET_ASIDE: &str = "set-aside";
const SUFFIX: &str = ".segment";
const TEMPORARY: &str = ".tmp";

/// Where the segments belong that this agent uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The vault.
    pub vault: VaultId,
    /// The cluster in it.
    pub cluster: ClusterName,
    /// Its timeline.
    pub timeline: TimelineId,
}

impl Place {
    /// Where an agent uploads.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        Self {
            vault: target.cluster.vault().id(),
            cluster: target.cluster.name().clone(),
            timeline: target.timeline.id(),
        }
    }

    fn owns(&self, identity: &Identity) -> bool {
        identity.kind == Kind::Segment
            && identity.vault == self.vault
            && identity.cluster.as_ref() == Some(&self.cluster)
            && identity.timeline == Some(self.timeline)
            && identity.level == 0
    }
}

/// A file that was found and is what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first revision.
    pub first: Revision,
    /// The last revision.
    pub last: Revision,
    /// The suffix of its name in the vault.
    pub uid: Uid,
    /// Its length.
    pub bytes: u64,
}

impl Found {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> Name {
        Name {
            first: self.first,
            last: self.last,
            uid: self.uid,
        }
    }
}

/// The folder of one place. Whoever opens it holds the state directory.
#[derive(Debug)]
pub struct Folder {
    place: Place,
    root: PathBuf,
    own: PathBuf,
    _owner: Owner,
}

fn name_of(first: Revision, last: Revision, uid: Uid) -> String {
    format!("{:020}-{:020}-{uid}{SUFFIX}", first.0, last.0)
}

fn parse(name: &str) -> Option<Name> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let (first, last, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let found = Name {
        first: Revision(first.parse().ok()?),
        last: Revision(last.parse().ok()?),
        uid: uid.parse().ok()?,
    };
    (name_of(found.first, found.last, found.uid) == name).then_some(found)
}

/// Reads a segment in a folder and verifies all of it.
fn read(folder: &Path, place: &Place, wanted: Name) -> Result<SealedSegment, AgentError> {
    let name = name_of(wanted.first, wanted.last, wanted.uid);
    let path = folder.join(&name);
    let bytes = fs::read(&path).map_err(AgentError::io(format!("read {}", path.display())))?;
    let segment = SealedSegment::open(bytes.into())?;
    let same =
        (segment.first, segment.last, segment.uid) == (wanted.first, wanted.last, wanted.uid);
    if !same || !place.owns(&segment.identity) {
        return Err(AgentError::Format(FormatError::corrupt(
            path.display().to_string(),
            0,
            format!("segment {name} of {place:?}"),
            format!("another one: {:?}", segment.identity),
        )));
    }
    Ok(segment)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Folder {
    /// The folder of a place below the state directory.
    #[must_use]
    pub fn path(state_dir: &Path, place: &Place) -> PathBuf {
        state_dir
            .join(FOLDER)
            .join(place.vault.to_string())
            .join(place.cluster.as_str())
            .join(place.timeline.to_string())
    }

    /// Opens the folder below the state directory, and makes it where there is none; `None` while another part of this
    /// process has it.
    ///
    /// # Errors
    /// [`AgentError::Io`] when the disk fails.
    pub fn open(state_dir: &Path, place: Place) -> Result<Option<Self>, AgentError> {
        let owner = Owner::try_of(&Self::path(state_dir, &place));
        owner
            .map(|owner| Self::owned(owner, state_dir, place))
            .transpose()
    }

    /// As [`Folder::open`], for whom the folder belongs to already.
    ///
    /// # Errors
    /// [`AgentError::Io`] when the disk fails.
    pub fn owned(owner: Owner, state_dir: &Path, place: Place) -> Result<Self, AgentError> {
        let root = state_dir.join(FOLDER);
        let own = Self::path(state_dir, &place);
        let made = || AgentError::io(format!("make {}", own.display()));
        make_private(&own).map_err(made())?;
        let parents = own.ancestors().take_while(|folder| *folder != state_dir);
        for folder in parents.chain([state_dir]) {
            sync(folder).map_err(made())?;
        }
        Ok(Self {
            place,
            root,
            own,
            _owner: owner,
        })
    }

    /// The timelines of the same cluster for which something waits in the state directory.
    ///
    /// # Errors
    /// [`AgentError::Io`] when the disk fails.
    pub fn timelines(state_dir: &Path, place: &Place) -> Result<Vec<TimelineId>, AgentError> {
        let folder = state_dir
            .join(FOLDER)
            .join(place.vault.to_string())
            .join(place.cluster.as_str());
        let failed = || AgentError::io(format!("read {}", folder.display()));
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            found.extend(name.to_string_lossy().parse::<TimelineId>().ok());
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The names of what waits in the state directory for a place, in order. Makes nothing, and reads no file.
    #[must_use]
    pub fn names(state_dir: &Path, place: &Place) -> Vec<Name> {
        let Ok(entries) = fs::read_dir(Self::path(state_dir, place)) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| parse(&entry.file_name().to_string_lossy()))
            .collect();
        names.sort_unstable();
        names
    }

    /// Reads what waits for a place, and verifies all of it, without owning the folder.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn peek(state_dir: &Path, place: &Place, name: Name) -> Result<SealedSegment, AgentError> {
        read(&Self::path(state_dir, place), place, name)
    }

    /// Verifies every file to its last row and gives those that can go up, in the order of revisions. What an
    /// interrupted write left is removed; what is damaged or does not belong here is set aside, and told.
    ///
    /// # Errors
    /// [`AgentError::Io`] when the disk fails.
    pub fn scan(&self) -> Result<Vec<Found>, AgentError> {
        let failed = || AgentError::io(format!("read {}", self.own.display()));
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.own).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(TEMPORARY) {
                let path = self.own.join(&*name);
                fs::remove_file(&path)
                    .map_err(AgentError::io(format!("remove {}", path.display())))?;
                continue;
            }
            let Some(Name { first, last, uid }) = parse(&name) else {
                self.set_aside(&name, &"its name is not that of a segment");
                continue;
            };
            match self.read(first, last, uid) {
                Ok(segment) => found.push(Found {
                    first,
                    last,
                    uid,
                    bytes: segment.bytes.len() as u64,
                }),
                Err(error) => self.set_aside(&name, &error),
            }
        }
        found.sort_unstable_by_key(|found| (found.first, found.last, found.uid));
        Ok(found)
    }

    /// The bytes below `segments/` that are not in this folder: what was set aside, and what waits for another place.
    ///
    /// # Errors
    /// [`AgentError::Io`] when the disk fails.
    pub fn beside(&self) -> Result<u64, AgentError> {
        let mut folders = vec![self.root.clone()];
        let mut bytes: u64 = 0;
        while let Some(folder) = folders.pop() {
            let failed = || AgentError::io(format!("read {}", folder.display()));
            let mut here: u64 = 0;
            for entry in fs::read_dir(&folder).map_err(failed())? {
                let entry = entry.map_err(failed())?;
                let about = entry.metadata().map_err(failed())?;
                if !about.is_dir() {
                    here = here.saturating_add(cost_of(about.len()));
                } else if entry.path() != self.own {
                    folders.push(entry.path());
                }
            }
            if here > 0 {
                tracing::warn!(
                    folder = %folder.display(),
                    bytes = here,
                    "segments lie here that this agent does not upload, and take room of the spool: start the agent \
                     for the vault and cluster that they belong to, or remove them"
                );
            }
            bytes = bytes.saturating_add(here);
        }
        Ok(bytes)
    }

    /// Writes a segment; once this returns, it is on the disk.
    ///
    /// # Errors
    /// When the disk is full or fails; nothing of the segment is left then.
    pub fn write(&self, segment: &SealedSegment) -> io::Result<()> {
        let name = name_of(segment.first, segment.last, segment.uid);
        let path = self.own.join(&name);
        let temporary = self.own.join(name + TEMPORARY);
        let write = || {
            fail_point::disk()?;
            let mut file = create_private(&temporary)?;
            fail_point::reached("spool.created");
            file.write_all(&segment.bytes)?;
            fail_point::reached("spool.written");
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fail_point::reached("spool.renamed");
            sync(&self.own)
        };
        write().inspect_err(|_| {
            // After a failed fsync nothing is known of the file; what is left of it is found and judged by the next start.
            let _ = fs::remove_file(&temporary);
            let _ = fs::remove_file(&path);
        })
    }

    /// Reads a segment and verifies all of it.
    ///
    /// # Errors
    /// [`AgentError::Format`] when it is damaged or not the one that its name says, [`AgentError::Io`] when it cannot be
    /// read.
    pub fn read(
        &self,
        first: Revision,
        last: Revision,
        uid: Uid,
    ) -> Result<SealedSegment, AgentError> {
        read(&self.own, &self.place, Name { first, last, uid })
    }

    /// Removes a segment that the store has. What cannot be removed is uploaded again by the next start, to no effect.
    pub fn remove(&self, first: Revision, last: Revision, uid: Uid) {
        let path = self.own.join(name_of(first, last, uid));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %path.display(), "an uploaded segment was not removed from the spool");
            }
            _ => {}
        }
    }

    /// Sets a segment aside that cannot be used.
    pub fn reject(&self, first: Revision, last: Revision, uid: Uid, reason: &AgentError) {
        self.set_aside(&name_of(first, last, uid), reason);
    }

    fn set_aside(&self, name: &str, reason: &dyn std::fmt::Display) {
        let aside = self.root.join(SET_ASIDE);
        let moved =
            make_private(&aside).and_then(|()| fs::rename(self.own.join(name), aside.join(name)));
        tracing::error!(
            file = name,
            %reason,
            folder = %aside.display(),
            "a file in the spool cannot be used and is set aside: it is not uploaded, and what it held is captured again \
             if the source still has it"
        );
        if let Err(error) = moved {
            tracing::warn!(%error, file = name, "a file was not set aside; it is not used all the same");
        }
    }
}

#[cfg(test)]
mod tests;
