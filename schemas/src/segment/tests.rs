use proptest::prelude::*;

use super::*;
use crate::kv::KeyValue;
use crate::names::{ClusterName, TimelineId, Uid, VaultId};
use crate::row::EncodedRows;
use crate::{Revision, RowBuf, RowKey};

fn origin() -> SegmentOrigin {
    SegmentOrigin {
        vault: VaultId([7; 16]),
        cluster: ClusterName::new("prod").unwrap(),
        timeline: TimelineId::FIRST,
        level: 0,
        uid: Uid(0xff),
        writer: "test 1".into(),
    }
}

fn row(main: i64, sub: i64, key: &[u8], value: &[u8]) -> RowBuf {
    let kv = KeyValue {
        key,
        value,
        mod_revision: main,
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

/// Revisions from `first`, each with the given keys and sizes of values.
fn seal(first: i64, revisions: &[Vec<(Vec<u8>, usize)>]) -> (Vec<RowBuf>, SealedSegment) {
    let mut writer = SegmentWriter::new(origin(), 1);
    let mut all = Vec::new();
    for (main, changes) in (first..).zip(revisions) {
        let rows: Vec<_> = (0..)
            .zip(changes)
            .map(|(sub, (key, size))| row(main, sub, key, &vec![1; *size]))
            .collect();
        let borrowed: Vec<_> = rows.iter().map(RowBuf::as_row).collect();
        writer.push_revision(&borrowed, main / 3).unwrap();
        all.extend(rows);
    }
    (all, writer.finish().unwrap())
}

fn read(segment: &SealedSegment) -> Vec<RowBuf> {
    let reader = SegmentReader::open(segment.bytes.clone(), &segment.identity).unwrap();
    let frames = reader.index().frames.iter();
    let plain: Vec<u8> = frames
        .flat_map(|frame| reader.frame(frame).unwrap())
        .collect();
    EncodedRows::new(&plain)
        .map(|row| row.unwrap().to_buf())
        .collect()
}

fn revisions() -> impl Strategy<Value = Vec<Vec<(Vec<u8>, usize)>>> {
    let change = (
        proptest::collection::vec(any::<u8>(), 1..300),
        0..400_000_usize,
    );
    proptest::collection::vec(proptest::collection::vec(change, 1..4), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn segments_survive_the_round_trip(first in 1..1_000_i64, revisions in revisions()) {
        let (rows, segment) = seal(first, &revisions);
        prop_assert_eq!(read(&segment), rows);
        prop_assert_eq!(SealedSegment::open(segment.bytes.clone()).unwrap(), segment);
    }

    #[test]
    fn bounds_hold_every_key_of_their_frame(revisions in revisions()) {
        let (rows, segment) = seal(1, &revisions);
        for frame in &segment.index.frames {
            for row in rows.iter().filter(|row| (frame.first..=frame.last).contains(&row.key.main)) {
                let key = KeyValue::decode(&row.value).unwrap().key.to_vec();
                prop_assert!(frame.min_key <= key);
                prop_assert!(frame.max_key.as_ref().is_none_or(|max| *max >= key));
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (_, segment) = seal(1, &[vec![(b"a".to_vec(), 3)]]);
        prop_assert!(SegmentReader::open(bytes.into(), &segment.identity).is_err());
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_detected() {
    let (_, segment) = seal(5, &[vec![(b"a".to_vec(), 30)], vec![(b"b".to_vec(), 30)]]);
    let whole = |bytes: Vec<u8>| SegmentReader::open(bytes.into(), &segment.identity)?.verify();
    for len in 0..segment.bytes.len() {
        assert!(
            whole(segment.bytes[..len].to_vec()).is_err(),
            "cut to {len}"
        );
    }
    for bit in 0..segment.bytes.len() * 8 {
        let mut damaged = segment.bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(whole(damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn a_hole_a_repeat_and_a_split_revision_are_refused() {
    let mut writer = SegmentWriter::new(origin(), 1);
    let push = |writer: &mut SegmentWriter, rows: &[RowBuf]| {
        let rows: Vec<_> = rows.iter().map(RowBuf::as_row).collect();
        writer.push_revision(&rows, 0)
    };
    push(&mut writer, &[row(5, 0, b"a", b"")]).unwrap();
    assert!(push(&mut writer, &[]).is_err());
    assert!(push(&mut writer, &[row(5, 1, b"a", b"")]).is_err());
    assert!(push(&mut writer, &[row(7, 0, b"a", b"")]).is_err());
    assert!(push(&mut writer, &[row(6, 0, b"a", b""), row(7, 0, b"a", b"")]).is_err());
    assert!(push(&mut writer, &[row(6, 1, b"a", b""), row(6, 0, b"a", b"")]).is_err());
    push(&mut writer, &[row(6, 0, b"a", b"")]).unwrap();
    let segment = writer.finish().unwrap();
    assert_eq!((segment.first, segment.last), (Revision(5), Revision(6)));
    assert!(SegmentWriter::new(origin(), 1).finish().is_err());
}

#[test]
fn a_time_holds_until_the_next() {
    let revisions: Vec<_> = (0..9).map(|_| vec![(b"a".to_vec(), 1)]).collect();
    let (_, segment) = seal(3, &revisions);
    assert_eq!(segment.index.times.len(), 3);
    let times: Vec<_> = (2..=12)
        .map(|at| segment.index.time_of(Revision(at)))
        .collect();
    let expected = [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3].map(|at| Some(at).filter(|at| *at > 0));
    assert_eq!(times, expected);
}
