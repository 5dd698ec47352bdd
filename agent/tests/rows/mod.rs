//! The rows of a source and of a vault, to compare.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use revkeep_harness::product::{CLUSTER, VaultPlace};
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::{Revision, RowKey, RowSource};
use revkeep_vault::{ClusterName, ErrorKind, Inventory, Piece, ReadOptions, Timeline, Vault};

/// Rows by their place in history.
pub(crate) type Rows = BTreeMap<RowKey, Bytes>;

/// The timeline that the agents fill; `None` before there is one.
pub(crate) async fn timeline(place: &VaultPlace) -> Result<Option<Timeline>> {
    match Vault::open(&place.url).await {
        Ok(vault) => {
            let cluster = vault.cluster(&ClusterName::new(CLUSTER)?);
            Ok(cluster.newest_timeline().await?)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Every row that the stopped source holds, above the revision that an empty store begins with.
pub(crate) fn rows_of_source(db: &Path) -> Result<Rows> {
    let mut rows = DbFile::open(db)?.rows()?;
    let mut all = Rows::new();
    while let Some(row) = rows.next_row()? {
        if row.key.main > Revision::INITIAL {
            all.insert(row.key, Bytes::copy_from_slice(row.value));
        }
    }
    Ok(all)
}

/// What was read back of the vault.
#[derive(Default)]
pub(crate) struct Held {
    /// The rows.
    pub(crate) rows: Rows,
    /// Rows that came more than once, and agreed.
    pub(crate) again: usize,
}

impl Held {
    /// Everything in every base and segment; fails where two objects disagree.
    pub(crate) async fn all(timeline: &Timeline, inventory: &Inventory) -> Result<Self> {
        let mut held = Self::default();
        for base in &inventory.bases {
            let chunks = base.manifest.chunks.iter().copied();
            let pieces = chunks.map(Piece::Chunk).collect();
            held.read(timeline, &base.name, pieces).await?;
        }
        for entry in &inventory.segments {
            let (from, to) = (entry.first, entry.last);
            let piece = Piece::Segment {
                entry: entry.clone(),
                from,
                to,
            };
            held.read(timeline, &entry.name, vec![piece]).await?;
        }
        Ok(held)
    }

    async fn read(&mut self, timeline: &Timeline, name: &str, pieces: Vec<Piece>) -> Result<()> {
        let mut incoming = timeline.read_rows(pieces, ReadOptions::default());
        let mut newest = None;
        while let Some(rows) = incoming.recv().await {
            let rows = rows.with_context(|| format!("read {name}"))?.bytes;
            for row in EncodedRows::new(&rows) {
                let row = row?;
                ensure!(
                    newest < Some(row.key),
                    "{name}: {:?} comes after {newest:?}",
                    row.key
                );
                newest = Some(row.key);
                let value = Bytes::copy_from_slice(row.value);
                if let Some(other) = self.rows.insert(row.key, value) {
                    ensure!(
                        other == row.value,
                        "{name}: {:?} differs from another object's",
                        row.key
                    );
                    self.again += 1;
                }
            }
        }
        Ok(())
    }
}

/// Both ways: a row that the vault lacks, has beyond the source, or has otherwise.
pub(crate) fn compare(source: &Rows, held: &Rows) -> Result<()> {
    for (key, value) in source {
        match held.get(key) {
            None => bail!("the vault lacks the row {key:?}"),
            Some(held) => ensure!(held == value, "the row {key:?} differs"),
        }
    }
    let extra = held
        .keys()
        .find(|key| key.main > Revision::INITIAL && !source.contains_key(key));
    if let Some(extra) = extra {
        bail!("the vault holds {extra:?}, which the source never had");
    }
    Ok(())
}
