//! What the store exports is etcd's file: etcd's own tools take it, and a real etcd boots from it with the same hash.

use std::sync::Arc;

use bytes::Bytes;
use revkeep_harness::{Etcd, EtcdOptions, EtcdTool, etcd_versions};
use revkeep_schemas::{
    boltdb::{DbFile, DbOptions},
    etcd_api::etcdserverpb::{DeleteRangeRequest, PutRequest},
};
use revkeep_store::{
    StoreError,
    backend::{Backend, BackendOptions, Bucket, MemoryDisk, Position},
    mvcc::{Mvcc, MvccOptions},
    snapshot,
};

fn store() -> Arc<Mvcc> {
    let disk = Arc::new(MemoryDisk::new());
    let backend = Backend::open(disk, BackendOptions::default()).unwrap();
    Mvcc::open(Arc::new(backend), MvccOptions::default()).unwrap()
}

fn put(store: &Mvcc, key: String, value: usize, lease: i64) {
    let request = PutRequest {
        key: key.into(),
        value: Bytes::from(vec![b'v'; value]),
        lease,
        ..PutRequest::default()
    };
    store.put(&request).unwrap();
}

/// Some of everything: replaced, deleted and leased keys, large values, a compaction.
async fn filled() -> Arc<Mvcc> {
    let store = store();
    store.leases().grant(7, 3600).unwrap();
    for round in 0..3 {
        for key in 0..400 {
            let lease = if key % 5 == 0 { 7 } else { 0 };
            put(&store, format!("key{key:04}"), key * round, lease);
        }
    }
    put(&store, "large".to_owned(), 200_000, 0);
    let deleted = DeleteRangeRequest {
        key: Bytes::from_static(b"key0100"),
        range_end: Bytes::from_static(b"key0200"),
        ..DeleteRangeRequest::default()
    };
    store.delete_range(&deleted).unwrap();
    let ticket = store.compact(store.revision() - 300).unwrap();
    store.backend().set_position(Position::new(3, 99), None);
    ticket.wait().await.unwrap();
    put(&store, "last".to_owned(), 9, 0);
    // Half of it is flushed and half is not.
    store.backend().set_position(Position::new(3, 100), None);
    store
}

#[tokio::test]
async fn etcds_tools_take_it_and_etcd_boots_from_it() {
    let store = filled().await;
    let expected = store.hash_kv(store.revision()).unwrap();
    for version in etcd_versions()
        .iter()
        .filter(|version| version.series() >= (3, 5))
    {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("snapshot.db");
        let options = DbOptions {
            trailer: true,
            ..DbOptions::default()
        };
        snapshot::export(&store.backend().view(), &file, options).unwrap();
        let tool = EtcdTool::new(version);
        let status = tool.snapshot_status(&file).await.unwrap();
        assert_eq!(
            status["revision"].as_i64(),
            Some(store.revision()),
            "{version}"
        );
        let data_dir = folder.path().join("restored");
        tool.snapshot_restore(&file, &data_dir, &[]).await.unwrap();
        let mut etcd = Etcd::start_with(version, EtcdOptions::booting(&data_dir))
            .await
            .unwrap();
        let hash = etcd.hash_kv(store.revision()).await.unwrap();
        let asked = (expected.compact_revision, expected.hash);
        // Before 3.5.16 a tombstone at the compact revision counts.
        if version.numbers() >= (3, 5, 16) {
            assert_eq!((hash.compact_revision, hash.hash), asked, "{version}");
        }
        etcd.stop().await.unwrap();
    }
}

#[tokio::test]
async fn it_has_every_bucket_and_the_position() {
    let store = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    snapshot::export(&store.backend().view(), &file, DbOptions::default()).unwrap();
    let db = DbFile::open(&file).unwrap();
    let mut expected: Vec<_> = Bucket::ALL.iter().map(|bucket| bucket.name()).collect();
    expected.push("key");
    expected.sort_unstable();
    let names = db.bucket_names().unwrap();
    assert_eq!(
        names,
        expected
            .iter()
            .map(|name| name.as_bytes())
            .collect::<Vec<_>>()
    );
    assert_eq!(snapshot::position_of(&file).unwrap(), Position::new(3, 100));
    assert_eq!(db.snapshot_revision().unwrap().0, store.revision());
    let meta = db.bucket(b"meta").unwrap().unwrap();
    assert_eq!(meta.get(b"storageVersion").unwrap(), None);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_changes_nothing() {
    let store = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    let options = DbOptions {
        trailer: true,
        ..DbOptions::default()
    };
    snapshot::export(&store.backend().view(), &file, options).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let before = store.hash_kv(0).unwrap();
    let error = store.install(&file, None).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("db"), "{error}");
    assert_eq!(store.hash_kv(0).unwrap(), before);
    put(&store, "still".to_owned(), 1, 0);
    assert_eq!(store.revision(), before.current + 1);
}
