use bytes::Bytes;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{RowBuf, RowKey};

use super::*;

/// A transaction that deletes so many keys of a MiB each; they share their memory.
fn deletes(count: i64) -> Transaction {
    let value = Bytes::from(KeyValue::encode_tombstone(&vec![7; 1 << 20]));
    let row = |sub| RowBuf {
        key: RowKey {
            main: Revision(9),
            sub,
            tombstone: true,
        },
        value: value.clone(),
    };
    Transaction {
        revision: Revision(9),
        rows: (0..count).map(row).collect(),
        leases: Vec::new(),
    }
}

#[test]
fn a_revision_that_no_segment_takes_is_told_before_it_is_taken_in() {
    fits_a_segment(&deletes(1)).unwrap();
    fits_a_segment(&deletes(253)).unwrap();
    for count in [255, 300] {
        let error = fits_a_segment(&deletes(count)).unwrap_err();
        assert!(
            matches!(&error, AgentError::TooLarge { revision, bytes }
                if *revision == Revision(9) && *bytes as u64 > MAX_FRAME_PLAIN_BYTES - (2 << 20)),
            "{error}"
        );
    }
}
