//! Which cluster and timeline a question is about.

use revkeep_schemas::names::{ClusterName, TimelineId};

use super::super::database::Transaction;
use crate::error::{ErrorKind, VaultError};

/// A cluster, and one of its timelines: the newest where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The cluster.
    pub cluster: ClusterName,
    /// The timeline.
    pub timeline: Option<TimelineId>,
}

/// The same as the catalog numbers it.
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) timeline: i64,
}

impl Found {
    /// As it is shown, such as `0001`; empty while there is none.
    pub(super) fn label(&self) -> String {
        match u32::try_from(self.timeline) {
            Ok(number) if number > 0 => TimelineId(number).to_string(),
            _ => String::new(),
        }
    }
}

impl Scope {
    /// The newest timeline of a cluster.
    pub const fn newest(cluster: ClusterName) -> Self {
        Self {
            cluster,
            timeline: None,
        }
    }

    /// Looks it up. The timeline is 0 where a cluster has none yet.
    pub(super) async fn find(&self, tx: &mut Transaction) -> Result<Found, VaultError> {
        let sql = "SELECT id, timeline FROM clusters WHERE name = $1";
        let row = tx.one(sql, &[self.cluster.as_str().into()]).await?;
        let Some(row) = row else {
            return Err(VaultError::new(
                ErrorKind::NotFound,
                format!(
                    "the catalog knows no cluster {}: if the vault has it, run `revkeep catalog sync`",
                    self.cluster
                ),
            ));
        };
        let id = row.int(0)?;
        let Some(timeline) = self.timeline else {
            return Ok(Found {
                id,
                timeline: row.maybe_int(1)?.unwrap_or_default(),
            });
        };
        let number = i64::from(timeline.0);
        let sql = "SELECT timeline FROM timelines WHERE cluster_id = $1 AND timeline = $2";
        if tx.one(sql, &[id.into(), number.into()]).await?.is_none() {
            return Err(VaultError::new(
                ErrorKind::NotFound,
                format!("{} has no timeline {timeline}", self.cluster),
            ));
        }
        Ok(Found {
            id,
            timeline: number,
        })
    }
}
