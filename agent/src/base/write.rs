//! Proves a snapshot and writes it to the vault.

use std::path::Path;

use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::hashkv::TombstoneRule;
use revkeep_schemas::manifest::{BaseManifest, SmallBucket};
use revkeep_schemas::snapshot::{BaseRows, Normaliser, small_buckets};
use revkeep_vault::{BaseFacts, come_after_others, fail_point};

use super::Taken;
use crate::AgentError;
use crate::target::Target;

/// Proves the snapshot and writes the base; its manifest is the last object that goes up.
///
/// # Errors
/// [`AgentError::Snapshot`] when its rows do not have the hash that the source reported; nothing was written then.
pub async fn write(
    target: &Target,
    taken: &Taken,
    previous: Option<&BaseManifest>,
) -> Result<BaseManifest, AgentError> {
    let proof = Proof {
        path: taken.spooled.path().to_path_buf(),
        position: taken.position,
        rule: TombstoneRule::for_version(&taken.identity.version),
        checkpoint: taken.checkpoint,
        endpoint: taken.endpoint.clone(),
    };
    let (kept, buckets) = tokio::task::spawn_blocking(move || {
        come_after_others();
        proof.run()
    })
    .await
    .map_err(|error| AgentError::Internal(format!("reading a snapshot: {error}")))??;
    let facts = facts(taken, buckets);
    fail_point::reached("base.proved");
    Ok(target.timeline.write_base(facts, kept, previous).await?)
}

fn facts(taken: &Taken, buckets: Vec<SmallBucket>) -> BaseFacts {
    BaseFacts {
        revision: taken.position.revision,
        compact_revision: taken.position.compact_revision,
        buckets,
        checkpoint: taken.checkpoint,
        etcd_version: taken.identity.version.clone(),
        cluster_id: taken.identity.cluster_id,
        member_id: taken.identity.member_id,
        raft_term: taken.identity.raft_term,
        raft_index: taken.identity.raft_index,
        db_bytes: taken.spooled.bytes,
        started_unix_ms: taken.started_unix_ms,
        finished_unix_ms: taken.finished_unix_ms,
    }
}

/// What is needed to prove a snapshot, on a blocking thread.
struct Proof {
    path: std::path::PathBuf,
    position: super::Position,
    rule: TombstoneRule,
    checkpoint: Option<revkeep_schemas::manifest::Checkpoint>,
    endpoint: String,
}

impl Proof {
    fn run(self) -> Result<(BaseRows, Vec<SmallBucket>), AgentError> {
        let db = DbFile::open(Path::new(&self.path))?;
        let normaliser = Normaliser::read(&db, self.position, self.rule, rand::random())?;
        if let Some(reported) = self.checkpoint
            && let Some(ours) = normaliser.hash_as(&db, reported)?
        {
            if ours != reported.hash {
                return Err(AgentError::Snapshot {
                    endpoint: self.endpoint,
                    reason: format!(
                        "HashKV at revision {} with compact revision {} is {ours:08x} over its rows, and the \
                         member reported {:08x}: compare the members' hashes, one of them may have diverged",
                        reported.revision, reported.compact_revision, reported.hash
                    ),
                });
            }
            tracing::info!(
                revision = %reported.revision,
                hash = format_args!("{ours:08x}"),
                "the snapshot has the hash that the source reported"
            );
        }
        let buckets = small_buckets(&db)?;
        Ok((BaseRows::new(&db, normaliser)?, buckets))
    }
}
