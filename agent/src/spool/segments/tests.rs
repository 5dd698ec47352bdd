use std::time::Duration;

use tempfile::TempDir;

use super::super::reach;
use super::super::testing::{place, segment, segment_of};
use super::*;

const ROOM: u64 = 1 << 30;

async fn spool(state: &TempDir, limit: u64) -> Spool {
    Spool::open(state.path(), place(), limit).await.unwrap()
}

fn files(state: &TempDir) -> Vec<std::path::PathBuf> {
    let mut folders = vec![state.path().to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "segment") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn reached(spool: &Spool, durable: i64) -> Revision {
    let names = spool.names();
    reach(Revision(durable), names.iter().map(Name::range))
}

/// Takes what waits out, as uploads do.
async fn drain(spool: &Spool) -> Vec<SealedSegment> {
    spool.close().await;
    let mut all = Vec::new();
    while let Some(next) = spool.next().await {
        spool.acknowledged(&next).await;
        all.push(next.segment);
    }
    all
}

#[tokio::test]
async fn what_goes_up_at_once_never_touches_the_disk() {
    let state = tempfile::tempdir().unwrap();
    let spool = spool(&state, ROOM).await;
    for n in 2..6 {
        let segment = segment(n, n);
        spool.admit(segment.clone()).await;
        let next = spool.next().await.unwrap();
        assert_eq!(next.segment, segment);
        assert!(files(&state).is_empty());
        spool.acknowledged(&next).await;
    }
}

#[tokio::test]
async fn a_restart_finds_what_waited_and_goes_on_behind_it() {
    let state = tempfile::tempdir().unwrap();
    let segments = [
        segment(2, 5),
        segment(6, 6),
        segment(7, 20),
        segment(21, 22),
    ];
    let first = spool(&state, ROOM).await;
    first.admit(segments[0].clone()).await;
    first.admit(segments[1].clone()).await;
    assert!(files(&state).is_empty());
    first.file().await;
    // From the first failure on all is filed as it comes.
    first.admit(segments[2].clone()).await;
    assert_eq!(files(&state).len(), 3);
    let next = first.next().await.unwrap();
    first.acknowledged(&next).await;
    assert_eq!(files(&state).len(), 2);
    // As if it were killed.
    drop(first);

    let second = spool(&state, ROOM).await;
    assert_eq!(reached(&second, 5), Revision(20));
    assert_eq!(reached(&second, 4), Revision(4));
    second.admit(segments[3].clone()).await;
    assert_eq!(drain(&second).await, segments[1..]);
    assert!(files(&state).is_empty());
}

/// The first one may be writing a file, or about to remove one, when the same timeline is opened again.
#[tokio::test]
async fn a_second_one_waits_until_the_first_is_gone() {
    let state = tempfile::tempdir().unwrap();
    let first = spool(&state, ROOM).await;
    first.admit(segment(2, 5)).await;
    let opening = spool(&state, ROOM);
    let mut opening = std::pin::pin!(opening);
    let soon = Duration::from_millis(100);
    tokio::time::timeout(soon, &mut opening).await.unwrap_err();
    first.file().await;
    drop(first);
    let second = opening.await;
    assert_eq!(reached(&second, 1), Revision(5));
}

#[tokio::test]
async fn damaged_and_cut_files_never_go_up() {
    let state = tempfile::tempdir().unwrap();
    let segments = [
        segment(2, 5),
        segment(6, 9),
        segment(10, 12),
        segment(13, 14),
    ];
    let first = spool(&state, ROOM).await;
    for segment in &segments {
        first.admit(segment.clone()).await;
    }
    first.file().await;
    drop(first);
    let files = files(&state);
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    let whole = std::fs::read(&files[3]).unwrap();

    let second = spool(&state, ROOM).await;
    // Capture goes on after what is whole, and the others go up all the same.
    assert_eq!(reached(&second, 1), Revision(5));
    // One that is damaged only later, after it was found whole, is a hole.
    std::fs::write(&files[3], &whole[..whole.len() - 1]).unwrap();
    let mut holes = second.holes();
    let up = drain(&second).await;
    assert_eq!(up, [segments[0].clone(), segments[2].clone()]);
    let hole = holes.borrow_and_update().unwrap();
    assert_eq!((hole.kept, hole.open), (Revision(12), true));
    assert!(second.discards() && second.left().is_none());
}

#[tokio::test]
async fn a_full_spool_discards_tells_once_and_takes_again_after_a_base() {
    let state = tempfile::tempdir().unwrap();
    let limit = 16 << 10;
    let spool = spool(&state, limit).await;
    spool.file().await;
    let holes = spool.holes();
    for n in 2..20 {
        spool.admit(segment(n, n)).await;
        let used = files(&state).len() as u64 * (4 << 10);
        assert!(used <= limit, "{used}");
    }
    let hole = holes.borrow().unwrap();
    assert_eq!((hole.kept, hole.open), (Revision(5), false));
    let leases: Vec<_> = spool.returned().iter().map(|lease| lease.id).collect();
    assert_eq!(leases, (6..20).collect::<Vec<_>>());
    let next = spool.next().await.unwrap();
    spool.acknowledged(&next).await;
    let hole = holes.borrow().unwrap();
    assert_eq!((hole.kept, hole.open), (Revision(5), true));
    // What was captured before the base is discarded, what follows it is not.
    spool.admit(segment(20, 20)).await;
    spool.healed(hole.number);
    assert_eq!(*holes.borrow(), None);
    spool.admit(segment(31, 33)).await;
    let up = drain(&spool).await;
    let firsts: Vec<_> = up.iter().map(|segment| segment.first.0).collect();
    assert_eq!(firsts, [3, 4, 5, 31]);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_a_full_spool() {
    let state = tempfile::tempdir().unwrap();
    let spool = spool(&state, ROOM).await;
    let large = |n| segment_of(&place(), n, n, 3 << 19);
    // The folder is gone: no file can be made.
    std::fs::remove_dir_all(state.path()).unwrap();
    let holes = spool.holes();
    for n in 2..4 {
        spool.admit(large(n)).await;
    }
    spool.file().await;
    // What fits in memory waits there.
    assert_eq!(*holes.borrow(), None);
    spool.admit(large(4)).await;
    let hole = holes.borrow().unwrap();
    assert_eq!((hole.kept, hole.open), (Revision(3), false));
    let up = drain(&spool).await;
    let firsts: Vec<_> = up.iter().map(|segment| segment.first.0).collect();
    assert_eq!(firsts, [2, 3]);
    assert!(holes.borrow().unwrap().open);
}

#[tokio::test]
async fn an_acknowledgement_while_its_file_is_written_leaves_no_file() {
    for _ in 0..20 {
        let state = tempfile::tempdir().unwrap();
        let spool = spool(&state, ROOM).await;
        spool.admit(segment(2, 40)).await;
        let next = spool.next().await.unwrap();
        let acknowledging = async {
            tokio::time::sleep(Duration::from_micros(rand::random_range(0..2000))).await;
            spool.acknowledged(&next).await;
        };
        tokio::join!(spool.file(), acknowledging);
        assert!(files(&state).is_empty());
    }
}
