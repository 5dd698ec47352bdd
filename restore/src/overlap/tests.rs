use std::convert::Infallible;

use proptest::prelude::*;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Timeline, Vault};

use super::*;
use crate::error::{Kind, RestoreError};
use crate::plan::{History, Target};
use crate::prepare::{Prepared, Request, prepare};
use crate::source::Source;

/// The value of a revision's only row; a member that diverged writes another.
fn value(main: i64, diverged: bool) -> Vec<u8> {
    value_of(main, if diverged { b"theirs" } else { b"ours" })
}

fn value_of(main: i64, value: &[u8]) -> Vec<u8> {
    KeyValue {
        key: b"k",
        create_revision: 2,
        mod_revision: main,
        version: main - 1,
        value,
        ..KeyValue::default()
    }
    .encode()
}

fn key(main: i64) -> RowKey {
    RowKey {
        main: Revision(main),
        sub: 0,
        tombstone: false,
    }
}

struct Rows {
    next: i64,
    last: i64,
    value: Vec<u8>,
}

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        let main = self.next;
        self.next += 1;
        self.value = value(main, false);
        let key = key(main);
        Ok((main <= self.last).then_some(Row {
            key,
            value: &self.value,
        }))
    }
}

/// The first and the last revision of a segment, and the revisions at which its member had diverged.
type Segment<'a> = (i64, i64, &'a [i64]);

/// A base at revision 10, and segments.
async fn vault_of(
    segments: &[Segment<'_>],
    value_of_segments: impl Fn(i64, bool) -> Vec<u8>,
) -> Timeline {
    let vault = Vault::create("memory:").await.unwrap();
    let cluster = vault.cluster(&ClusterName::new("c").unwrap());
    let source = SourceIdentity::default();
    let timeline = cluster.create_timeline(source, None).await.unwrap();
    let facts = BaseFacts {
        revision: Revision(10),
        ..BaseFacts::default()
    };
    let rows = Rows {
        next: 2,
        last: 10,
        value: Vec::new(),
    };
    timeline.write_base(facts, rows, None).await.unwrap();
    for (first, last, diverged) in segments {
        let mut writer = timeline.segment_writer(0, 1);
        for main in *first..=*last {
            let value = value_of_segments(main, diverged.contains(&main));
            let row = Row {
                key: key(main),
                value: &value,
            };
            writer.push_revision(&[row], 1).unwrap();
        }
        let sealed = writer.finish().unwrap();
        timeline.put_segment(&sealed).await.unwrap();
    }
    timeline
}

async fn prepared(
    segments: &[Segment<'_>],
    target: i64,
    overlaps: Overlaps,
) -> Result<Prepared, RestoreError> {
    prepare_on(&vault_of(segments, value).await, target, overlaps).await
}

async fn prepare_on(
    timeline: &Timeline,
    target: i64,
    overlaps: Overlaps,
) -> Result<Prepared, RestoreError> {
    let source = Source::open(timeline.cluster(), None).await?;
    let request = Request {
        target: Target::Revision(Revision(target)),
        history: History::AsSource,
        overlaps,
    };
    prepare(&source, request).await
}

/// A MiB that does not compress.
fn large(main: i64, diverged: bool) -> Vec<u8> {
    let mut state = main.cast_unsigned() << 1 | u64::from(diverged);
    let mut bytes = Vec::with_capacity(1 << 20);
    while bytes.len() < 1 << 20 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    value_of(main, &bytes)
}

#[tokio::test]
async fn what_is_too_large_to_compare_unasked_is_counted_and_compared_when_asked() {
    // Of 18 MiB each, and they have their end in common, not their beginning.
    let segments: [Segment; 2] = [(11, 28, &[]), (12, 28, &[20])];
    let timeline = vault_of(&segments, large).await;
    let prepared = prepare_on(&timeline, 28, Overlaps::Small).await.unwrap();
    assert_eq!(prepared.report.overlaps.not_compared, 1);
    let notes = prepared.notes.join("\n");
    assert!(notes.contains("--verify-overlaps"), "{notes}");
    let error = prepare_on(&timeline, 28, Overlaps::All).await.unwrap_err();
    assert!(error.to_string().contains("at revision 20:"), "{error}");
}

fn range(first: i64, last: i64) -> String {
    format!("{first:020}-{last:020}")
}

#[tokio::test]
async fn a_diverged_overlap_is_an_alarm_that_names_both_objects_and_the_revision() {
    let cases: [(&[Segment], i64, _, _); 5] = [
        // The same range twice.
        (&[(11, 20, &[]), (11, 20, &[15])], 15, (11, 20), (11, 20)),
        // A merged segment against its parts.
        (
            &[(11, 30, &[]), (11, 20, &[]), (21, 30, &[28, 29])],
            28,
            (11, 30),
            (21, 30),
        ),
        // No boundary in common.
        (
            &[(11, 20, &[]), (21, 30, &[]), (15, 25, &[22])],
            22,
            (21, 30),
            (15, 25),
        ),
        // The plan reads both, the second one from 21 on.
        (&[(11, 20, &[]), (16, 30, &[18])], 18, (11, 20), (16, 30)),
        // One that begins in the base's range.
        (&[(5, 30, &[]), (8, 14, &[9, 13])], 13, (5, 30), (8, 14)),
    ];
    for (segments, at, one, other) in cases {
        let end = segments.iter().map(|segment| segment.1).max().unwrap();
        let error = prepared(segments, end, Overlaps::Small).await;
        let error = error.map(|_| segments).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind(), Kind::Verification, "{said}");
        assert!(said.contains(&format!("at revision {at}:")), "{said}");
        assert!(said.contains(&range(one.0, one.1)), "{said}");
        assert!(said.contains(&range(other.0, other.1)), "{said}");
        // What lies before is not affected, as the message says.
        assert!(prepared(segments, at - 1, Overlaps::Small).await.is_ok());
    }
}

#[tokio::test]
async fn equal_overlaps_are_settled_by_indexes_where_boundaries_meet() {
    // 11 to 20 and 21 to 30 against 11 to 14 and 15 to 30: only the ends are common.
    let segments: [Segment; 5] = [
        (11, 20, &[]),
        (21, 30, &[]),
        (11, 14, &[]),
        (15, 30, &[]),
        (13, 22, &[]),
    ];
    let report = prepared(&segments, 30, Overlaps::Small)
        .await
        .unwrap()
        .report;
    assert_eq!(report.segments, 2);
    let OverlapReport {
        segments,
        compared_by_index,
        compared_by_row,
        not_compared,
    } = report.overlaps;
    assert_eq!(segments, 3);
    assert_eq!(
        (compared_by_index, compared_by_row, not_compared),
        (2, 1, 0)
    );
}

fn lane(position: usize, first: i64, last: i64, diverged: &[i64]) -> Lane {
    let mut digest = RowDigest::default();
    for main in first..=last {
        let value = value(main, diverged.contains(&main));
        digest.add(&Row {
            key: key(main),
            value: &value,
        });
    }
    Lane {
        position,
        first: Revision(first),
        last: Revision(last),
        digest,
    }
}

fn tiling() -> impl Strategy<Value = Vec<(i64, i64)>> {
    proptest::collection::vec(1..6_i64, 1..8).prop_map(|lengths| {
        let ends = lengths.iter().scan(10, |end, length| {
            let first = *end + 1;
            *end += length;
            Some((first, *end))
        });
        ends.collect()
    })
}

proptest! {
    /// What the indexes call equal is equal, what they call contradictory is not, and what two common boundaries enclose is
    /// called one or the other.
    #[test]
    fn the_indexes_tell_the_truth(
        planned in tiling(), others in proptest::collection::vec((11..40_i64, 0..9_i64), 1..6), other in tiling(),
        diverged in 11..60_i64
    ) {
        let planned: Vec<_> = (0..).zip(&planned).map(|(at, (first, last))| lane(at, *first, *last, &[])).collect();
        let others = others.iter().map(|(first, more)| (*first, first + more)).chain(other);
        let others: Vec<_> = (100..).zip(others).map(|(at, (first, last))| lane(at, first, last, &[diverged])).collect();
        let verdict = by_index(&planned, &others);
        let end = planned.last().map_or(Revision(10), |lane| lane.last);
        for lane in &others {
            let holds = lane.first.0 <= diverged && diverged <= lane.last.0;
            if verdict.agreeing.contains(&lane.position) {
                prop_assert!(!holds && lane.last <= end);
            }
            let twin = planned.iter().any(|planned| (planned.first, planned.last) == (lane.first, lane.last));
            let accused = verdict.contradictions.iter().any(|found| found.others.contains(&lane.position));
            if twin && !verdict.agreeing.contains(&lane.position) {
                prop_assert!(accused);
            }
        }
        for found in &verdict.contradictions {
            prop_assert!(found.range.0.0 <= diverged && diverged <= found.range.1.0);
        }
    }
}
