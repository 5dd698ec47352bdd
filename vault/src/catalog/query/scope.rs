//! Which cluster and timeline a question is about.

use revkeep_schemas::names::{ClusterName, TimelineId};

use super::super::database::Transaction;
use crate::error::{ErrorKind, VaultError};
use crate::layout::{NameKind, ObjectName};

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
    ///
    /// # Errors
    /// `NotFound` for what the catalog does not know, `Retry` for a cluster that could not be looked at, `Corrupt` for a timeline whose record cannot be used: that an older one
    /// can be asked is no reason to answer for it.
    pub(super) async fn find(&self, tx: &mut Transaction) -> Result<Found, VaultError> {
        let (id, newest) = self.cluster(tx).await?;
        let timeline = match self.timeline {
            Some(timeline) => i64::from(timeline.0),
            None => newest.unwrap_or_default(),
        };
        if timeline > 0 {
            self.has(tx, id, timeline).await?;
        } else {
            // One that was never looked at is not one that holds nothing.
            let sql = "SELECT error FROM clusters WHERE id = $1 AND synced_ms IS NULL AND error IS NOT NULL";
            if let Some(row) = tx.one(sql, &[id.into()]).await? {
                let why = row.text(0)?;
                return Err(VaultError::new(
                    ErrorKind::Retry,
                    format!("{}: it could not be looked at yet: {why}", self.cluster),
                ));
            }
        }
        Ok(Found { id, timeline })
    }

    /// Looks the cluster up alone, for what is not of one timeline; a timeline that is named must be there all the same.
    pub(super) async fn find_cluster(&self, tx: &mut Transaction) -> Result<i64, VaultError> {
        let (id, _) = self.cluster(tx).await?;
        if let Some(timeline) = self.timeline {
            self.has(tx, id, i64::from(timeline.0)).await?;
        }
        Ok(id)
    }

    /// Its number and its newest timeline.
    async fn cluster(&self, tx: &mut Transaction) -> Result<(i64, Option<i64>), VaultError> {
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
        Ok((row.int(0)?, row.maybe_int(1)?))
    }

    /// Whether a timeline can be asked about.
    async fn has(&self, tx: &mut Transaction, id: i64, number: i64) -> Result<(), VaultError> {
        let sql = "SELECT timeline FROM timelines WHERE cluster_id = $1 AND timeline = $2";
        if tx.one(sql, &[id.into(), number.into()]).await?.is_some() {
            return Ok(());
        }
        let timeline = TimelineId(u32::try_from(number).unwrap_or_default());
        let name = ObjectName {
            cluster: self.cluster.clone(),
            timeline,
            kind: NameKind::Timeline,
        }
        .path();
        let sql = "SELECT reason FROM damaged WHERE cluster_id = $1 AND name = $2";
        let damaged = tx.one(sql, &[id.into(), (&name).into()]).await?;
        let why = match damaged {
            Some(row) => row.text(0)?,
            None if self.timeline.is_none() => {
                "it is not there, though other objects of its timeline are".to_owned()
            }
            None => {
                return Err(VaultError::new(
                    ErrorKind::NotFound,
                    format!("{} has no timeline {timeline}", self.cluster),
                ));
            }
        };
        let advice = if self.timeline.is_none() {
            "; it is the newest: name an older timeline to ask about that"
        } else {
            ""
        };
        Err(VaultError::new(
            ErrorKind::Corrupt,
            format!("{name}: the record of timeline {timeline} cannot be used: {why}{advice}"),
        ))
    }
}
