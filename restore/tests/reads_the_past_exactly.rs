//! Invariant "exact", for reading in place: keys, histories and differences are those of a plain model, at every revision, whatever
//! pieces the vault has them in.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use futures::TryStreamExt;
use proptest::collection::vec;
use proptest::prelude::*;
use revkeep_restore::Kind;
use revkeep_restore::past::{Difference, History, Selection, Version, View};
use revkeep_restore::plan::{Target, coverage};
use revkeep_restore::point::{Moment, Wanted, resolve, revision_at};
use revkeep_restore::source::Source;
use revkeep_schemas::kv::{KeyValue, key_of};
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::{Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Timeline, Vault};
use tokio::runtime::Runtime;

/// Chunks and frames of this size have key filters.
const CHUNKS: ChunkerOptions = ChunkerOptions {
    min_bytes: 17_000,
    target_bytes: 20_000,
    max_bytes: 40_000,
};
const EPOCH_MS: i64 = 1_700_000_000_000;

fn name(key: u8) -> Vec<u8> {
    match key % 3 {
        0 => format!("/registry/pods/a/{key}").into_bytes(),
        1 => format!("/registry/pods/b/{key}").into_bytes(),
        _ => vec![0xff, key],
    }
}

/// A whole history, as the rows that etcd would have written: each change is a key and, of a put, the size of its value.
fn history(transactions: &[Vec<(u8, Option<usize>)>]) -> Vec<RowBuf> {
    let mut rows = Vec::new();
    let mut live = BTreeMap::<u8, (i64, i64)>::new();
    let mut main = 2;
    for changes in transactions {
        let mut sub = 0;
        for &(key, put) in changes {
            let name = name(key);
            let value = if let Some(size) = put {
                let (created, version) = live.entry(key).or_insert((main, 0));
                *version += 1;
                KeyValue {
                    key: &name,
                    create_revision: *created,
                    mod_revision: main,
                    version: *version,
                    value: &vec![key; size],
                    lease: i64::from(key),
                }
                .encode()
            } else if live.remove(&key).is_some() {
                KeyValue::encode_tombstone(&name)
            } else {
                continue;
            };
            let key = RowKey {
                main: Revision(main),
                sub,
                tombstone: put.is_none(),
            };
            rows.push(RowBuf {
                key,
                value: value.into(),
            });
            sub += 1;
        }
        main += i64::from(sub > 0);
    }
    rows
}

struct Rows(std::vec::IntoIter<RowBuf>, Option<RowBuf>);

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        self.1 = self.0.next();
        Ok(self.1.as_ref().map(RowBuf::as_row))
    }
}

/// What a vault holds of a history: bases (revision, compact revision), and segments (first, last), some of them missing.
#[derive(Clone, Debug)]
struct Case {
    rows: Vec<RowBuf>,
    last: i64,
    bases: Vec<(i64, i64)>,
    segments: Vec<(i64, i64)>,
    pairs: Vec<(u16, u16)>,
}

fn share(low: i64, high: i64, share: u16) -> i64 {
    low + (high - low) * i64::from(share) / i64::from(u16::MAX)
}

fn cases() -> impl Strategy<Value = Case> {
    let size = prop_oneof![3 => 1usize..2000, 1 => 4000usize..9000];
    let change = (0u8..9, prop::option::weighted(0.7, size));
    let transactions = vec(vec(change, 1..4), 3..50);
    let bases = vec(any::<(u16, u16)>(), 1..4);
    let segments = vec((1i64..12, 0i64..4, prop::bool::weighted(0.85)), 1..12);
    (transactions, bases, segments, vec(any::<(u16, u16)>(), 6)).prop_map(
        |(transactions, bases, cuts, pairs)| {
            let rows = history(&transactions);
            let last = rows.last().map_or(1, |row| row.key.main.0);
            let bases = bases.into_iter().map(|(at, floor)| {
                let revision = share(1, last, at);
                (revision, share(0, revision, floor))
            });
            let (mut segments, mut next) = (Vec::new(), 2);
            for (length, overlap, there) in cuts.into_iter().cycle().take(100) {
                if next > last {
                    break;
                }
                let to = (next + length - 1).min(last);
                if there {
                    segments.push(((next - overlap).max(2), to));
                }
                next = to + 1;
            }
            Case {
                bases: bases.collect(),
                rows,
                last,
                segments,
                pairs,
            }
        },
    )
}

fn compacted(rows: &[RowBuf], revision: i64, at: i64) -> Vec<RowBuf> {
    let newest: BTreeMap<_, _> = rows
        .iter()
        .filter(|row| row.key.main.0 <= at)
        .map(|row| (key_of(&row.value).unwrap().to_vec(), row.key))
        .collect();
    let kept = |row: &&RowBuf| {
        let alive = !row.key.tombstone && newest.get(key_of(&row.value).unwrap()) == Some(&row.key);
        row.key.main.0 <= revision && (row.key.main.0 > at || alive)
    };
    rows.iter().filter(kept).cloned().collect()
}

type Live = BTreeMap<Vec<u8>, RowBuf>;

fn live_at(rows: &[RowBuf], revision: i64) -> Live {
    let mut live = Live::new();
    for row in rows.iter().filter(|row| row.key.main.0 <= revision) {
        let key = key_of(&row.value).unwrap().to_vec();
        if row.key.tombstone {
            live.remove(&key);
        } else {
            live.insert(key, row.clone());
        }
    }
    live
}

fn same(found: &Version, row: &RowBuf) -> bool {
    let kv = KeyValue::decode(&row.value).unwrap();
    (found.at, found.key.as_slice(), &found.value[..]) == (row.key, kv.key, kv.value)
        && (found.create_revision, found.version, found.lease)
            == (kv.create_revision, kv.version, kv.lease)
}

impl Case {
    async fn store(&self) -> Timeline {
        let vault = Vault::create("memory:").await.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        for (revision, compact) in &self.bases {
            let facts = BaseFacts {
                revision: Revision(*revision),
                compact_revision: Revision(*compact),
                etcd_version: "3.5.1".to_owned(),
                finished_unix_ms: EPOCH_MS + revision * 1000,
                ..BaseFacts::default()
            };
            let rows = compacted(&self.rows, *revision, *compact);
            let rows = Rows(rows.into_iter(), None);
            timeline
                .write_base_with(facts, rows, None, CHUNKS)
                .await
                .unwrap();
        }
        for (first, last) in &self.segments {
            let mut writer = timeline.segment_writer(0, 1);
            for main in *first..=*last {
                let rows = self.rows.iter().filter(|row| row.key.main.0 == main);
                let rows: Vec<_> = rows.map(RowBuf::as_row).collect();
                writer.push_revision(&rows, EPOCH_MS + main * 1000).unwrap();
            }
            timeline
                .put_segment(&writer.finish().unwrap())
                .await
                .unwrap();
        }
        timeline
    }

    fn keys(&self) -> BTreeSet<Vec<u8>> {
        let keys = self
            .rows
            .iter()
            .map(|row| key_of(&row.value).unwrap().to_vec());
        keys.chain([b"absent".to_vec()]).collect()
    }
}

const PREFIXES: [&[u8]; 5] = [
    b"",
    b"/registry/pods/a/",
    b"/registry/pods",
    b"/registry/pods/b/1",
    b"\xff",
];

async fn keys_are_the_models(case: &Case, source: &Source) {
    let covered = coverage(&source.holdings());
    for revision in 1..=case.last + 1 {
        let target = Target::Revision(Revision(revision));
        let inside = covered
            .iter()
            .any(|range| range.0.0 <= revision && revision <= range.1.0);
        let view = View::at(source, target);
        if !inside {
            let kind = view.unwrap_err().kind();
            assert!(
                matches!(kind, Kind::Gap | Kind::OutsideCoverage),
                "{kind:?}"
            );
            continue;
        }
        let view = view.unwrap();
        let live = live_at(&case.rows, revision);
        for prefix in PREFIXES {
            let found = view
                .get(&Selection::Prefix(prefix.to_vec()), true)
                .await
                .unwrap();
            let expected: Vec<_> = live
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .collect();
            assert_eq!(found.len(), expected.len(), "{prefix:?} at {revision}");
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(found, (_, row))| same(found, row))
            );
        }
        for key in case.keys() {
            let found = view.get(&Selection::Key(key.clone()), true).await.unwrap();
            let expected = live.get(&key);
            assert_eq!(
                found.len(),
                usize::from(expected.is_some()),
                "{key:?} at {revision}"
            );
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(found, row)| same(found, row))
            );
            let from = view
                .get(&Selection::From(key.clone()), false)
                .await
                .unwrap();
            assert!(
                from.iter()
                    .map(|version| &version.key)
                    .eq(live.range(key..).map(|(key, _)| key))
            );
        }
    }
}

async fn told(source: &Source, selection: &Selection) -> (History, Vec<Version>) {
    let history = History::of(source, Revision::ZERO, Revision::MAX);
    let stream = history.versions(source, selection).await.unwrap();
    let told: Vec<_> = stream.try_concat().await.unwrap();
    (history, told.into_iter().map(|told| told.version).collect())
}

async fn histories_are_the_models(case: &Case, source: &Source) {
    let covered = coverage(&source.holdings());
    for selection in [
        Selection::Prefix(Vec::new()),
        Selection::Prefix(b"/registry/pods/a/".to_vec()),
    ]
    .into_iter()
    .chain(case.keys().into_iter().map(Selection::Key))
    {
        let (history, told) = told(source, &selection).await;
        assert!(told.is_sorted_by(|a, b| (a.at.main, a.at.sub) < (b.at.main, b.at.sub)));
        let wanted = |row: &&RowBuf| selection.wants(key_of(&row.value).unwrap());
        let rows: BTreeMap<_, _> = case
            .rows
            .iter()
            .filter(wanted)
            .map(|row| (row.key, row))
            .collect();
        assert!(told.iter().all(|version| same(version, rows[&version.at])));
        let told: BTreeSet<_> = told.iter().map(|version| version.at).collect();
        let within = |ranges: &[(Revision, Revision)], revision: Revision| {
            ranges
                .iter()
                .any(|range| range.0 <= revision && revision <= range.1)
        };
        for key in rows.keys() {
            if within(&covered, key.main) && !within(&history.partly_known, key.main) {
                assert!(told.contains(key), "{key:?} is missing");
            }
        }
        for (revision, compact) in &case.bases {
            for row in compacted(&case.rows, *revision, *compact)
                .iter()
                .filter(wanted)
            {
                assert!(
                    told.contains(&row.key),
                    "{:?} of a base is missing",
                    row.key
                );
            }
        }
        // What was deleted last is found without reading all of it.
        if let Selection::Key(key) = &selection {
            let deleted = told.iter().rfind(|at| at.tombstone);
            let wanted = Wanted::BeforeDelete {
                key: key.clone(),
                since: None,
            };
            let found = resolve(source.timeline.cluster(), None, &wanted).await;
            let found = found
                .map(|found| found.target)
                .map_err(|error| error.kind());
            let expected = deleted.map(|at| Target::Revision(at.main.previous()));
            assert_eq!(found, expected.ok_or(Kind::OutsideCoverage));
        }
    }
}

async fn differences_are_the_models(case: &Case, source: &Source) {
    let covered: Vec<_> = coverage(&source.holdings())
        .iter()
        .flat_map(|range| range.0.0..=range.1.0)
        .collect();
    let point =
        |part: u16| covered[usize::from(part) * (covered.len() - 1) / usize::from(u16::MAX)];
    for (from, to) in &case.pairs {
        let (from, to) = (point(*from), point(*to));
        let (before, after) = (live_at(&case.rows, from), live_at(&case.rows, to));
        let target = |revision| Target::Revision(Revision(revision));
        for selection in [
            Selection::Prefix(Vec::new()),
            Selection::Prefix(b"/registry/pods/b/".to_vec()),
        ] {
            let found = Difference::of(source, target(from), target(to), &selection)
                .await
                .unwrap();
            let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            let key_at = |side: &Live, key: &Vec<u8>| side.get(key).map(|row| row.key);
            let expected: Vec<_> = all
                .into_iter()
                .filter(|key| selection.wants(key))
                .filter(|key| key_at(&before, key) != key_at(&after, key))
                .collect();
            assert!(
                found.changes.iter().map(|change| &change.key).eq(expected),
                "{from} to {to}"
            );
            for change in &found.changes {
                let agrees =
                    |side: &Option<Version>, live: &Live| match (side, live.get(&change.key)) {
                        (Some(found), Some(row)) => same(found, row),
                        (found, row) => found.is_none() && row.is_none(),
                    };
                assert!(agrees(&change.before, &before) && agrees(&change.after, &after));
            }
        }
    }
}

async fn times_are_the_models(case: &Case, source: &Source) {
    let segments = case
        .segments
        .iter()
        .flat_map(|(first, last)| *first..=*last);
    let seen: BTreeSet<_> = segments
        .chain(case.bases.iter().map(|base| base.0))
        .collect();
    for revision in 0..=case.last {
        for off in [0, 999] {
            let unix_ms = EPOCH_MS + revision * 1000 + off;
            let found = revision_at(source, unix_ms).await.unwrap();
            let expected = seen.range(..=revision).next_back().copied().map(Revision);
            assert_eq!(found, expected, "at {revision}");
            let wanted = Wanted::Time(Moment { unix_ms });
            let found = resolve(source.timeline.cluster(), None, &wanted).await;
            let found = found
                .map(|found| found.target)
                .map_err(|error| error.kind());
            assert_eq!(
                found,
                expected.map(Target::Revision).ok_or(Kind::OutsideCoverage)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_read_is_the_models(case in cases()) {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let timeline = case.store().await;
            let source = Source::open(timeline.cluster(), None).await.unwrap();
            keys_are_the_models(&case, &source).await;
            histories_are_the_models(&case, &source).await;
            differences_are_the_models(&case, &source).await;
            times_are_the_models(&case, &source).await;
        });
    }
}
