//! What the agent knew of its vault when it last ran, in a small file beside the spool: so that a start while the object
//! store is away goes on at once, and the source cannot compact what nobody watches meanwhile.
//!
//! It is a hint. The vault is asked for its id before anything is written into it. How far it reached may be behind by some
//! seconds; the agent then captures a little again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::manifest::TimelineRecord;
use revkeep_schemas::names::{TimelineId, VaultId};
use revkeep_vault::{Vault, fail_point};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::AgentError;
use crate::head::HeadKeeper;
use crate::lineage::{Known, Lineage, RaftMark, Trail};
use crate::state_dir::create_private;
use crate::target::{Target, WRITER, cluster_name};

const FILE: &str = "remembered.json";
/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(2);

/// Where the agent wrote, and how far the vault reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remembered {
    vault_url: String,
    vault_id: String,
    cluster: String,
    timeline: TimelineId,
    /// The timeline's record, as it is encoded in the vault.
    record: Vec<u8>,
    /// How far the vault reached.
    pub(crate) durable: Revision,
    /// Its newest base.
    pub(crate) base: Revision,
    /// That base's compact revision.
    pub(crate) compact: Revision,
    /// The digest of the rows of the last durable revision: what the source is recognised by.
    digest: String,
    /// Where the source's Raft log was seen.
    #[serde(default)]
    raft_term: u64,
    #[serde(default)]
    raft_index: u64,
    #[serde(default)]
    raft_surplus: Option<i64>,
}

impl Remembered {
    /// What is to be remembered; `None` before there is a base, and where the rows of the last durable revision are not known: a
    /// source that was set back meanwhile could not be told from the one that was captured.
    pub(crate) fn of(
        vault_url: &str,
        target: &Target,
        head: &HeadKeeper,
        lineage: &Lineage,
    ) -> Option<Self> {
        let (base, compact, durable) = head.basis();
        let (digest, raft) = lineage.moment(durable?);
        Some(Self {
            digest: digest?.to_string(),
            raft_term: raft.term,
            raft_index: raft.index,
            raft_surplus: raft.surplus,
            vault_url: vault_url.to_owned(),
            vault_id: target.cluster.vault().id().to_string(),
            cluster: target.cluster.name().to_string(),
            timeline: target.timeline.id(),
            record: target.timeline.record().encode(),
            durable: durable?,
            base,
            compact,
        })
    }

    /// What an earlier process left, if that was for the same vault and cluster. What cannot be read is as if it were not
    /// there.
    pub(crate) fn read(state_dir: &Path, vault_url: &str, cluster: &str) -> Option<Self> {
        let bytes = fs::read(state_dir.join(FILE)).ok()?;
        let read: Self = serde_json::from_slice(&bytes).ok()?;
        (read.vault_url == vault_url && read.cluster == cluster).then_some(read)
    }

    /// The evidence that the source is compared with.
    ///
    /// # Errors
    /// [`AgentError::Config`] when the file is damaged.
    pub(crate) fn known(&self, target: &Target) -> Result<Known, AgentError> {
        let mut trail = Trail::after(self.durable.previous());
        trail.push(self.durable, RowDigest(hexadecimal(&self.digest)?));
        Ok(Known {
            cluster_id: target.timeline.record().source.cluster_id,
            raft: RaftMark {
                term: self.raft_term,
                index: self.raft_index,
                revision: self.durable,
                surplus: self.raft_surplus,
            },
            trail,
            ..Known::default()
        })
    }

    /// The target, without asking the store.
    pub(crate) async fn target(&self) -> Result<Target, AgentError> {
        let id = hexadecimal(&self.vault_id)?;
        let record = TimelineRecord::decode(&self.record)?;
        let vault = Vault::known(&self.vault_url, VaultId(id.to_be_bytes())).await?;
        let cluster = vault
            .with_writer(WRITER)
            .cluster(&cluster_name(&self.cluster)?);
        let timeline = cluster.known_timeline(self.timeline, record);
        Ok(Target { cluster, timeline })
    }

    fn write(&self, state_dir: &Path) -> std::io::Result<()> {
        let temporary = state_dir.join(format!("{FILE}.tmp"));
        let mut file = create_private(&temporary)?;
        // Not synced: what a power cut leaves of it is read or passed over, and every write would disturb the disk.
        fail_point::disk()?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fail_point::reached("remembered.written");
        fs::rename(&temporary, state_dir.join(FILE))
    }
}

fn hexadecimal(text: &str) -> Result<u128, AgentError> {
    u128::from_str_radix(text, 16)
        .map_err(|_| AgentError::Config(format!("--state-dir: {FILE} is damaged: remove it")))
}

/// Keeps the file up to date until `done`. A disk that fails costs only the start without the store.
pub(crate) async fn remember(
    (state_dir, vault_url, target): (PathBuf, String, Target),
    (head, lineage): (Arc<HeadKeeper>, Arc<Lineage>),
    done: CancellationToken,
) {
    let mut written = None;
    loop {
        let now = Remembered::of(&vault_url, &target, &head, &lineage);
        if let Some(now) = now.filter(|now| Some(now) != written.as_ref()) {
            let (folder, file) = (state_dir.clone(), now.clone());
            let writing = tokio::task::spawn_blocking(move || file.write(&folder)).await;
            if let Ok(Err(error)) = writing {
                tracing::debug!(%error, "what is known of the vault was not written to --state-dir");
            }
            written = Some(now);
        }
        if done.is_cancelled() {
            return;
        }
        tokio::select! {
            () = done.cancelled() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::manifest::SourceIdentity;

    use super::*;

    #[tokio::test]
    async fn gives_the_target_back_for_the_same_vault_and_cluster_only() {
        let folder = tempfile::tempdir().unwrap();
        let vault = format!("file://{}", folder.path().join("vault").display());
        let made = Vault::create(&vault).await.unwrap();
        let cluster = made.cluster(&"test".parse().unwrap());
        let source = SourceIdentity {
            cluster_id: 77,
            ..SourceIdentity::default()
        };
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        let target = Target { cluster, timeline };
        let head = HeadKeeper::new(Revision(3), Revision(2), None);
        let mut known = Known::default();
        known.trail.push(Revision(9), RowDigest(77));
        known.raft.index = 15;
        known.raft.surplus = Some(-4);
        let lineage = Lineage::new(known);
        assert_eq!(Remembered::of(&vault, &target, &head, &lineage), None);
        let head = HeadKeeper::new(Revision(3), Revision(2), Some(Revision(9)));
        // A base that was stored beside capture: nothing tells what the source has there.
        let unknown = Lineage::new(Known::default());
        assert_eq!(Remembered::of(&vault, &target, &head, &unknown), None);
        let remembered = Remembered::of(&vault, &target, &head, &lineage).unwrap();
        let known = remembered.known(&target).unwrap();
        assert_eq!(known.trail.digest_of(Revision(9)), Some(RowDigest(77)));
        assert_eq!((known.cluster_id, known.raft.index), (77, 15));
        assert_eq!(known.raft.surplus, Some(-4));
        remembered.write(folder.path()).unwrap();

        let read = |url: &str, cluster| Remembered::read(folder.path(), url, cluster);
        assert_eq!(read("file:///other", "test"), None);
        assert_eq!(read(&vault, "other"), None);
        let read = read(&vault, "test").unwrap();
        assert_eq!(read, remembered);
        let again = read.target().await.unwrap();
        assert_eq!(again.timeline.record(), target.timeline.record());
        assert_eq!(again.timeline.id(), target.timeline.id());
        assert_eq!(again.cluster.vault().id(), made.id());
        again
            .timeline
            .put_gap(Revision(4), Revision(5), "test")
            .await
            .unwrap();
        let damaged = folder.path().join(FILE);
        fs::write(damaged, "{").unwrap();
        assert_eq!(Remembered::read(folder.path(), &vault, "test"), None);
    }
}
