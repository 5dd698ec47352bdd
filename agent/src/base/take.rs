//! Takes a snapshot and what the member says about it.

use std::path::{Path, PathBuf};

use chrono::Utc;
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::manifest::Checkpoint;
use revkeep_vault::fail_point;

use super::hash::checkpoint;
use super::{Position, Spooled, spool};
use crate::AgentError;
use crate::source::{Identity, Member};

/// A snapshot on the local disk, and the member's word on it.
#[derive(Debug)]
pub struct Taken {
    /// The file.
    pub spooled: Spooled,
    /// Where it stands.
    pub position: Position,
    /// The source's `HashKV` at the snapshot's revision; `None` when it could not be had any more.
    pub checkpoint: Option<Checkpoint>,
    /// The member it came from.
    pub identity: Identity,
    /// The member's endpoint.
    pub endpoint: String,
    /// When the snapshot was asked for, in milliseconds since 1970.
    pub started_unix_ms: i64,
    /// When its last byte had arrived.
    pub finished_unix_ms: i64,
}

/// Takes a snapshot into `directory`, checks its trailer, and asks for the source's hash right after.
pub async fn take(member: &Member, directory: &Path) -> Result<Taken, AgentError> {
    let identity = member.identity().await?;
    let started_unix_ms = Utc::now().timestamp_millis();
    let spooled = spool(member, directory.to_path_buf()).await?;
    let finished_unix_ms = Utc::now().timestamp_millis();
    fail_point::reached("snapshot.received");
    let position = position(spooled.path().to_path_buf()).await?;
    let checkpoint = checkpoint(member, &identity, position.revision).await;
    tracing::info!(
        endpoint = member.endpoint(),
        revision = %position.revision,
        compact_revision = %position.compact_revision,
        bytes = spooled.bytes,
        took_ms = finished_unix_ms - started_unix_ms,
        "snapshot taken"
    );
    Ok(Taken {
        spooled,
        position,
        checkpoint,
        identity,
        endpoint: member.endpoint().to_owned(),
        started_unix_ms,
        finished_unix_ms,
    })
}

async fn position(path: PathBuf) -> Result<Position, AgentError> {
    let reading = tokio::task::spawn_blocking(move || Position::of(&DbFile::open(&path)?));
    let position = reading
        .await
        .map_err(|error| AgentError::Internal(format!("reading a snapshot: {error}")))??;
    Ok(position)
}
