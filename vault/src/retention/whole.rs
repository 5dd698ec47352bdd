//! Whether the bases that a plan counts on can still be brought back.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::survey::Survey;
use crate::cluster::Cluster;
use crate::error::VaultError;
use crate::inventory::Damage;
use crate::layout::ChunkName;

/// When each chunk was stored, and its bytes.
pub(crate) type StoredChunks = HashMap<ChunkName, (DateTime<Utc>, u64)>;

impl Cluster {
    /// [`Cluster::survey`], in which a base that lists a chunk which is gone counts as damaged: what such a base is counted on
    /// for must not be what lets another path go.
    ///
    /// # Errors
    /// As [`Cluster::survey`].
    pub async fn survey_whole(&self, now: DateTime<Utc>) -> Result<Survey, VaultError> {
        let mut survey = self.survey(now).await?;
        let stored = self.stored_chunks().await?;
        self.name_incomplete(&mut survey, &stored).await?;
        Ok(survey)
    }

    /// Names the bases of a survey that list a chunk which is gone as damaged; `stored` as for [`Cluster::incomplete`].
    pub(super) async fn name_incomplete(
        &self,
        survey: &mut Survey,
        stored: &StoredChunks,
    ) -> Result<(), VaultError> {
        let incomplete = self.incomplete(survey, stored).await?;
        survey.damaged.extend(incomplete);
        Ok(())
    }

    /// The bases of a survey that list a chunk which is gone. `stored` may be older than the survey: chunks are listed again
    /// before one counts as gone.
    pub(crate) async fn incomplete(
        &self,
        survey: &Survey,
        stored: &StoredChunks,
    ) -> Result<Vec<Damage>, VaultError> {
        let mut damaged = Vec::new();
        if lacking(survey, |chunk| stored.contains_key(chunk)).is_empty() {
            return Ok(damaged);
        }
        let again = self.stored_chunks().await?;
        for (base, chunk) in lacking(survey, |chunk| again.contains_key(chunk)) {
            // Of what another program deletes just now the manifest goes first.
            if self.stands(&base).await? {
                let chunk = self.chunk_path(chunk);
                damaged.push(Damage {
                    name: base,
                    reason: format!("{chunk}, which it lists, is gone"),
                });
            }
        }
        Ok(damaged)
    }
}

/// The bases that list a chunk which is not there, each with the first of those.
fn lacking(survey: &Survey, is_there: impl Fn(&ChunkName) -> bool) -> Vec<(String, ChunkName)> {
    let timelines = survey.history.timelines.iter();
    let bases = timelines.flat_map(|timeline| &timeline.bases);
    let lacks = bases.filter_map(|base| {
        let mut chunks = base.chunks.iter().map(|(chunk, _)| *chunk);
        let lost = chunks.find(|chunk| !is_there(chunk))?;
        Some((base.name.clone(), lost))
    });
    lacks.collect()
}
