//! A part of an object is read and verified alone, from the store or from the local cache, and a key filter never hides a key.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

#[allow(dead_code, reason = "each test uses a part of it")]
mod world;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_schemas::kv::key_of;
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::{Revision, RowBuf};
use revkeep_vault::{BaseFacts, BaseManifest, ErrorKind, IndexCache, Inventory, Timeline, Vault};
use world::{Rows, rows, segment, timeline};

const CHUNKS: ChunkerOptions = ChunkerOptions {
    min_bytes: 30_000,
    target_bytes: 60_000,
    max_bytes: 200_000,
};

struct Made {
    store: Arc<InMemory>,
    timeline: Timeline,
    base: BaseManifest,
    rows: Vec<RowBuf>,
}

/// A base of several chunks at 400, and a segment of several frames after it.
async fn made() -> Made {
    let store = Arc::new(InMemory::new());
    let timeline = timeline(store.clone()).await;
    let rows = rows(2..4000, 900);
    let facts = BaseFacts {
        revision: Revision(400),
        ..BaseFacts::default()
    };
    let old = rows.partition_point(|row| row.key.main.0 <= 400);
    let base = timeline
        .write_base_with(facts, Rows::of(&rows[..old]), None, CHUNKS)
        .await
        .unwrap();
    let sealed = segment(&timeline, &rows, 401, 3999);
    timeline.put_segment(&sealed).await.unwrap();
    Made {
        store,
        timeline,
        base,
        rows,
    }
}

async fn cached(made: &Made, folder: &std::path::Path) -> (Vault, Timeline, Inventory) {
    let vault = Vault::with_store(made.store.clone(), Path::from("some/prefix"))
        .await
        .unwrap()
        .with_cache(IndexCache::new(folder, 1 << 20));
    let timeline = vault
        .cluster(made.timeline.cluster().name())
        .newest_timeline()
        .await
        .unwrap()
        .unwrap();
    let inventory = timeline.inventory().await.unwrap();
    (vault, timeline, inventory)
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(folder.join("v1")).unwrap();
    shelves
        .flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

#[tokio::test]
async fn each_part_is_read_alone_and_names_its_keys() {
    let made = made().await;
    let inventory = made.timeline.inventory().await.unwrap();
    let entry = &inventory.segments[0];
    let index = made.timeline.segment_index(entry).await.unwrap();
    assert!(index.frames.len() > 2);
    let before = made.timeline.cluster().vault().traffic();
    let two = index.frames[1..3].to_vec();
    let plain = made.timeline.frames(entry, two.clone()).await.unwrap();
    let after = made.timeline.cluster().vault().traffic();
    assert_eq!(after.0 - before.0, 1, "one request");
    assert_eq!(after.1 - before.1, two[0].stored_len + two[1].stored_len);
    for (frame, plain) in two.iter().zip(plain) {
        let expected = made
            .rows
            .iter()
            .filter(|row| (frame.first..=frame.last).contains(&row.key.main));
        let expected: Vec<_> = expected.cloned().collect();
        let found: Vec<_> = EncodedRows::new(&plain)
            .map(|row| row.unwrap().to_buf())
            .collect();
        assert_eq!(found, expected);
        assert!(frame.keys.is_some());
        assert!(
            expected
                .iter()
                .all(|row| frame.may_hold(key_of(&row.value).unwrap()))
        );
        assert!(!frame.may_hold(b"key-18"));
        assert!(frame.may_hold_prefix(b"key-"));
        assert!(!frame.may_hold_prefix(b"l"));
    }
    assert!(made.base.chunks.len() > 3);
    for chunk in &made.base.chunks {
        let plain = made.timeline.chunk(*chunk).await.unwrap();
        let filter = made.timeline.chunk_keys(chunk).await.unwrap();
        assert_eq!(filter.is_some(), chunk.plain_bytes >= 16 * 1024);
        let Some(filter) = filter else { continue };
        for row in EncodedRows::new(&plain) {
            assert!(filter.may_hold(key_of(row.unwrap().value).unwrap()));
        }
        assert!(!filter.may_hold(b"key-18"));
    }
    // A later base that shares chunks knows their filters too, whether it was told of them or finds them.
    let rows = &made.rows[..made.rows.partition_point(|row| row.key.main.0 <= 400)];
    for previous in [None, Some(&made.base)] {
        let again = made
            .timeline
            .write_base_with(made.base.facts.clone(), Rows::of(rows), previous, CHUNKS)
            .await
            .unwrap();
        assert_eq!(again.chunks, made.base.chunks);
    }
}

#[tokio::test]
async fn what_is_cached_is_not_fetched_again_and_not_believed_blindly() {
    let made = made().await;
    let place = tempfile::tempdir().unwrap();
    let read = async |(vault, timeline, inventory): (Vault, Timeline, Inventory)| {
        let before = vault.traffic().0;
        let index = timeline
            .segment_index(&inventory.segments[0])
            .await
            .unwrap();
        let mut filters = Vec::new();
        for chunk in &inventory.bases[0].manifest.chunks {
            filters.push(timeline.chunk_keys(chunk).await.unwrap());
        }
        ((index, filters), vault.traffic().0 - before)
    };
    let (first, fetched) = read(cached(&made, place.path()).await).await;
    let (second, again) = read(cached(&made, place.path()).await).await;
    assert_eq!(first, second);
    assert!(fetched > 3);
    assert_eq!(again, 0);
    for file in files(place.path()) {
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    let (third, mended) = read(cached(&made, place.path()).await).await;
    assert_eq!((first, fetched), (third, mended));
}

#[tokio::test]
async fn a_damaged_part_is_told() {
    let made = made().await;
    let inventory = made.timeline.inventory().await.unwrap();
    let entry = &inventory.segments[0];
    let index = made.timeline.segment_index(entry).await.unwrap();
    let chunk = made.base.chunks[0];
    let hash = chunk.hash.to_string();
    let chunk_path = format!("some/prefix/clusters/prod/chunks/{}/{hash}", &hash[..2]);
    let frame = index.frames[1].clone();
    for (path, at) in [
        (format!("some/prefix/{}", entry.name), frame.offset + 10),
        (chunk_path, chunk.stored_bytes - 100),
    ] {
        let path = Path::from(path);
        let mut bytes = made
            .store
            .get(&path)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .to_vec();
        bytes[usize::try_from(at).unwrap()] ^= 1;
        made.store.put(&path, bytes.into()).await.unwrap();
    }
    let frames = made.timeline.frames(entry, vec![frame]).await;
    assert_eq!(frames.unwrap_err().kind(), ErrorKind::Corrupt);
    // Without its filter a chunk is read whole, and that tells.
    let filter = made.timeline.chunk_keys(&chunk).await;
    assert_eq!(filter.unwrap(), None);
    let rows = made.timeline.chunk(chunk).await;
    assert_eq!(rows.unwrap_err().kind(), ErrorKind::Corrupt);
}
