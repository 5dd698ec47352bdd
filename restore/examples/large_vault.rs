//! Fills a vault with a large cluster, for measuring restores: `large_vault URL LIVE_BYTES EVENTS EVENT_BYTES`.
//!
//! The base holds `LIVE_BYTES` of objects of 1 KiB under `/registry/…`; each event after it rewrites a random one of
//! them with a value of `EVENT_BYTES`. Values are half random, half repeated, so that they compress about as real objects do. The same arguments give
//! the same rows. The base carries the HashKV that etcd reports for these rows.

use std::convert::Infallible;

use anyhow::{Context, Result};
use revkeep_schemas::hashkv::HashKv;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::{Checkpoint, SourceIdentity};
use revkeep_schemas::names::ClusterName;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, Vault};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Of the objects in the base.
const VALUE_BYTES: usize = 1024;
/// Events of one segment; each is a transaction of its own, as Kubernetes writes one object at a time.
const EVENTS_PER_SEGMENT: i64 = 20_000;

/// The row of one write of one object.
fn write(object: i64, revision: i64, created: i64, version: i64, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes);
    let mut state = xxh3_64_with_seed(&object.to_le_bytes(), revision.unsigned_abs());
    while value.len() < bytes / 2 {
        state = xxh3_64_with_seed(&state.to_le_bytes(), 0);
        value.extend_from_slice(&state.to_le_bytes());
    }
    value.resize(bytes, b'x');
    let key = format!(
        "/registry/pods/namespace-{:03}/pod-{object:08}",
        object % 500
    );
    let (key, value) = (key.as_bytes(), &value[..]);
    KeyValue {
        key,
        create_revision: created,
        mod_revision: revision,
        version,
        value,
        lease: 0,
    }
    .encode()
}

/// Every object written once, at revisions 2, 3, ….
struct Live {
    objects: i64,
    next: i64,
    value: Vec<u8>,
}

impl RowSource for Live {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        if self.next >= self.objects {
            return Ok(None);
        }
        let revision = self.next + 2;
        self.value = write(self.next, revision, revision, 1, VALUE_BYTES);
        self.next += 1;
        let key = RowKey {
            main: Revision(revision),
            sub: 0,
            tombstone: false,
        };
        Ok(Some(Row {
            key,
            value: &self.value,
        }))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name: &str| arguments.next().with_context(|| format!("missing {name}"));
    let vault = Vault::create(&argument("URL")?).await?;
    let live_bytes: i64 = argument("LIVE_BYTES")?.parse()?;
    let events: i64 = argument("EVENTS")?.parse()?;
    let event_bytes: usize = argument("EVENT_BYTES")?.parse()?;
    let objects = live_bytes / i64::try_from(VALUE_BYTES)?;
    let etcd_version = "3.5.35".to_owned();
    let source = SourceIdentity {
        cluster_id: 1,
        member_ids: vec![1],
        etcd_version: etcd_version.clone(),
        first_seen_unix_ms: 0,
        witness: None,
    };
    let cluster = vault.cluster(&ClusterName::new("large")?);
    let timeline = cluster.create_timeline(source, None).await?;

    let live = || Live {
        objects,
        next: 0,
        value: Vec::new(),
    };
    let (mut hash, mut rows) = (HashKv::new(), live());
    while let Some(row) = rows.next_row()? {
        hash.update(&row);
    }
    let (revision, compact_revision) = (Revision(objects + 1), Revision(-1));
    let facts = BaseFacts {
        revision,
        compact_revision: Revision::ZERO,
        buckets: Vec::new(),
        checkpoint: Some(Checkpoint {
            revision,
            compact_revision,
            hash: hash.finish(),
        }),
        etcd_version,
        cluster_id: 1,
        member_id: 1,
        raft_term: 1,
        raft_index: 1,
        db_bytes: live_bytes.unsigned_abs(),
        started_unix_ms: 0,
        finished_unix_ms: 0,
    };
    timeline.write_base(facts, live(), None).await?;

    let mut versions = vec![1_i64; usize::try_from(objects)?];
    let mut written = 0;
    while written < events {
        let mut segment = timeline.segment_writer(0, 1);
        for _ in 0..EVENTS_PER_SEGMENT.min(events - written) {
            let revision = objects + 2 + written;
            let random = xxh3_64_with_seed(&revision.to_le_bytes(), 7) % objects.unsigned_abs();
            let version = versions
                .get_mut(usize::try_from(random)?)
                .context("an object")?;
            *version += 1;
            let object = i64::try_from(random)?;
            let value = write(object, revision, object + 2, *version, event_bytes);
            let key = RowKey {
                main: Revision(revision),
                sub: 0,
                tombstone: false,
            };
            segment.push_revision(&[Row { key, value: &value }], written)?;
            written += 1;
        }
        timeline.put_segment(&segment.finish()?).await?;
    }
    Ok(())
}
