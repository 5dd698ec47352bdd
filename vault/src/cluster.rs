//! A cluster in a vault: its timelines and its head.

use std::sync::Arc;

use bytes::Bytes;
use object_store::UpdateVersion;
use revkeep_schemas::Revision;
use revkeep_schemas::envelope;
use revkeep_schemas::manifest::{ChunkRef, Head, SourceIdentity, TimelineRecord};
use revkeep_schemas::names::{ClusterName, TimelineId};
use tokio::sync::Mutex;

use crate::error::{ErrorKind, VaultError};
use crate::fail_point;
use crate::layout::{self, ChunkName, NameKind, ObjectName};
use crate::objects::Created;
use crate::timeline::Timeline;
use crate::vault::Vault;
use crate::writing::SeenMarks;

/// Which head was read or written, for [`Cluster::replace_head`].
#[derive(Clone, Debug)]
pub struct HeadVersion(UpdateVersion);

/// One cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) vault: Vault,
    pub(crate) name: ClusterName,
    /// What its writer of bases knows of deletions.
    pub(crate) marks: Arc<Mutex<SeenMarks>>,
}

impl Cluster {
    /// Its name.
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// The name of the object that holds a chunk, below the vault's prefix.
    pub fn chunk_path(&self, chunk: ChunkName) -> String {
        layout::chunk_path(&self.name, chunk)
    }

    /// Its vault.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The object that holds a chunk of its bases, below the vault's prefix.
    pub fn chunk_object(&self, chunk: &ChunkRef) -> String {
        layout::chunk_path(&self.name, chunk.into())
    }

    /// The numbers of its timelines, ascending.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn timeline_ids(&self) -> Result<Vec<TimelineId>, VaultError> {
        let folders = self
            .vault
            .objects
            .folders(&format!("clusters/{}", self.name))
            .await?;
        let mut ids: Vec<TimelineId> = folders
            .iter()
            .filter_map(|folder| folder.parse().ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// All its timelines, ascending.
    ///
    /// # Errors
    /// `Corrupt` when the record of one is damaged; as the store fails.
    pub async fn timelines(&self) -> Result<Vec<Timeline>, VaultError> {
        let mut timelines = Vec::new();
        for id in self.timeline_ids().await? {
            timelines.extend(self.born(id).await?);
        }
        Ok(timelines)
    }

    /// The timeline with the highest number, if there is any.
    ///
    /// # Errors
    /// As [`Cluster::timelines`].
    pub async fn newest_timeline(&self) -> Result<Option<Timeline>, VaultError> {
        for id in self.timeline_ids().await?.into_iter().rev() {
            if let Some(timeline) = self.born(id).await? {
                return Ok(Some(timeline));
            }
        }
        Ok(None)
    }

    /// A timeline whose folder was listed; `None` while there is only the folder. In a file system it is made before the
    /// record, which stays away for good when the agent dies in between.
    ///
    /// # Errors
    /// As [`Cluster::timeline`]; `NotFound` where something stands in the folder, so that the record is gone.
    pub async fn born(&self, id: TimelineId) -> Result<Option<Timeline>, VaultError> {
        match self.timeline(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other.map(Some),
        }
        let folder = layout::timeline_folder(&self.name, id);
        if self.vault.objects.list(&folder).await?.is_empty() {
            return Ok(None);
        }
        // It was written just now; or it is gone, and that must be told.
        self.timeline(id).await.map(Some)
    }

    /// One timeline.
    ///
    /// # Errors
    /// `NotFound` if there is no such one, `Corrupt` when its record is damaged.
    pub async fn timeline(&self, id: TimelineId) -> Result<Timeline, VaultError> {
        let name = self.timeline_name(id);
        let identity = name.identity(self.vault.id);
        let decode = |object: Bytes| {
            envelope::open(&object, &identity)
                .and_then(|body| TimelineRecord::decode(&body))
                .map_err(VaultError::format(name.path()))
        };
        let record = self.vault.objects.get_as(&name.path(), decode).await?;
        Ok(Timeline {
            cluster: self.clone(),
            id,
            record,
        })
    }

    /// A timeline whose record is known from before, without asking the store; see [`Vault::known`].
    pub fn known_timeline(&self, id: TimelineId, record: TimelineRecord) -> Timeline {
        Timeline {
            cluster: self.clone(),
            id,
            record,
        }
    }

    /// Opens a timeline for a source that continues none, or returns the one that another agent opened for the same
    /// source just now: agents that race get the same.
    ///
    /// `parent` is the newest timeline that the caller has examined, and the highest revision that both share (zero if
    /// they share nothing). The new one takes the number after it. What stands there already is returned if it was
    /// opened for the same cluster id, and passed over otherwise. Its parent need not be the same: a listing that lags
    /// may have hidden from one of the two what the other compared the source with. So the caller checks the source
    /// against what it is given, as against any timeline, and if that is not its past either, calls again with that
    /// one as the parent.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn create_timeline(
        &self,
        source: SourceIdentity,
        parent: Option<(TimelineId, Revision)>,
    ) -> Result<Timeline, VaultError> {
        let record = TimelineRecord {
            source,
            parent,
            fork_at_most: false,
        };
        self.open_timeline(record, parent.map(|(parent, _)| parent))
            .await
    }

    /// [`Cluster::create_timeline`] for a caller that has examined all timelines up to `examined`, whichever of them is the
    /// parent: the number is the one after that. What stands there already and was witnessed with other content at the same
    /// revision is passed over as well.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn open_timeline(
        &self,
        record: TimelineRecord,
        examined: Option<TimelineId>,
    ) -> Result<Timeline, VaultError> {
        let mut id = examined.map_or(TimelineId::FIRST, TimelineId::next);
        loop {
            let name = self.timeline_name(id);
            let object = envelope::seal(
                &name.identity(self.vault.id),
                &self.vault.writer,
                &record.encode(),
            );
            fail_point::reached("timeline.making");
            let created = self.vault.objects.create(&name.path(), object).await;
            fail_point::reached("timeline.made");
            let there = match created {
                Ok(Created::New | Created::Exists) => self.timeline(id).await,
                // The answer may have been lost after the store took it.
                Err(error) => match self.timeline(id).await {
                    Ok(there) => Ok(there),
                    Err(_) => return Err(error),
                },
            };
            let there = there.map_err(|error| match error.kind() {
                ErrorKind::NotFound => VaultError::new(
                    ErrorKind::Retry,
                    format!(
                        "open timeline {id} of {}: a conflict in the store; try again",
                        self.name
                    ),
                ),
                _ => error,
            })?;
            let same_source = there.record.source.cluster_id == record.source.cluster_id;
            let same_content = match (there.record.source.witness, record.source.witness) {
                (Some(theirs), Some(ours)) => {
                    theirs.revision != ours.revision || theirs.digest == ours.digest
                }
                _ => true,
            };
            if same_source && same_content {
                return Ok(there);
            }
            id = id.next();
        }
    }

    pub(crate) fn timeline_name(&self, timeline: TimelineId) -> ObjectName {
        ObjectName {
            cluster: self.name.clone(),
            timeline,
            kind: NameKind::Timeline,
        }
    }

    /// The head, if there is one. It is a hint: it may be old, and what counts is in the timelines.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged; as the store fails.
    pub async fn head(&self) -> Result<Option<Head>, VaultError> {
        let name = layout::head_path(&self.name);
        let Some(object) = self.vault.objects.find(&name).await? else {
            return Ok(None);
        };
        let asked = layout::head_identity(self.vault.id, &self.name);
        envelope::open(&object, &asked)
            .and_then(|body| Head::decode(&body))
            .map(Some)
            .map_err(VaultError::format(name))
    }

    /// The head, with what [`Cluster::replace_head`] needs to write over just this one.
    ///
    /// # Errors
    /// As [`Cluster::head`].
    pub async fn head_version(&self) -> Result<Option<(Head, HeadVersion)>, VaultError> {
        let name = layout::head_path(&self.name);
        let Some((object, version)) = self.vault.objects.find_version(&name).await? else {
            return Ok(None);
        };
        let asked = layout::head_identity(self.vault.id, &self.name);
        envelope::open(&object, &asked)
            .and_then(|body| Head::decode(&body))
            .map(|head| Some((head, HeadVersion(version))))
            .map_err(VaultError::format(name))
    }

    /// Writes the head over the one that the caller has seen, `None` where there was none; gives the new version, and `None`
    /// when somebody else has written meanwhile. A store without conditions takes it in any case.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn replace_head(
        &self,
        head: &Head,
        seen: Option<HeadVersion>,
    ) -> Result<Option<HeadVersion>, VaultError> {
        let identity = layout::head_identity(self.vault.id, &self.name);
        let object = envelope::seal(&identity, &self.vault.writer, &head.encode());
        let seen = seen.map(|HeadVersion(version)| version);
        let name = layout::head_path(&self.name);
        let put = self.vault.objects.replace_version(&name, object, seen);
        Ok(put.await?.map(HeadVersion))
    }

    /// Writes the head.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn put_head(&self, head: &Head) -> Result<(), VaultError> {
        let identity = layout::head_identity(self.vault.id, &self.name);
        let object = envelope::seal(&identity, &self.vault.writer, &head.encode());
        self.vault
            .objects
            .replace(&layout::head_path(&self.name), object)
            .await
    }
}
