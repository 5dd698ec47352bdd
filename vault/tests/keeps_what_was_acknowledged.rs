//! What a vault acknowledged comes back, to the last bit, or an error says what is damaged.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod world;

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use revkeep_schemas::envelope::{self, Envelope};
use revkeep_schemas::manifest::ChunkerOptions;
use revkeep_schemas::{Revision, RowBuf};
use revkeep_vault::{
    BaseFacts, Coverage, ErrorKind, Piece, ReadOptions, SegmentEntry, SourceIdentity, TimelineId,
    TimelineRecord, Vault,
};
use world::{Rows, SMALL, read_all, rows, segment, timeline};

fn facts(revision: i64) -> BaseFacts {
    BaseFacts {
        revision: Revision(revision),
        ..BaseFacts::default()
    }
}

#[tokio::test]
async fn a_base_and_its_segments_come_back_in_order() {
    let store = Arc::new(InMemory::new());
    let timeline = timeline(store).await;
    assert_eq!(timeline.cursor().await.unwrap(), None);
    let all = rows(2..400, 300);
    let (old, new) = all.split_at(all.partition_point(|row| row.key.main.0 <= 250));
    let base = timeline
        .write_base_with(facts(250), Rows::of(old), None, SMALL)
        .await
        .unwrap();
    assert!(base.chunks.len() > 5, "{} chunks", base.chunks.len());
    for (first, last) in [(251, 300), (290, 350), (351, 399)] {
        let sealed = segment(&timeline, new, first, last);
        timeline.put_segment(&sealed).await.unwrap();
        let again = timeline.put_segment(&sealed).await.unwrap();
        assert!(again.existed);
    }
    assert_eq!(timeline.cursor().await.unwrap(), Some(Revision(399)));
    assert_eq!(timeline.newest().await.unwrap().unwrap().base, base);
    let inventory = timeline.inventory().await.unwrap();
    let coverage = Coverage::compute(&inventory);
    assert_eq!(coverage.ranges, [(Revision(1), Revision(399))]);
    assert_eq!(*inventory.bases[0].manifest, base);

    let mut pieces: Vec<_> = base.chunks.iter().copied().map(Piece::Chunk).collect();
    for (entry, (from, to)) in inventory
        .segments
        .iter()
        .zip([(251, 300), (301, 350), (351, 380)])
    {
        pieces.push(Piece::Segment {
            entry: entry.clone(),
            from: Revision(from),
            to: Revision(to),
        });
    }
    let tight = ReadOptions {
        parallel: 4,
        memory_bytes: 1,
        ready: 1,
    };
    for options in [ReadOptions::default(), tight] {
        let read = read_all(timeline.read_rows(pieces.clone(), options))
            .await
            .unwrap();
        let expected: Vec<_> = all
            .iter()
            .filter(|row| row.key.main.0 <= 380)
            .cloned()
            .collect();
        assert_eq!(read, expected);
    }
    for entry in &inventory.segments {
        let index = timeline.segment_index(entry).await.unwrap();
        assert_eq!(&index, timeline.segment(entry).await.unwrap().index());
    }
}

/// No segment that holds any of it counts, and a base that is newer has those revisions again.
#[tokio::test]
async fn what_is_distrusted_is_told_with_what_counts() {
    let timeline = timeline(Arc::new(InMemory::new())).await;
    let all = rows(2..60, 30);
    let base = async |revision| {
        let up_to = all.partition_point(|row| row.key.main.0 <= revision);
        let written =
            timeline.write_base_with(facts(revision), Rows::of(&all[..up_to]), None, SMALL);
        written.await.unwrap();
    };
    base(30).await;
    for (first, last) in [(11, 20), (21, 30), (31, 40), (41, 50), (51, 59)] {
        let sealed = segment(&timeline, &all, first, last);
        timeline.put_segment(&sealed).await.unwrap();
    }
    let ranges = |entries: &[SegmentEntry]| -> Vec<(i64, i64)> {
        let ranges = entries.iter().map(|entry| (entry.first.0, entry.last.0));
        ranges.collect()
    };
    let range = |first, last| (Revision(first), Revision(last));
    // What is lost is no reason to distrust what was stored all the same.
    let lost = timeline.put_gap(Revision(52), Revision(53), "lost");
    lost.await.unwrap();
    let distrust = async |(first, last)| {
        timeline.put_distrust(first, last, "wrong").await.unwrap();
    };
    distrust(range(15, 16)).await;
    let newest = timeline.newest().await.unwrap().unwrap();
    assert_eq!((newest.cursor, newest.distrusted), (Revision(59), vec![]));
    let trusted = timeline.trusted().await.unwrap();
    assert_eq!(
        ranges(&trusted.segments),
        [(21, 30), (31, 40), (41, 50), (51, 59)]
    );
    assert_eq!(trusted.distrusted, [range(15, 16)]);
    assert!(trusted.distrusts(Revision(10), Revision(15)));
    assert!(!trusted.distrusts(Revision(17), Revision(59)));

    distrust(range(44, 45)).await;
    let newest = timeline.newest().await.unwrap().unwrap();
    assert_eq!(newest.cursor, Revision(40));
    assert_eq!(ranges(&newest.beyond), [(51, 59)]);
    assert_eq!(newest.distrusted, [range(44, 45)]);
    let trusted = timeline.trusted().await.unwrap();
    assert_eq!(ranges(&trusted.segments), [(21, 30), (31, 40), (51, 59)]);
    base(50).await;
    let newest = timeline.newest().await.unwrap().unwrap();
    assert_eq!((newest.cursor, newest.distrusted), (Revision(59), vec![]));
}

#[tokio::test]
async fn a_base_after_a_base_uploads_only_what_is_new() {
    let store = Arc::new(InMemory::new());
    let timeline = timeline(store.clone()).await;
    let all = rows(2..900, 300);
    let old = &all[..all.partition_point(|row| row.key.main.0 <= 800)];
    let first = timeline
        .write_base_with(facts(800), Rows::of(old), None, SMALL)
        .await
        .unwrap();
    let before = chunk_names(&store).await;
    assert_eq!(before.len(), first.chunks.len());
    let second = timeline
        .write_base_with(facts(899), Rows::of(&all), Some(&first), SMALL)
        .await
        .unwrap();
    let added = chunk_names(&store).await.len() - before.len();
    let shared = second
        .chunks
        .iter()
        .filter(|chunk| first.chunks.contains(chunk))
        .count();
    assert_eq!(added, second.chunks.len() - shared);
    assert!(
        shared + 1 >= first.chunks.len(),
        "{shared} of {} shared",
        first.chunks.len()
    );
    // Without knowing the previous base, nothing is stored twice either.
    let third = timeline
        .write_base_with(facts(899), Rows::of(&all), None, SMALL)
        .await
        .unwrap();
    assert_eq!(third.chunks, second.chunks);
    assert_eq!(chunk_names(&store).await.len(), before.len() + added);
}

#[tokio::test]
async fn chunks_come_back_after_a_compaction() {
    let timeline = timeline(Arc::new(InMemory::new())).await;
    let all = rows(2..900, 300);
    let first = timeline
        .write_base_with(facts(899), Rows::of(&all), None, SMALL)
        .await
        .unwrap();
    let compacted: Vec<_> = all
        .iter()
        .filter(|row| !(300..310).contains(&row.key.main.0))
        .cloned()
        .collect();
    let second = timeline
        .write_base_with(facts(899), Rows::of(&compacted), Some(&first), SMALL)
        .await
        .unwrap();
    let shared = second
        .chunks
        .iter()
        .filter(|chunk| first.chunks.contains(chunk))
        .count();
    assert!(
        shared * 10 >= first.chunks.len() * 7,
        "{shared} of {}",
        first.chunks.len()
    );
}

async fn chunk_names(store: &InMemory) -> Vec<Path> {
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    let chunks = all.into_iter().map(|meta| meta.location);
    chunks
        .filter(|path| path.as_ref().contains("/chunks/"))
        .collect()
}

#[tokio::test]
async fn agents_that_race_open_the_same_timeline() {
    let store = Arc::new(InMemory::new());
    let vaults = (0..8).map(|_| Vault::create_with_store(store.clone(), Path::from("v")));
    let vaults = futures::future::try_join_all(vaults).await.unwrap();
    assert!(vaults.iter().all(|vault| vault.id() == vaults[0].id()));
    let open = |parent| {
        let all = vaults.iter().zip(0..).map(move |(vault, seen)| async move {
            let source = SourceIdentity {
                cluster_id: 7,
                first_seen_unix_ms: seen,
                ..SourceIdentity::default()
            };
            let cluster = vault.cluster(&"prod".parse().unwrap());
            cluster.create_timeline(source, parent).await.unwrap()
        });
        futures::future::join_all(all)
    };
    for (parent, id) in [(None, 1), (Some((TimelineId(1), Revision(9))), 2)] {
        let opened = open(parent).await;
        let record = opened[0].record();
        assert!(
            opened
                .iter()
                .all(|one| one.id() == TimelineId(id) && one.record() == record)
        );
    }
    let cluster = vaults[0].cluster(&"prod".parse().unwrap());
    let other = SourceIdentity {
        cluster_id: 8,
        ..SourceIdentity::default()
    };
    let third = cluster
        .create_timeline(other, Some((TimelineId(1), Revision(3))))
        .await
        .unwrap();
    assert_eq!(third.id(), TimelineId(3));
    assert_eq!(
        cluster.newest_timeline().await.unwrap().unwrap().id(),
        TimelineId(3)
    );
}

/// The listing of the one who comes later shows nothing of what the first one compared the source with.
#[tokio::test]
async fn agents_that_were_shown_different_timelines_open_the_same() {
    let vault = Vault::create_with_store(Arc::new(InMemory::new()), Path::from("v"))
        .await
        .unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let source = SourceIdentity {
        cluster_id: 7,
        ..SourceIdentity::default()
    };
    let record = |parent| TimelineRecord {
        source: source.clone(),
        parent,
        fork_at_most: false,
    };
    let open = async |parent: Option<i64>, examined| {
        let parent = parent.map(|revision| (TimelineId(1), Revision(revision)));
        let opened = cluster.open_timeline(record(parent), examined).await;
        let opened = opened.unwrap();
        (opened.id().0, opened.record().parent)
    };
    assert_eq!(open(None, None).await, (1, None));
    let forked = Some((TimelineId(1), Revision(9)));
    let examined = Some(TimelineId(1));
    assert_eq!(open(Some(9), examined).await, (2, forked));
    assert_eq!(open(None, examined).await, (2, forked));
    // It turns out not to be the source's past.
    assert_eq!(open(None, Some(TimelineId(2))).await, (3, None));
    assert_eq!(cluster.timelines().await.unwrap().len(), 3);
}

#[tokio::test]
async fn every_damaged_object_is_told_and_never_read() {
    let store = Arc::new(InMemory::new());
    let timeline = timeline(store.clone()).await;
    let all = rows(2..60, 300);
    let base = timeline
        .write_base_with(
            facts(40),
            Rows::of(&all[..all.partition_point(|r| r.key.main.0 <= 40)]),
            None,
            SMALL,
        )
        .await
        .unwrap();
    timeline
        .put_segment(&segment(&timeline, &all, 41, 59))
        .await
        .unwrap();
    timeline
        .put_gap(Revision(61), Revision(70), "lost")
        .await
        .unwrap();
    let entry = timeline.inventory().await.unwrap().segments.remove(0);
    let mut pieces: Vec<_> = base.chunks.iter().copied().map(Piece::Chunk).collect();
    pieces.push(Piece::Segment {
        entry,
        from: Revision(41),
        to: Revision(59),
    });

    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    for meta in objects {
        let path = meta.location;
        if path.as_ref().ends_with("FORMAT") || path.as_ref().ends_with("timeline") {
            continue;
        }
        // An intent says all in its name.
        if path.as_ref().contains("/writing/") {
            continue;
        }
        let sound = store.get(&path).await.unwrap().bytes().await.unwrap();
        for damage in ["flip", "cut", "empty"] {
            let mut bytes = sound.to_vec();
            match damage {
                "flip" => bytes[sound.len() * 2 / 3] ^= 4,
                "cut" => bytes.truncate(sound.len() - 1),
                _ => bytes.clear(),
            }
            store.put(&path, bytes.into()).await.unwrap();
            let inventory = timeline.inventory().await.unwrap();
            let read = read_all(timeline.read_rows(pieces.clone(), ReadOptions::default())).await;
            let corrupt = read.is_err_and(|error| error.kind() == ErrorKind::Corrupt);
            assert!(corrupt || inventory.damaged.len() == 1, "{path}: {damage}");
        }
        store.put(&path, sound.into()).await.unwrap();
    }
    read_all(timeline.read_rows(pieces, ReadOptions::default()))
        .await
        .unwrap();
}

/// Whatever stands under the name of a chunk with a sound hash of its own: rows that the manifest does not mean are no rows of it.
#[tokio::test]
async fn a_chunk_of_other_rows_is_refused_by_name_however_well_it_is_sealed() {
    let store = Arc::new(InMemory::new());
    let timeline = timeline(store.clone()).await;
    let base = timeline
        .write_base_with(facts(59), Rows::of(&rows(2..60, 300)), None, SMALL)
        .await
        .unwrap();
    let name = |at: usize| timeline.cluster().chunk_object(&base.chunks[at]);
    let path = |at: usize| Path::from(format!("some/prefix/{}", name(at)));
    let object = async |at| store.get(&path(at)).await.unwrap().bytes().await.unwrap();
    let sound = object(1).await;
    let (_, other) = envelope::open_any(&object(2).await, envelope::Kind::Chunk).unwrap();
    let identity = Envelope::decode(&sound).unwrap().identity;
    let forged = envelope::seal(&identity, "test", &other);
    let read = || {
        let pieces = base.chunks.iter().copied().map(Piece::Chunk).collect();
        read_all(timeline.read_rows(pieces, ReadOptions::default()))
    };
    read().await.unwrap();
    store.put(&path(1), forged.into()).await.unwrap();
    let error = read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.object(), Some(name(1).as_str()), "{error}");
    store.put(&path(1), sound.into()).await.unwrap();
    read().await.unwrap();
}

#[tokio::test]
async fn a_damaged_chunk_is_mended_by_the_next_base() {
    let store = Arc::new(InMemory::new());
    let timeline = timeline(store.clone()).await;
    let all = rows(2..60, 300);
    let base = timeline
        .write_base_with(facts(59), Rows::of(&all), None, SMALL)
        .await
        .unwrap();
    store
        .put(&chunk_names(&store).await[0], "damage".into())
        .await
        .unwrap();
    timeline
        .write_base_with(facts(59), Rows::of(&all), None, SMALL)
        .await
        .unwrap();
    let pieces = base.chunks.iter().copied().map(Piece::Chunk).collect();
    let read = read_all(timeline.read_rows(pieces, ReadOptions::default()))
        .await
        .unwrap();
    assert_eq!(read, all);
}

#[tokio::test]
async fn a_folder_is_a_vault_too() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/new", dir.path().display());
    let missing = Vault::open(&url).await.map(|_| ()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let vault = Vault::create(&url).await.unwrap();
    assert_eq!(Vault::open(&url).await.unwrap().id(), vault.id());
    let report = revkeep_vault::probe(&vault).await.unwrap();
    assert!(
        report.findings().iter().all(|finding| finding.1),
        "{report:?}"
    );
    assert_eq!(vault.clusters().await.unwrap(), []);
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await
        .unwrap();
    timeline
        .put_segment(&segment(&timeline, &rows(2..9, 30), 2, 8))
        .await
        .unwrap();
    assert_eq!(vault.clusters().await.unwrap(), [cluster.name().clone()]);
    assert_eq!(timeline.inventory().await.unwrap().segments.len(), 1);
}

#[tokio::test]
async fn a_timeline_that_was_never_born_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::create(&format!("file://{}", dir.path().display()))
        .await
        .unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    // As an agent leaves it that is killed while it writes the record.
    let folder = dir.path().join("clusters/prod/0001");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("timeline#1"), "half").unwrap();
    assert!(cluster.newest_timeline().await.unwrap().is_none());
    assert_eq!(cluster.timelines().await.unwrap().len(), 0);
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await
        .unwrap();
    assert_eq!(timeline.id(), TimelineId(1));
    assert!(cluster.newest_timeline().await.unwrap().is_some());
    // A record that is gone from among other objects is no birth.
    timeline
        .put_segment(&segment(&timeline, &rows(2..9, 30), 2, 8))
        .await
        .unwrap();
    std::fs::remove_file(folder.join("timeline")).unwrap();
    let error = cluster.newest_timeline().await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn bases_survive_the_round_trip(
        sizes in proptest::collection::vec(0..6_000_usize, 0..200),
        target in 1_000..50_000_usize,
    ) {
        let options = ChunkerOptions { min_bytes: target / 4, target_bytes: target, max_bytes: target * 4 };
        let all: Vec<RowBuf> =
            (2..).zip(sizes).map(|(main, size)| world::row(main, 0, size)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(async {
            let timeline = timeline(Arc::new(InMemory::new())).await;
            let base = timeline.write_base_with(facts(500), Rows::of(&all), None, options).await.unwrap();
            assert!(base.chunks.iter().all(|chunk| chunk.rows == 1 || chunk.plain_bytes <= options.max_bytes as u64));
            let pieces = base.chunks.iter().copied().map(Piece::Chunk).collect();
            read_all(timeline.read_rows(pieces, ReadOptions::default())).await.unwrap()
        });
        prop_assert_eq!(read, all);
    }
}
