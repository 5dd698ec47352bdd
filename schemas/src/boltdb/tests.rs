//! Smoke test of the pair; the properties are in the child modules.

use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;

use super::{DbFile, DbOptions, DbWriter, Trailer, check_trailer};
use crate::FormatError;

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut writer = DbWriter::create(
        &path,
        DbOptions {
            trailer: true,
            ..DbOptions::default()
        },
    )
    .unwrap();
    writer.begin_bucket(b"key").unwrap();
    for n in 0..100_000_u64 {
        writer
            .put(
                &n.to_be_bytes(),
                &vec![7; usize::try_from(n % 300).unwrap()],
            )
            .unwrap();
    }
    writer.end_bucket().unwrap();
    writer.write_bucket(b"auth", [(b"a", b"b")]).unwrap();
    let summary = writer.finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), summary.bytes);
    assert_eq!(check_trailer(&path).unwrap(), Trailer::Valid);
    let db = DbFile::open(&path).unwrap();
    assert_eq!(
        db.bucket_names().unwrap(),
        [b"auth".to_vec(), b"key".to_vec()]
    );
    let mut cursor = db.bucket(b"key").unwrap().unwrap().cursor();
    let mut n = 0_u64;
    while let Some((key, value)) = cursor.next_entry().unwrap() {
        assert_eq!(key, n.to_be_bytes());
        assert_eq!(value.len() as u64, n % 300);
        n += 1;
    }
    assert_eq!(n, 100_000);
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn entries() -> impl Strategy<Value = Entries> {
    let value = prop_oneof![
        8 => (0..200_usize).boxed(),
        1 => (0..20_000_usize).boxed(),
    ];
    let value = (value, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]);
    proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 1..40), value, 0..300)
}

fn write(path: &Path, buckets: &BTreeMap<Vec<u8>, Entries>, options: DbOptions) {
    let mut writer = DbWriter::create(path, options).unwrap();
    // Not in the order of their names: the writer sorts them.
    for (name, entries) in buckets.iter().rev() {
        writer.write_bucket(name, entries).unwrap();
    }
    writer.finish().unwrap();
}

fn read(path: &Path) -> Result<BTreeMap<Vec<u8>, Entries>, FormatError> {
    let db = DbFile::open(path)?;
    let mut all = BTreeMap::new();
    for name in db.bucket_names()? {
        let mut entries = Entries::new();
        let mut cursor = db.bucket(&name)?.unwrap().cursor();
        while let Some((key, value)) = cursor.next_entry()? {
            entries.insert(key.to_vec(), value.to_vec());
        }
        all.insert(name, entries);
    }
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_bucket_survives_the_round_trip_at_any_page_size_and_fill(
        buckets in proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 1..9), entries(), 0..4),
        bits in 10..15_u32, fill_percent in 10..101_u8, probe in proptest::collection::vec(any::<u8>(), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        write(&path, &buckets, DbOptions { page_size: 1 << bits, fill_percent, trailer: false });
        prop_assert_eq!(&read(&path).unwrap(), &buckets);
        let db = DbFile::open(&path).unwrap();
        for (name, entries) in &buckets {
            let mut cursor = db.bucket(name).unwrap().unwrap().cursor();
            cursor.seek(&probe).unwrap();
            let found = cursor.next_entry().unwrap().map(|(key, _)| key.to_vec());
            prop_assert_eq!(found.as_ref(), entries.range(probe.clone()..).next().map(|(key, _)| key));
            cursor.seek_last().unwrap();
            let last = cursor.next_entry().unwrap().map(|(key, _)| key.to_vec());
            prop_assert_eq!(last.as_ref(), entries.keys().next_back());
        }
    }

    #[test]
    fn a_damaged_snapshot_is_detected_and_never_panics(
        entries in entries(), place in any::<proptest::sample::Index>(), bit in 0..8_u8, cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let buckets = BTreeMap::from([(b"key".to_vec(), entries)]);
        write(&path, &buckets, DbOptions { page_size: 1024, trailer: true, ..DbOptions::default() });
        let mut bytes = std::fs::read(&path).unwrap();
        let at = place.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        std::fs::write(&path, &bytes).unwrap();
        // Pages have no checksums, so a flip may change a value: the trailer tells. The walk itself must end.
        let walked = read(&path);
        prop_assert!(cut || check_trailer(&path).is_err());
        prop_assert!(!cut || walked.map_or(true, |read| read == buckets));
    }
}
