//! What the store promises beside its answers; those are compared with a model and with etcd in `tests/`.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
};

use super::{Mvcc, MvccOptions};
use crate::{
    backend::{Backend, BackendOptions, MemoryDisk, Position},
    error::StoreError,
};

fn store() -> Arc<Mvcc> {
    let disk = Arc::new(MemoryDisk::new());
    let backend = Backend::open(disk, BackendOptions::default()).unwrap();
    Mvcc::open(Arc::new(backend), MvccOptions::default()).unwrap()
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    }
}

fn all(revision: i64) -> RangeRequest {
    RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        revision,
        ..RangeRequest::default()
    }
}

fn txn(ops: impl IntoIterator<Item = Request>) -> TxnRequest {
    let ops = ops.into_iter().map(|request| RequestOp {
        request: Some(request),
    });
    TxnRequest {
        success: ops.collect(),
        ..TxnRequest::default()
    }
}

#[test]
fn a_transaction_that_fails_in_the_middle_changes_nothing() {
    let store = store();
    store.put(&put("a", "1")).unwrap();
    let before = store.hash_kv(0).unwrap();
    let delete = DeleteRangeRequest {
        key: Bytes::from_static(b"a"),
        ..DeleteRangeRequest::default()
    };
    let keeps_value = PutRequest {
        ignore_value: true,
        ..put("a", "")
    };
    // The check before the first operation passes; then the key that the put takes its value from is gone.
    let request = txn([
        Request::RequestPut(put("b", "2")),
        Request::RequestDeleteRange(delete),
        Request::RequestPut(keeps_value),
    ]);
    assert!(matches!(store.txn(&request), Err(StoreError::KeyNotFound)));
    assert_eq!(store.hash_kv(0).unwrap(), before);
    assert_eq!(store.indexed_keys(), 1);
    assert_eq!(store.take_events().len(), 1);
    // Versions go on where they were.
    let kv = store
        .put(&PutRequest {
            prev_kv: true,
            ..put("a", "3")
        })
        .unwrap()
        .prev_kv
        .unwrap();
    assert_eq!((kv.version, kv.mod_revision), (1, 2));
    let kvs = store.range(&all(0)).unwrap().kvs;
    assert_eq!(kvs.iter().map(|kv| kv.version).collect::<Vec<_>>(), [2]);
}

/// Each transaction writes the same number to all keys, so every read must find one number.
#[test]
fn readers_beside_the_writer_never_see_a_part_of_a_transaction() {
    const KEYS: usize = 20;
    let store = store();
    let write = |number: usize| {
        let number = number.to_string();
        let puts = (0..KEYS).map(|key| Request::RequestPut(put(&format!("k{key:02}"), &number)));
        store.txn(&txn(puts)).unwrap();
        let index = store.revision().cast_unsigned();
        store.backend().set_position(Position::new(1, index), None);
    };
    write(0);
    thread::scope(|scope| {
        let reader = || {
            let mut seen = 0;
            while seen < 400 {
                let current = store.revision();
                let old = (current - 3).max(store.compact_revision()).max(2);
                for revision in [old, 0] {
                    let answer = match store.range(&all(revision)) {
                        Ok(answer) => answer,
                        // A compaction came between.
                        Err(StoreError::Compacted) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    let first = answer.kvs[0].value.clone();
                    assert_eq!(answer.kvs.len(), KEYS);
                    assert!(answer.kvs.iter().all(|kv| kv.value == first));
                    seen = first
                        .iter()
                        .fold(0, |n, digit| n * 10 + usize::from(digit - b'0'));
                }
                let page = store.events(store.compact_revision().max(2), 5, usize::MAX);
                if let Ok(page) = page {
                    // The compact revision itself may have been thinned out meanwhile.
                    assert!(
                        page.revisions
                            .iter()
                            .skip(1)
                            .all(|of| of.events.len() == KEYS)
                    );
                }
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        scope.spawn(|| {
            for number in 1..=400 {
                write(number);
                if number % 20 == 0 {
                    store.compact(store.revision() - 2).unwrap();
                }
                if number % 7 == 0 {
                    store.flush().unwrap();
                }
            }
        });
        for reader in readers {
            reader.join().unwrap();
        }
    });
    store.stop();
}

#[tokio::test]
async fn an_interrupted_compaction_goes_on_after_the_next_start() {
    let disk = MemoryDisk::new();
    let open = |disk: &MemoryDisk| {
        let backend = Backend::open(Arc::new(disk.clone()), BackendOptions::default()).unwrap();
        Mvcc::open(Arc::new(backend), MvccOptions::default()).unwrap()
    };
    let store = open(&disk);
    for number in 0..50 {
        store.put(&put("k", &number.to_string())).unwrap();
    }
    store.backend().set_position(Position::new(1, 1), None);
    store.flush().unwrap();
    // The thread waits for the decision's own entry of the log; the power goes as soon as that is durable.
    let ticket = store.compact(40).unwrap();
    store.stop();
    store.backend().set_position(Position::new(1, 2), None);
    store.flush().unwrap();
    assert!(matches!(ticket.wait().await, Err(StoreError::Stopped)));
    let disk = disk.crash(1);
    drop(store);

    let store = open(&disk);
    assert_eq!((store.revision(), store.compact_revision()), (51, 40));
    let rows = || {
        let mut rows = store.backend().view().all_rows().unwrap();
        std::iter::from_fn(|| rows.next_owned().unwrap()).count()
    };
    for _ in 0..500 {
        if rows() == 12 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rows(), 12, "the row of revision 40, and those of 41 to 51");
    store.stop();
}
