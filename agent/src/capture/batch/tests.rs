use proptest::prelude::*;
use revkeep_schemas::{RowBuf, RowKey};

use super::*;

fn transaction(revision: i64, value_bytes: usize) -> Transaction {
    Transaction {
        revision: Revision(revision),
        rows: vec![RowBuf {
            key: RowKey {
                main: Revision(revision),
                sub: 0,
                tombstone: false,
            },
            value: vec![0; value_bytes].into(),
        }],
        leases: Vec::new(),
    }
}

proptest! {
    #[test]
    fn batches_are_contiguous_whole_and_bounded(
        steps in proptest::collection::vec((0usize..3000, 0u64..400), 1..80),
        bytes in 1usize..5000,
        interval_ms in 1u64..1000,
    ) {
        let interval = Duration::from_millis(interval_ms);
        let mut batcher = Batcher::new(Limits { interval, bytes });
        let mut batches = Vec::new();
        let mut now = Instant::now();
        // The clock of the stamps runs backwards, and nobody waits longer for it.
        let mut unix_ms = 1_000_000;
        let mut revision = 1;
        for (size, wait) in steps {
            now += Duration::from_millis(wait);
            unix_ms -= 1000;
            if batcher.due().is_some_and(|due| due <= now) {
                batches.extend(batcher.seal());
            }
            revision += 1;
            batches.extend(batcher.push(transaction(revision, size), unix_ms, now));
            prop_assert!(batcher.plain_bytes < bytes);
            prop_assert!(batcher.due().is_none_or(|due| due > now && due - now <= interval));
        }
        batches.extend(batcher.seal());
        prop_assert_eq!(batcher.due(), None);
        let mut next = 2;
        for batch in &batches {
            prop_assert_eq!(batch.first, Revision(next));
            let mut plain_bytes = 0;
            for stamped in &batch.transactions {
                prop_assert_eq!(stamped.transaction.revision, Revision(next));
                plain_bytes += stamped.transaction.plain_bytes();
                next += 1;
            }
            prop_assert_eq!(batch.last, Revision(next - 1));
            prop_assert_eq!(batch.plain_bytes, plain_bytes);
            let but_last: usize = batch.transactions.split_last().unwrap().1.iter()
                .map(|stamped| stamped.transaction.plain_bytes()).sum();
            prop_assert!(but_last < bytes);
        }
        prop_assert_eq!(next - 1, revision);
    }
}
