//! What a drill proved, and its receipt.

use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_vault::{ProofKind, Receipt, TimelineId};
use serde::Serialize;

/// What was proved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drilled {
    /// The timeline.
    pub timeline: TimelineId,
    /// The revision.
    pub revision: Revision,
    /// The compact revision of the result.
    pub compact_revision: Revision,
    /// HashKV as the restore computed it.
    pub restored_hash: Option<u32>,
    /// HashKV as the server gave it.
    pub booted_hash: Option<u32>,
    /// The server and its version.
    pub server: Option<String>,
    /// What the source itself says of it.
    pub source: String,
    /// Seconds of the restore.
    pub restore_seconds: f64,
    /// Seconds from the start of the server to its first linearizable answer.
    pub boot_seconds: f64,
    /// Seconds of everything.
    pub seconds: f64,
    /// What is damaged and was gone around, or was not needed for this revision.
    pub damage: Vec<String>,
    /// What is wrong with the backup.
    pub failure: Option<String>,
}

impl Drilled {
    /// What is stored of it.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let mut summary = match (&self.failure, &self.server) {
            (Some(failure), _) => failure.clone(),
            (None, Some(server)) => format!(
                "revision {} was restored and booted by {server}: HashKV is equal; {}",
                self.revision, self.source
            ),
            (None, None) => self.source.clone(),
        };
        for damage in &self.damage {
            summary.push_str("; ");
            summary.push_str(damage);
        }
        Receipt {
            kind: ProofKind::Drill,
            sound: self.failure.is_none(),
            summary,
            ended_unix_ms: Utc::now().timestamp_millis(),
            took_ms: Duration::try_from_secs_f64(self.seconds)
                .ok()
                .and_then(|took| u64::try_from(took.as_millis()).ok())
                .unwrap_or_default(),
            timeline: self.timeline,
            revision: self.revision,
            compact_revision: self.compact_revision,
            hash: self.booted_hash.unwrap_or_default(),
            server: self.server.clone().unwrap_or_default(),
            objects: 0,
            bytes: 0,
            findings: u64::from(self.failure.is_some()),
        }
    }
}
