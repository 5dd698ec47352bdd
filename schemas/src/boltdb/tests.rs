//! Smoke test of the pair; the properties are in the child modules.

use super::{DbFile, DbOptions, DbWriter, Trailer, check_trailer};

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
