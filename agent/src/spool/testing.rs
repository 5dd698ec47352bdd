//! Segments to test with.

use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::names::{ClusterName, TimelineId, Uid, VaultId};
use revkeep_schemas::segment::{LeaseFact, SealedSegment, SegmentOrigin, SegmentWriter};
use revkeep_schemas::{Revision, Row, RowKey};

use super::Place;

pub(super) fn place() -> Place {
    Place {
        vault: VaultId([7; 16]),
        cluster: ClusterName::new("test").unwrap(),
        timeline: TimelineId::FIRST,
    }
}

/// A segment of `[first, last]` of about so many bytes, with one lease in it.
pub(super) fn segment_of(place: &Place, first: i64, last: i64, bytes: usize) -> SealedSegment {
    let origin = SegmentOrigin {
        vault: place.vault,
        cluster: place.cluster.clone(),
        timeline: place.timeline,
        level: 0,
        uid: Uid(rand::random()),
        writer: "test".to_owned(),
    };
    let mut writer = SegmentWriter::new(origin, 1);
    for main in first..=last {
        let mut value = vec![0; bytes];
        rand::fill(&mut value[..]);
        let value = KeyValue {
            key: b"k",
            mod_revision: main,
            value: &value,
            ..KeyValue::default()
        };
        let key = RowKey {
            main: Revision(main),
            sub: 0,
            tombstone: false,
        };
        let value = value.encode();
        let row = Row { key, value: &value };
        writer.push_revision(&[row], main).unwrap();
    }
    writer.lease(LeaseFact {
        id: first,
        granted_ttl_s: 60,
        first_seen: Revision(first),
    });
    writer.finish().unwrap()
}

pub(super) fn segment(first: i64, last: i64) -> SealedSegment {
    segment_of(&place(), first, last, 100)
}
