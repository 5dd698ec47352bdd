//! Invariant "exact": for every revision in coverage, the restored rows and their HashKV are those of a plain model.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use revkeep_restore::bump::Bump;
use revkeep_restore::execute::{Destination, execute};
use revkeep_restore::leases::LeaseRule;
use revkeep_restore::overlap::Overlaps;
use revkeep_restore::plan::{History, Target};
use revkeep_restore::prepare::{Request, prepare};
use revkeep_restore::report::Report;
use revkeep_restore::source::Source;
use revkeep_restore::{Kind, RestoreError};
use revkeep_schemas::boltdb::DbFile;
use revkeep_schemas::hashkv::{HashKv, TombstoneRule};
use revkeep_schemas::kv::{KeyValue, key_of};
use revkeep_schemas::member::RestoredCluster;
use revkeep_schemas::{Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::{
    BaseFacts, Checkpoint, ClusterName, CompactionMark, LeaseFact, SmallBucket, SourceIdentity,
    Timeline, Vault,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// One change: a key, whether it is put, and the lease of a put.
type Change = (u8, bool, u8);

/// A whole history, as the rows that etcd would have written.
fn history(transactions: &[Vec<Change>]) -> Vec<RowBuf> {
    let mut rows = Vec::new();
    let mut live = BTreeMap::<u8, (i64, i64)>::new();
    let mut main = 2;
    for changes in transactions {
        let mut sub = 0;
        for &(key, put, lease) in changes {
            let name = [b'k', key];
            let value = if put {
                let (created, version) = live.entry(key).or_insert((main, 0));
                *version += 1;
                KeyValue {
                    key: &name,
                    create_revision: *created,
                    mod_revision: main,
                    version: *version,
                    value: &[key; 40],
                    lease: lease.into(),
                }
                .encode()
            } else if live.remove(&key).is_some() {
                KeyValue::encode_tombstone(&name)
            } else {
                continue;
            };
            rows.push(RowBuf {
                key: RowKey {
                    main: Revision(main),
                    sub,
                    tombstone: !put,
                },
                value: value.into(),
            });
            sub += 1;
        }
        main += i64::from(sub > 0);
    }
    rows
}

fn newest_at(rows: &[RowBuf], at: Revision) -> BTreeMap<Vec<u8>, RowKey> {
    let seen = rows.iter().filter(|row| row.key.main <= at);
    seen.map(|row| (key_of(&row.value).unwrap().to_vec(), row.key))
        .collect()
}

fn up_to(rows: &[RowBuf], at: Revision) -> Vec<RowBuf> {
    let kept = rows.iter().filter(|row| row.key.main <= at);
    kept.cloned().collect()
}

fn compacted(rows: &[RowBuf], at: Revision, rule: TombstoneRule) -> Vec<RowBuf> {
    let newest = newest_at(rows, at);
    let keep = |row: &&RowBuf| {
        row.key.main > at
            || !row.key.tombstone && newest[key_of(&row.value).unwrap()] == row.key
            || row.key.tombstone && row.key.main == at && rule == TombstoneRule::Skipped
    };
    rows.iter().filter(keep).cloned().collect()
}

/// HashKV of rows that were compacted at `compact`, in the words of etcd's `hash.go`.
fn hash(rows: &[RowBuf], revision: Revision, compact: Revision, rule: TombstoneRule) -> u32 {
    let newest = newest_at(rows, revision);
    // By the newer rule a key that was deleted at the revision is not kept, even where the same transaction put it again.
    let ended: BTreeSet<_> = rows
        .iter()
        .filter(|row| row.key.tombstone && row.key.main == revision)
        .filter(|_| rule == TombstoneRule::Skipped)
        .map(|row| key_of(&row.value).unwrap().to_vec())
        .collect();
    let live: BTreeSet<_> = newest
        .iter()
        .filter(|(name, key)| !key.tombstone && !ended.contains(*name))
        .map(|(_, key)| key)
        .collect();
    let mut hash = HashKv::new();
    for row in rows.iter().filter(|row| row.key.main <= revision) {
        let below = row.key.main <= compact && compact > Revision::ZERO;
        let dead = below && !live.is_empty() && !live.contains(&row.key);
        let at = rule == TombstoneRule::Skipped && row.key.tombstone && row.key.main == compact;
        if !(dead || at && below) {
            hash.update(&row.as_row());
        }
    }
    hash.finish()
}

struct Rows(std::vec::IntoIter<RowBuf>, Option<RowBuf>);

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        self.1 = self.0.next();
        Ok(self.1.as_ref().map(RowBuf::as_row))
    }
}

#[derive(Clone, Debug)]
struct Case {
    rows: Vec<RowBuf>,
    last: Revision,
    base: Revision,
    floor: Revision,
    /// Lengths of segments after the base.
    cuts: Vec<i64>,
    overlap: i64,
    mark: Option<(Revision, Revision)>,
    target: Revision,
    everything: bool,
    old: bool,
    leases: LeaseRule,
    bump: Option<i64>,
    /// The lease of whose TTL the vault is never told.
    untold: Option<i64>,
}

/// The granted TTL of a lease.
fn ttl_s(id: i64) -> i64 {
    1000 + id
}

/// A `leasepb.Lease`: ID = 1, TTL = 2, of two bytes as a varint.
fn lease(id: i64, ttl_s: i64) -> Vec<u8> {
    let (id, ttl_s) = (u8::try_from(id).unwrap(), u16::try_from(ttl_s).unwrap());
    let [low, _] = (ttl_s & 0x7f | 0x80).to_le_bytes();
    let [high, _] = (ttl_s >> 7).to_le_bytes();
    vec![8, id, 16, low, high]
}

fn scaled(low: i64, high: i64, share: u16) -> Revision {
    Revision(low + (high - low) * i64::from(share) / i64::from(u16::MAX))
}

fn cases() -> impl Strategy<Value = Case> {
    let change = (0u8..6, prop::bool::weighted(0.7), 0u8..3);
    let transactions = vec(vec(change, 1..4), 1..40);
    let shares = any::<(u16, u16, u16, u16, u16)>();
    let flags = any::<(bool, bool, bool)>();
    let leases = prop_oneof![
        Just(LeaseRule::Keep),
        Just(LeaseRule::Detach),
        Just(LeaseRule::Expire)
    ];
    let bump = prop::option::of(1i64..5_000_000_000);
    let finish = (leases, bump, prop::option::of(1i64..3));
    (
        transactions,
        shares,
        flags,
        vec(1i64..9, 1..9),
        0i64..4,
        finish,
    )
        .prop_map(
            |(transactions, share, flags, cuts, overlap, (leases, bump, untold))| {
                let rows = history(&transactions);
                let last = rows.last().map_or(Revision::INITIAL, |row| row.key.main);
                let base = scaled(1, last.0, share.0);
                let floor = scaled(0, base.0, share.1);
                let after = scaled(base.0, last.0, share.2);
                let mark = (after, scaled(floor.0, after.0, share.3));
                Case {
                    target: scaled(floor.0.max(1), last.0, share.4),
                    mark: (flags.0 && after > base).then_some(mark),
                    everything: flags.1,
                    old: flags.2,
                    rows,
                    last,
                    base,
                    floor,
                    cuts,
                    overlap,
                    leases,
                    bump,
                    untold,
                }
            },
        )
}

impl Case {
    fn rule(&self) -> TombstoneRule {
        TombstoneRule::for_version(self.version())
    }

    fn version(&self) -> &'static str {
        if self.old { "3.5.1" } else { "3.5.33" }
    }

    fn base_rows(&self) -> Vec<RowBuf> {
        compacted(&up_to(&self.rows, self.base), self.floor, self.rule())
    }

    async fn store(&self, timeline: &Timeline, hash: u32) {
        let facts = BaseFacts {
            revision: self.base,
            compact_revision: self.floor,
            etcd_version: self.version().to_owned(),
            checkpoint: Some(Checkpoint {
                revision: self.base,
                compact_revision: self.floor,
                hash,
            }),
            buckets: vec![SmallBucket {
                name: b"lease".to_vec(),
                entries: self
                    .granted(1..=self.base.0)
                    .into_keys()
                    .map(|id| (id.to_be_bytes().to_vec(), lease(id, ttl_s(id))))
                    .collect(),
            }],
            ..BaseFacts::default()
        };
        let rows = Rows(self.base_rows().into_iter(), None);
        timeline.write_base(facts, rows, None).await.unwrap();
        let mut next = self.base.next();
        for cut in self.cuts.iter().cycle() {
            if next > self.last {
                break;
            }
            let from = Revision((next.0 - self.overlap).max(2));
            let to = Revision(next.0 + cut - 1).min(self.last);
            let mut writer = timeline.segment_writer(0, 1);
            for revision in from.0..=to.0 {
                let main = Revision(revision);
                let rows: Vec<_> = self
                    .rows
                    .iter()
                    .filter(|row| row.key.main == main)
                    .collect();
                let rows: Vec<_> = rows.into_iter().map(RowBuf::as_row).collect();
                writer
                    .push_revision(&rows, 1_700_000_000_000 + revision)
                    .unwrap();
            }
            for (id, first_seen) in self.granted(next.0..=to.0) {
                writer.lease(LeaseFact {
                    id,
                    granted_ttl_s: ttl_s(id),
                    first_seen,
                });
            }
            if let Some((revision, compact_revision)) = self.mark
                && next <= revision
                && revision <= to
            {
                writer.compaction(CompactionMark {
                    revision,
                    compact_revision,
                });
            }
            timeline
                .put_segment(&writer.finish().unwrap())
                .await
                .unwrap();
            next = to.next();
        }
    }

    fn compact_revision(&self) -> Revision {
        match self.mark {
            Some((after, compact))
                if after <= self.target && compact <= self.target && !self.everything =>
            {
                compact.max(self.floor)
            }
            _ => self.floor,
        }
    }

    /// What is left of the rows of the source once they were proved.
    fn finished(&self, proved: &[RowBuf]) -> Vec<RowBuf> {
        let detach = |row: &RowBuf| {
            let kv = KeyValue::decode(&row.value).unwrap();
            let value = if row.key.tombstone {
                row.value.to_vec()
            } else {
                KeyValue { lease: 0, ..kv }.encode()
            };
            RowBuf {
                key: row.key,
                value: value.into(),
            }
        };
        let mut rows = match self.leases {
            LeaseRule::Detach => proved.iter().map(detach).collect(),
            _ => proved.to_vec(),
        };
        rows.extend(self.bump.map(|amount| RowBuf {
            key: RowKey {
                main: Revision(self.target.0 + amount),
                sub: 0,
                tombstone: false,
            },
            value: Vec::new().into(),
        }));
        rows
    }

    /// The leases that rows of a range of revisions name first, and where.
    fn granted(&self, range: RangeInclusive<i64>) -> BTreeMap<i64, Revision> {
        let mut granted = BTreeMap::new();
        for row in self.rows.iter().filter(|row| !row.key.tombstone) {
            let lease = KeyValue::decode(&row.value).unwrap().lease;
            if lease != 0 && Some(lease) != self.untold {
                granted.entry(lease).or_insert(row.key.main);
            }
        }
        granted.retain(|_, first| range.contains(&first.0));
        granted
    }

    /// Each lease has the time that the vault was told, or an hour.
    fn lease_rows(&self, used: BTreeSet<i64>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let ids = used.into_iter().map(|id| {
            let ttl_s = if Some(id) == self.untold {
                3600
            } else {
                ttl_s(id)
            };
            let mut value = lease(id, ttl_s);
            if self.leases == LeaseRule::Expire {
                value.extend([24, 1]);
            }
            (id.to_be_bytes().to_vec(), value)
        });
        match self.leases {
            LeaseRule::Detach => Vec::new(),
            _ => ids.collect(),
        }
    }

    fn history(&self) -> History {
        if self.everything {
            History::Everything
        } else {
            History::AsSource
        }
    }
}

fn entries(db: &DbFile, bucket: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = db.bucket(bucket).unwrap().unwrap().cursor();
    let mut all = Vec::new();
    while let Some((key, value)) = cursor.next_entry().unwrap() {
        all.push((key.to_vec(), value.to_vec()));
    }
    all
}

async fn timeline() -> Timeline {
    let vault = Vault::create("memory:").await.unwrap();
    let cluster = vault.cluster(&ClusterName::new("c").unwrap());
    let source = SourceIdentity::default();
    cluster.create_timeline(source, None).await.unwrap()
}

fn restore(
    runtime: &Runtime,
    timeline: &Timeline,
    case: &Case,
    path: PathBuf,
) -> Result<Report, RestoreError> {
    let target = Target::Revision(case.target);
    let history = case.history();
    let prepared = runtime.block_on(async {
        let source = Source::open(timeline.cluster(), None).await?;
        let request = Request {
            target,
            history,
            overlaps: Overlaps::All,
        };
        let mut prepared = prepare(&source, request).await?;
        prepared.with_leases(case.leases);
        if let Some(amount) = case.bump {
            prepared.bump(Bump::by(case.target, amount)?);
        }
        Ok::<_, RestoreError>((source, prepared))
    });
    let (source, prepared) = prepared?;
    let destination = Destination::DataDir {
        path,
        wal_dir: None,
        cluster: RestoredCluster::single("default", "http://localhost:2380"),
        name: "default".to_owned(),
    };
    let (_sender, cancelled) = watch::channel(false);
    execute(
        runtime.handle(),
        &source,
        &prepared,
        &destination,
        &cancelled,
        0.0,
        &|_| {},
    )
}

/// As many as `REVKEEP_CASES` says, or so many as take a few seconds.
fn number_of_cases() -> u32 {
    let asked = std::env::var("REVKEEP_CASES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(96)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(number_of_cases()))]

    #[test]
    fn the_result_is_the_models(case in cases()) {
        let runtime = Runtime::new().unwrap();
        let place = tempfile::tempdir().unwrap();
        let known = hash(&case.base_rows(), case.base, case.floor, case.rule());
        let timeline = runtime.block_on(async {
            let timeline = timeline().await;
            case.store(&timeline, known).await;
            timeline
        });
        let path = place.path().join("data");
        let report = restore(&runtime, &timeline, &case, path.clone()).unwrap();

        let compact = case.compact_revision();
        // What the base had dropped cannot come back, and a tombstone at the floor is what the base had.
        let stored: Vec<_> = case
            .base_rows()
            .into_iter()
            .chain(case.rows.iter().filter(|row| row.key.main > case.base).cloned())
            .collect();
        let proved = compacted(&up_to(&stored, case.target), compact, case.rule());
        let expected = case.finished(&proved);
        let db = DbFile::open(path.join("member/snap/db")).unwrap();
        let mut rows = db.rows().unwrap();
        let mut restored = Vec::new();
        while let Some(row) = rows.next_row().unwrap() {
            restored.push(row.to_buf());
        }
        prop_assert_eq!(&restored, &expected);
        prop_assert_eq!(report.restored_rows, expected.len() as u64);
        let bumped = case.bump.map(|amount| Revision(case.target.0 + amount));
        let last = expected.last().map_or(Revision::INITIAL, |row| row.key.main);
        prop_assert_eq!(bumped.unwrap_or(last.max(compact)), db.snapshot_revision().unwrap());
        let finished = (compact > Revision::ZERO).then_some(compact);
        prop_assert_eq!(db.compact_revisions().unwrap(), (bumped.or(finished), finished));
        prop_assert_eq!(report.hashkv.compact_revision, compact);
        prop_assert_eq!(report.hashkv.hash, hash(&expected, case.target, compact, case.rule()));
        prop_assert_eq!(report.compared_with.len(), 1);

        let newest = newest_at(&case.rows, case.target);
        let leases: BTreeSet<_> = case.rows.iter()
            .filter(|row| newest.values().any(|key| *key == row.key && !key.tombstone))
            .map(|row| KeyValue::decode(&row.value).unwrap().lease)
            .filter(|lease| *lease != 0)
            .collect();
        let rows = case.lease_rows(leases);
        prop_assert_eq!(report.leases, rows.len());
        prop_assert_eq!(entries(&db, b"lease"), rows);
    }

    #[test]
    fn a_wrong_checkpoint_leaves_nothing(case in cases()) {
        let runtime = Runtime::new().unwrap();
        let place = tempfile::tempdir().unwrap();
        let known = hash(&case.base_rows(), case.base, case.floor, case.rule());
        let timeline = runtime.block_on(async {
            let timeline = timeline().await;
            case.store(&timeline, known ^ 1).await;
            timeline
        });
        let path = place.path().join("data");
        let error = restore(&runtime, &timeline, &case, path).unwrap_err();
        prop_assert_eq!(error.kind(), Kind::Verification);
        prop_assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
