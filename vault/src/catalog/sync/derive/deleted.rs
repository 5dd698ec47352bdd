//! What retention has deleted, so that what is missing for it is no hole.

use revkeep_schemas::Revision;

use super::timeline::Deriving;
use crate::catalog::database::{Table, Transaction, Value};
use crate::catalog::sync::found::Place;
use crate::catalog::sync::holes::Deleted;
use crate::coverage::merge;
use crate::error::VaultError;
use crate::layout::NameKind;

impl Deriving<'_> {
    /// Adds what retention deleted to what it had deleted before.
    pub(super) async fn deleted(&mut self, all: &[Place]) -> Result<(), VaultError> {
        let mut known = self.known_deleted().await?;
        let before = (known.segments.clone(), known.bases.len());
        let here = all.iter().filter(|place| place.0 == self.timeline);
        let mut segments = Vec::new();
        for (_, kind) in here {
            match kind {
                NameKind::Segment { first, last, .. } => segments.push((*first, *last)),
                NameKind::Base { revision, .. } => known.bases.push(*revision),
                NameKind::Timeline | NameKind::Gap { .. } => {}
            }
        }
        known.segments = merge(known.segments.into_iter().chain(segments));
        known.bases.sort_unstable();
        known.bases.dedup();
        if before == (known.segments.clone(), known.bases.len()) {
            return Ok(());
        }
        let sql = "DELETE FROM deleted WHERE cluster_id = $1 AND timeline = $2";
        self.tx.execute(sql, &self.key()).await?;
        let [id, timeline] = self.key();
        let segments = known
            .segments
            .iter()
            .map(|(first, last)| ("segment", *first, *last));
        let bases = known.bases.iter().map(|base| ("base", *base, *base));
        let values: Vec<Value<'_>> = segments
            .chain(bases)
            .flat_map(|(kind, first, last)| {
                [id, timeline, kind.into(), first.0.into(), last.0.into()]
            })
            .collect();
        DELETED.insert(self.tx, &values).await
    }

    pub(super) async fn known_deleted(&mut self) -> Result<Deleted, VaultError> {
        deleted(self.tx, self.id, i64::from(self.timeline.0)).await
    }
}

/// What retention has deleted of a timeline.
pub(in crate::catalog) async fn deleted(
    tx: &mut Transaction,
    id: i64,
    timeline: i64,
) -> Result<Deleted, VaultError> {
    let sql = "SELECT kind, first, last FROM deleted WHERE cluster_id = $1 AND timeline = $2 ORDER BY kind, first";
    let mut deleted = Deleted::default();
    for row in tx.all(sql, &[id.into(), timeline.into()]).await? {
        let first = Revision(row.int(1)?);
        if row.text(0)? == "base" {
            deleted.bases.push(first);
        } else {
            deleted.segments.push((first, Revision(row.int(2)?)));
        }
    }
    Ok(deleted)
}

const DELETED: Table = Table {
    name: "deleted",
    columns: &["cluster_id", "timeline", "kind", "first", "last"],
    then: "",
};
