//! The backend on a disk that fails.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_schemas::{Revision, Row, RowKey, boltdb::FINISHED_COMPACT_REV};

use super::{Backend, BackendOptions, Bucket, MemoryDisk, Position, STATE_FILE, View};
use crate::error::{Result, StoreError};

fn open(disk: &MemoryDisk) -> Result<Backend> {
    let options = BackendOptions {
        cache_bytes: 1 << 20,
    };
    Backend::open(Arc::new(disk.clone()), options)
}

fn row(main: i64, sub: i64) -> (RowKey, Bytes) {
    let key = RowKey {
        main: Revision(main),
        sub,
        tombstone: false,
    };
    (key, Bytes::from(format!("value {main} {sub}")))
}

/// What entry `index` of a log does: a few rows, and a change of a bucket.
fn apply(backend: &Backend, index: u64) {
    let main = index.cast_signed() + 1;
    let rows = (0..main % 4).map(|sub| row(main, sub));
    backend.append_rows(rows).unwrap();
    let key = Bytes::from(format!("entry {}", index % 7));
    if index.is_multiple_of(5) {
        backend.delete(Bucket::Lease, key);
    } else {
        backend.put(Bucket::Lease, key, Bytes::from(index.to_string()));
    }
    let raft = Bytes::from(format!("raft {index}"));
    backend.set_position(Position::new(3, index), Some(raft));
}

/// The state is that after exactly the entries up to its position.
fn check(view: &View) {
    let index = view.position().index;
    let mut leases = BTreeMap::new();
    let mut expected = Vec::new();
    for index in 1..=index {
        let main = index.cast_signed() + 1;
        expected.extend((0..main % 4).map(|sub| row(main, sub)));
        let key = Bytes::from(format!("entry {}", index % 7));
        if index.is_multiple_of(5) {
            leases.remove(&key);
        } else {
            leases.insert(key, Bytes::from(index.to_string()));
        }
    }
    assert_eq!(rows(view), expected);
    assert_eq!(view.entries(Bucket::Lease).unwrap(), leases);
    let raft = (index > 0).then(|| Bytes::from(format!("raft {index}")));
    assert_eq!(view.raft_state(), raft);
}

fn rows(view: &View) -> Vec<(RowKey, Bytes)> {
    let mut cursor = view.all_rows().unwrap();
    std::iter::from_fn(|| cursor.next_owned().unwrap()).collect()
}

#[test]
fn a_crash_leaves_whole_entries_and_all_that_was_flushed() {
    let mut gone = 0;
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = MemoryDisk::new();
        for _ in 0..4 {
            let backend = open(&disk).unwrap();
            check(&backend.view());
            let first = backend.position().index + 1;
            let last = first + random.random_range(0..40);
            // Perhaps it stops amid a flush.
            if random.random_bool(0.5) {
                let nth = random.random_range(1..30);
                if random.random_bool(0.5) {
                    disk.faults().fail_write_from(nth);
                } else {
                    disk.faults().fail_sync_from(nth);
                }
            }
            let mut flushed = backend.durable();
            for index in first..last {
                apply(&backend, index);
                if random.random_bool(0.2) {
                    match backend.flush() {
                        Ok(durable) => flushed = durable,
                        Err(error) => {
                            assert!(error.is_fatal(), "{error}");
                            break;
                        }
                    }
                }
                check(&backend.view());
            }
            let crashed = disk.crash(random.random());
            drop(backend);
            disk = crashed;
            let position = open(&disk).unwrap().position();
            assert!(
                position >= flushed,
                "seed {seed}: {position} is before {flushed}"
            );
            gone += last.saturating_sub(position.index + 1);
        }
    }
    assert!(
        gone > 0,
        "no run lost anything: the disk keeps what it must not"
    );
}

#[test]
fn after_a_failed_sync_nothing_is_durable_ever_again() {
    let disk = MemoryDisk::new();
    let backend = open(&disk).unwrap();
    apply(&backend, 1);
    backend.flush().unwrap();
    apply(&backend, 2);
    disk.faults().fail_sync_from(1);
    let error = backend.flush().unwrap_err();
    assert!(
        error.is_fatal() && error.to_string().contains(STATE_FILE),
        "{error}"
    );
    // The disk recovers; what the failed sync has lost is unknown, so the member must not go on.
    disk.faults().fail_sync_from(0);
    assert!(backend.flush().is_err());
    assert!(backend.failure().is_some());
    assert_eq!(backend.durable(), Position::new(3, 1));
    check(&backend.view());
}

#[test]
fn a_full_disk_fails_the_flush_and_keeps_what_was_durable() {
    let disk = MemoryDisk::new();
    let backend = open(&disk).unwrap();
    apply(&backend, 1);
    backend.flush().unwrap();
    let used = disk.file_len(STATE_FILE).unwrap();
    disk.faults().limit_bytes(used as u64);
    let large = (row(9, 0).0, Bytes::from(vec![1; used * 2]));
    backend.append_rows([large]).unwrap();
    backend.set_position(Position::new(3, 2), None);
    assert!(backend.flush().unwrap_err().is_fatal());
    drop(backend);
    disk.faults().limit_bytes(0);
    let backend = open(&disk).unwrap();
    assert_eq!(backend.position(), Position::new(3, 1));
    check(&backend.view());
}

#[test]
fn a_view_holds_whole_entries_only_and_never_changes() {
    let disk = MemoryDisk::new();
    let backend = open(&disk).unwrap();
    (1..10).for_each(|index| apply(&backend, index));
    backend.flush().unwrap();
    (10..20).for_each(|index| apply(&backend, index));
    let before = backend.view();
    // In the middle of entry 20.
    backend.append_rows([row(21, 0)]).unwrap();
    backend.put(Bucket::Meta, Bytes::from("open"), Bytes::from("1"));
    assert_eq!(backend.view().row(row(21, 0).0).unwrap(), None);
    assert_eq!(
        backend.latest().row(row(21, 0).0).unwrap(),
        Some(row(21, 0).1)
    );
    assert_eq!(backend.row(row(21, 0).0).unwrap(), Some(row(21, 0).1));
    assert_eq!(
        backend.get(Bucket::Meta, &Bytes::from("open")).unwrap(),
        Some(Bytes::from("1"))
    );
    assert_eq!(
        backend
            .view()
            .get(Bucket::Meta, &Bytes::from("open"))
            .unwrap(),
        None
    );
    // A flush takes whole entries, too, and leaves the rest.
    assert_eq!(backend.flush().unwrap(), Position::new(3, 19));
    assert_eq!(backend.unflushed_rows(), 1);
    check(&backend.view());
    backend
        .remove_rows(&[row(2, 0).0], Some(Revision(5)))
        .unwrap();
    backend.defragment().unwrap();
    check(&before);
    assert_eq!(backend.view().row(row(2, 0).0).unwrap(), None);
    let finished = backend.get(Bucket::Meta, &Bytes::from_static(FINISHED_COMPACT_REV));
    assert_eq!(
        finished.unwrap().unwrap(),
        super::encoded_revision(Revision(5))
    );
}

#[test]
fn rows_out_of_order_are_refused() {
    let backend = open(&MemoryDisk::new()).unwrap();
    backend.append_rows([row(5, 0), row(5, 1)]).unwrap();
    assert!(backend.append_rows([row(5, 1)]).is_err());
    backend.set_position(Position::new(1, 1), None);
    backend.flush().unwrap();
    assert!(backend.append_rows([row(4, 9)]).is_err());
    assert!(backend.append_rows([row(5, 2)]).is_ok());
}

#[test]
fn a_replacement_is_whole_or_not_there() {
    let (mut kept, mut taken) = (0, 0);
    for nth in 1..60 {
        let disk = MemoryDisk::new();
        let backend = open(&disk).unwrap();
        (1..20).for_each(|index| apply(&backend, index));
        backend.flush().unwrap();
        if nth % 2 == 0 {
            disk.faults().fail_write_from(nth / 2);
        } else {
            disk.faults().fail_sync_from(nth.div_ceil(8));
        }
        let replaced = backend.replace(|into| {
            for sub in 0..200 {
                let (key, value) = row(100, sub);
                into.put_row(&Row { key, value: &value })?;
            }
            into.put_position(Position::new(7, 70))
        });
        let crashed = disk.crash(nth);
        drop(backend);
        let view = open(&crashed).unwrap().view();
        if view.position() == Position::new(7, 70) {
            taken += 1;
            assert_eq!(rows(&view).len(), 200);
            assert!(view.entries(Bucket::Lease).unwrap().is_empty());
        } else {
            kept += 1;
            assert!(replaced.is_err());
            check(&view);
        }
    }
    assert!(
        kept > 5 && taken > 5,
        "{kept} old, {taken} new: the faults missed a side"
    );
}

#[test]
fn a_defragmented_file_is_smaller_and_goes_on() {
    let disk = MemoryDisk::new();
    let backend = open(&disk).unwrap();
    let value = Bytes::from(vec![1; 1000]);
    let keys: Vec<_> = (2..2000).map(|main| row(main, 0).0).collect();
    backend
        .append_rows(keys.iter().map(|key| (*key, value.clone())))
        .unwrap();
    backend.set_position(Position::new(3, 1), Some(Bytes::from("raft")));
    backend.flush().unwrap();
    backend
        .remove_rows(keys.get(..1900).unwrap(), None)
        .unwrap();
    let before = backend.size_bytes();
    backend.append_rows([row(3000, 0)]).unwrap();
    backend.set_position(Position::new(3, 2), None);
    backend.defragment().unwrap();
    assert!(
        backend.size_bytes() < before / 2,
        "{} of {before}",
        backend.size_bytes()
    );
    assert_eq!(rows(&backend.view()).len(), keys.len() - 1900 + 1);
    backend.flush().unwrap();
    drop(backend);
    let backend = open(&disk).unwrap();
    assert_eq!(backend.position(), Position::new(3, 2));
    assert_eq!(backend.raft_state(), Some(Bytes::from("raft")));
    assert_eq!(rows(&backend.view()).len(), keys.len() - 1900 + 1);
}

#[test]
fn a_name_that_may_not_last_ends_all_writing() {
    for replaces in [false, true] {
        let disk = MemoryDisk::new();
        let backend = open(&disk).unwrap();
        (1..20).for_each(|index| apply(&backend, index));
        backend.flush().unwrap();
        // The syncs of the new file come first, so that the folder's is the one that fails.
        let mut failed = None;
        for nth in 1..20 {
            disk.faults().fail_sync_from(nth);
            let done = if replaces {
                backend.replace(|into| into.put_position(Position::new(7, 70)))
            } else {
                backend.defragment()
            };
            disk.faults().fail_sync_from(0);
            let error = done.unwrap_err().to_string();
            if error.contains("rename") {
                failed = backend.failure();
                break;
            }
            assert!(backend.failure().is_none(), "{error}");
        }
        assert!(failed.is_some(), "{replaces}");
        // Not to the file that no longer has a name.
        apply(&backend, 20);
        assert!(backend.flush().is_err());
        assert!(backend.durable() < Position::new(1, 20));
    }
}

#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let disk = MemoryDisk::new();
    let backend = open(&disk).unwrap();
    (1..400).for_each(|index| apply(&backend, index));
    backend.flush().unwrap();
    drop(backend);
    let len = disk.file_len(STATE_FILE).unwrap();
    let mut refused = 0;
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..150 {
        let (byte, bit) = (random.random_range(0..len), random.random_range(0..8));
        let copy = disk.crash(0);
        assert!(copy.flip_bit(STATE_FILE, byte, bit));
        match open(&copy) {
            Ok(backend) => check(&backend.view()),
            Err(error) => {
                refused += 1;
                let damaged = matches!(&error, StoreError::Damaged { .. });
                assert!(
                    damaged && error.to_string().contains(STATE_FILE),
                    "byte {byte}: {error}"
                );
            }
        }
    }
    assert!(refused > 0, "no flip met a page in use");
}
