//! What the store promises beside its answers; those are compared with a model and with etcd in `tests/`.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use revkeep_schemas::{
    etcd_api::etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        compare::{CompareTarget, TargetUnion},
        request_op::Request,
    },
    kv::KeyValue,
};

use super::{Mvcc, MvccOptions, index::Change, write::Write};
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

#[test]
fn a_condition_of_a_reader_does_not_see_what_is_being_written() {
    let store = store();
    store.put(&put("k", "1")).unwrap();
    let mut write = Write::begin(&store);
    write.put(b"k", b"2", 0).unwrap();
    write.put(b"new", b"2", 0).unwrap();
    let condition = |key: &'static [u8], target, target_union| Compare {
        key: Bytes::from_static(key),
        target: i32::from(target),
        target_union: Some(target_union),
        ..Compare::default()
    };
    let mut reads = txn([Request::RequestRange(all(0))]);
    reads.compare = vec![
        condition(b"k", CompareTarget::Version, TargetUnion::Version(1)),
        condition(b"k", CompareTarget::Create, TargetUnion::CreateRevision(2)),
        condition(b"k", CompareTarget::Mod, TargetUnion::ModRevision(2)),
        condition(b"new", CompareTarget::Version, TargetUnion::Version(0)),
    ];
    assert!(store.txn_read(&reads).unwrap().succeeded);
    write.commit().unwrap();
    assert!(!store.txn_read(&reads).unwrap().succeeded);
}

/// Who reads on behind a page would never see what the page has passed over.
#[test]
fn a_page_of_the_history_has_all_revisions_up_to_its_end() {
    let store = store();
    let row = KeyValue {
        key: b"a",
        create_revision: 2,
        mod_revision: 2,
        version: 1,
        value: b"1",
        lease: 0,
    };
    let change = Change {
        main: 2,
        sub: 0,
        tombstone: false,
    };
    thread::scope(|scope| {
        let mut current = store.revisions.hold();
        let reader = scope.spawn(|| store.events(1, 10, usize::MAX).unwrap());
        // The reader comes to where it asks for the current revision; meanwhile a transaction is written.
        thread::sleep(Duration::from_millis(100));
        let row = (change.row_key(), Bytes::from(row.encode()));
        store.backend().append_rows([row]).unwrap();
        *current = 2;
        drop(current);
        let page = reader.join().unwrap();
        let revisions: Vec<i64> = page.revisions.iter().map(|of| of.revision).collect();
        assert_eq!((revisions, page.next), (vec![2], 3));
    });
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
