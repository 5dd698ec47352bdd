//! What is stored of a verification.

use std::time::Duration;

use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::manifest::{ProofKind, Receipt};
use revkeep_schemas::names::TimelineId;

use super::finding::Verification;
use super::run::Depth;

/// What replaying all that was verified came to, beside the verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Rows that were replayed.
    pub rows: u64,
    /// HashKV that the source reported and the rows give.
    pub hashes: u64,
    /// What is not as the source or the vault said.
    pub findings: u64,
}

impl Verification {
    /// What is stored of it, and of the replay if there was one.
    #[must_use]
    pub fn receipt(&self, took: Duration, replayed: Option<Replayed>) -> Receipt {
        let wrong = self.findings.len() as u64 + replayed.map_or(0, |replayed| replayed.findings);
        let mut parts = vec![
            format!(
                "{} of {} objects were read",
                self.read_objects, self.objects
            ),
            format!("{wrong} things are wrong"),
        ];
        if self.depth == Depth::Listed {
            parts.push("segments and chunks were listed alone".to_owned());
        }
        if self.left > 0 {
            parts.push(format!("{} objects are due and were not read", self.left));
        }
        if !self.accepted.is_empty() {
            let accepted = self.accepted.len();
            parts.push(format!("{accepted} are missing, which was accepted"));
        }
        if let Some(Replayed { rows, hashes, .. }) = replayed {
            parts.push(format!(
                "{rows} rows were replayed and give {hashes} HashKV of the source"
            ));
        }
        let summary = parts.join(", ");
        Receipt {
            kind: ProofKind::Verification,
            sound: wrong == 0,
            summary,
            ended_unix_ms: Utc::now().timestamp_millis(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            timeline: TimelineId(0),
            revision: Revision::ZERO,
            compact_revision: Revision::ZERO,
            hash: 0,
            server: String::new(),
            objects: self.read_objects,
            bytes: self.read_bytes,
            findings: wrong,
        }
    }
}
