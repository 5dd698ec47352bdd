//! Rows, segments and timelines to test with.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::{FormatError, Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::{PlainRows, SealedSegment, SourceIdentity, Timeline, Vault, VaultError};
use tokio::sync::mpsc::Receiver;

/// Small chunks, so that few rows make many.
pub(crate) const SMALL: ChunkerOptions = ChunkerOptions {
    min_bytes: 1_000,
    target_bytes: 4_000,
    max_bytes: 16_000,
};

/// A source of given rows.
pub(crate) struct Rows {
    rows: Vec<RowBuf>,
    next: usize,
}

impl Rows {
    pub(crate) fn of(rows: &[RowBuf]) -> Self {
        Self {
            rows: rows.to_vec(),
            next: 0,
        }
    }
}

impl RowSource for Rows {
    type Error = FormatError;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, FormatError> {
        self.next += 1;
        Ok(self.rows.get(self.next - 1).map(RowBuf::as_row))
    }
}

/// One row with a value of that many bytes that do not compress well.
pub(crate) fn row(main: i64, sub: i64, size: usize) -> RowBuf {
    let value: Vec<u8> = (0..size as u64)
        .map(|at| {
            (at.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ main.cast_unsigned()) >> 32).to_le_bytes()[0]
        })
        .collect();
    let key = format!("key-{}", main % 17);
    let kv = KeyValue {
        key: key.as_bytes(),
        mod_revision: main,
        value: &value,
        ..KeyValue::default()
    };
    let key = RowKey {
        main: Revision(main),
        sub,
        tombstone: false,
    };
    RowBuf {
        key,
        value: kv.encode().into(),
    }
}

/// One or two rows for each revision.
pub(crate) fn rows(revisions: std::ops::Range<i64>, size: usize) -> Vec<RowBuf> {
    revisions
        .flat_map(|main| (0..=i64::from(main % 5 == 0)).map(move |sub| row(main, sub, size)))
        .collect()
}

/// A sealed segment with the rows of `[first, last]`.
pub(crate) fn segment(
    timeline: &Timeline,
    rows: &[RowBuf],
    first: i64,
    last: i64,
) -> SealedSegment {
    let mut writer = timeline.segment_writer(0, 1);
    for main in first..=last {
        let revision: Vec<_> = rows
            .iter()
            .filter(|row| row.key.main.0 == main)
            .map(RowBuf::as_row)
            .collect();
        writer.push_revision(&revision, main).unwrap();
    }
    writer.finish().unwrap()
}

/// The first timeline of a cluster of a new vault.
pub(crate) async fn timeline(store: Arc<dyn ObjectStore>) -> Timeline {
    let vault = Vault::create_with_store(store, Path::from("some/prefix"))
        .await
        .unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    cluster
        .create_timeline(SourceIdentity::default(), None)
        .await
        .unwrap()
}

/// All rows that arrive.
pub(crate) async fn read_all(
    mut receiver: Receiver<Result<PlainRows, VaultError>>,
) -> Result<Vec<RowBuf>, VaultError> {
    let mut all = Vec::new();
    while let Some(rows) = receiver.recv().await {
        let rows = rows?;
        all.extend(EncodedRows::new(&rows.bytes).map(|row| row.unwrap().to_buf()));
    }
    Ok(all)
}
