//! What every fuzz target does with its bytes. The same functions run in `cargo test` over the seeds and their mutations
//! (`tests/parsers_survive_any_bytes.rs` includes this file).
//!
//! Each panics when a parser panics, or when what it accepted does not survive being written and read again. Where a
//! hash or a checksum stands before a parser, the bytes are tried as they are and once more with the hash made right,
//! because a fuzzer cannot guess it and whoever forges an object can compute it.

mod identity;

use std::io::Write as _;

use bytes::Bytes;
use revkeep_schemas::{
    FormatError, Revision, RowSource as _,
    boltdb::{DbFile, check_trailer},
    envelope::{Envelope, Kind, open, open_any, seal},
    key_filter::KeyFilter,
    kubernetes::Recognised,
    kv::{KeyValue, key_of},
    manifest::{
        BaseManifest, ChunkHash, GapRecord, Head, TimelineRecord, VaultFormat, decode_chunk,
    },
    member::{snap::Snap, v2store, wal::WalReader},
    names::{ClusterName, TimelineId, Uid},
    row::{EncodedRows, RowKey},
    segment::{Frame, SegmentFooter, SegmentIndex, SegmentReader},
};
use sha2::{Digest as _, Sha256};

use identity::identity;

/// Encoded rows: what is accepted is written back byte for byte.
pub fn rows(data: &[u8]) {
    let mut again = Vec::new();
    let mut whole = true;
    for row in EncodedRows::new(data) {
        let Ok(row) = row else {
            whole = false;
            break;
        };
        let _ = KeyValue::decode(row.value);
        row.append_to(&mut again).unwrap();
    }
    assert!(
        data.starts_with(&again),
        "rows are written as they were read"
    );
    assert!(!whole || again.len() == data.len(), "no byte is left over");
    if let Ok(key) = RowKey::decode(data) {
        assert_eq!(&*key.encode(), data, "a row key has one encoding");
    }
}

/// `mvccpb.KeyValue`: the fast path agrees with the decoder, and what was read survives the round trip.
pub fn key_value(data: &[u8]) {
    let _ = key_of(data);
    let Ok(kv) = KeyValue::decode(data) else {
        return;
    };
    let again = kv.encode();
    assert_eq!(KeyValue::decode(&again).unwrap(), kv);
    assert_eq!(
        key_of(&again).unwrap(),
        kv.key,
        "the first field is the key"
    );
}

/// A value of Kubernetes: what is recognised says the same when it is read again.
pub fn kubernetes(data: &[u8]) {
    let read = Recognised::of(data);
    assert_eq!(read, Recognised::of(data));
    let _ = read.as_ref().and_then(Recognised::object);
}

/// A key filter: what is read is written back byte for byte, and any key may be asked for.
pub fn key_filter(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(Some(filter)) = KeyFilter::decode(&bytes) {
        let _ = (filter.may_hold(data), filter.may_hold_prefix(data));
        let again = filter.encode();
        assert!(again.starts_with(&data[..2]) && again.get(4..) == data.get(4..));
    }
}

/// etcd's db file: opened, every bucket and every row walked to its end, the revision computed, the trailer checked.
pub fn boltdb(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(data).unwrap();
    let _ = check_trailer(file.path());
    let _ = walk(file.path(), data.len());
}

fn walk(path: &std::path::Path, len: usize) -> Result<(), FormatError> {
    let db = DbFile::open(path)?;
    let _ = (db.snapshot_revision(), db.compact_revisions());
    for name in db.bucket_names()? {
        let Some(bucket) = db.bucket(&name)? else {
            panic!("a listed bucket cannot be found");
        };
        let mut cursor = bucket.cursor();
        let (mut entries, mut before) = (0_usize, Vec::new());
        while let Ok(Some((key, _))) = cursor.next_entry() {
            assert!(entries == 0 || before.as_slice() < key, "keys ascend");
            before = key.to_vec();
            entries += 1;
            assert!(entries <= len, "a walk ends");
        }
        let _ = bucket.cursor().seek(b"\0");
    }
    let mut rows = db.rows()?;
    while rows.next_row()?.is_some() {}
    Ok(())
}

/// A WAL: as it is, and as one record with a right checksum.
pub fn wal(data: &[u8]) {
    read_wal(data);
    let Some((kind, record)) = data.split_first() else {
        return;
    };
    let crc = crc_fast::crc32_iscsi(record);
    let mut file = wal_frame(4, 0, &[]);
    file.extend(wal_frame(*kind % 8, crc, record));
    read_wal(&file);
}

fn read_wal(data: &[u8]) {
    let mut reader = WalReader::new(data, "wal");
    while let Ok(Some(record)) = reader.next_record() {
        std::hint::black_box(&record);
    }
    let _ = (reader.end(), reader.crc());
}

/// A frame of a WAL: its length with the padding in the top byte, a `walpb.Record`, and the padding.
fn wal_frame(kind: u8, crc: u32, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0x08, kind, 0x10];
    varint(&mut record, crc.into());
    record.push(0x1a);
    varint(&mut record, data.len() as u64);
    record.extend_from_slice(data);
    let padding = (8 - record.len() % 8) % 8;
    let mut field = record.len() as u64;
    if padding > 0 {
        field |= (0x80 | padding as u64) << 56;
    }
    record.resize(record.len() + padding, 0);
    [field.to_le_bytes().as_slice(), &record].concat()
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A `.snap` file and the store in it: as it is, and with a right checksum.
pub fn snap(data: &[u8]) {
    let mut file = vec![0x08];
    varint(&mut file, crc_fast::crc32_iscsi(data).into());
    file.push(0x12);
    varint(&mut file, data.len() as u64);
    file.extend_from_slice(data);
    for bytes in [data, &file] {
        if let Ok(snap) = Snap::decode(bytes, "snap") {
            let _ = v2store::members(&snap.data);
            assert_eq!(Snap::decode(&snap.encode(), "again").unwrap(), snap);
        }
    }
    let _ = v2store::members(data);
}

/// A segment: as it is; as an index of its own under a right footer; and as one frame with a right hash.
pub fn segment(data: &[u8]) {
    let object = Bytes::copy_from_slice(data);
    if let Ok(envelope) = Envelope::decode(data)
        && let Ok(segment) = SegmentReader::open(object, &envelope.identity)
    {
        let _ = segment.verify();
    }
    let Some((split, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let asked = identity(Kind::Segment, "0000000000000001");
    let split = usize::from(u16::from_le_bytes(*split)).min(rest.len());
    let (frames, index) = rest.split_at(split);
    let envelope = Envelope::encode(&asked, "fuzz");
    let mut covered = Vec::new();
    for number in [envelope.len(), envelope.len() + split, index.len()] {
        covered.extend_from_slice(&(number as u64).to_le_bytes());
    }
    let hash = Sha256::new()
        .chain_update(&envelope)
        .chain_update(index)
        .chain_update(&covered)
        .finalize();
    let object = [&envelope, frames, index, &covered, &hash, b"RKSEGEND"].concat();
    assert!(SegmentFooter::decode(&object, object.len() as u64).is_ok());
    if let Ok(segment) = SegmentReader::open(object.into(), &asked) {
        let _ = segment.verify();
        look(segment.index());
    }
    let frame = Frame {
        offset: 0,
        stored_len: index.len() as u64,
        plain_len: split as u64,
        first: asked.first,
        last: asked.last,
        rows: 1,
        sha256: Sha256::digest(index).into(),
        min_key: Vec::new(),
        max_key: None,
        keys: None,
    };
    let mut plain = Vec::new();
    if SegmentReader::decode_frame(&frame, index, &mut plain).is_ok() {
        rows(&plain);
    }
}

fn look(index: &SegmentIndex) {
    let _ = index.time_of(Revision(5));
    assert!(index.frames_of(Revision(2), Revision(9)).count() <= index.frames.len());
}

/// An envelope: what was read survives the round trip; and the bytes as a body come back as they were.
pub fn envelope(data: &[u8]) {
    let object = Bytes::copy_from_slice(data);
    if let Ok(read) = Envelope::decode(data) {
        assert!(read.len <= data.len());
        let again = Envelope::encode(&read.identity, &read.writer);
        assert_eq!(Envelope::decode(&again).unwrap().identity, read.identity);
        let _ = open(&object, &read.identity);
        let _ = open_any(&object, read.identity.kind);
    }
    let asked = identity(Kind::Gap, "");
    assert_eq!(open(&seal(&asked, "fuzz", data), &asked).unwrap(), data);
    // The same header bytes behind a right prefix.
    let mut prefixed = b"REVKEEP\0\x01\0\x05\0".to_vec();
    prefixed.extend_from_slice(&(data.len() as u32).to_le_bytes());
    prefixed.extend_from_slice(data);
    let _ = Envelope::decode(&prefixed);
}

/// The bodies of all small objects, and the names of all: what was read survives the round trip.
pub fn manifest(data: &[u8]) {
    if let Ok(read) = BaseManifest::decode(data) {
        let _ = read.covers();
        assert_eq!(BaseManifest::decode(&read.encode()).unwrap(), read);
    }
    if let Ok(read) = TimelineRecord::decode(data) {
        assert_eq!(TimelineRecord::decode(&read.encode()).unwrap(), read);
    }
    if let Ok(read) = GapRecord::decode(data) {
        assert_eq!(GapRecord::decode(&read.encode()).unwrap(), read);
    }
    if let Ok(read) = Head::decode(data) {
        assert_eq!(Head::decode(&read.encode()).unwrap(), read);
    }
    let _ = VaultFormat::decode(data);
    if let Ok(text) = std::str::from_utf8(data) {
        same_text::<ClusterName>(text);
        same_text::<TimelineId>(text);
        same_text::<Uid>(text);
        same_text::<ChunkHash>(text);
    }
}

/// A name has one spelling, so that two objects cannot claim it.
fn same_text<T: std::str::FromStr + std::fmt::Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}

/// A chunk: as it is, and as the body of a chunk with a right hash.
pub fn chunk(data: &[u8]) {
    let object = Bytes::copy_from_slice(data);
    if let Ok(envelope) = Envelope::decode(data)
        && let Ok(plain) = decode_chunk(&object, &envelope.identity)
    {
        rows(&plain);
    }
    let asked = identity(Kind::Chunk, &ChunkHash::of(data).to_string());
    let _ = decode_chunk(&seal(&asked, "fuzz", data), &asked);
}
