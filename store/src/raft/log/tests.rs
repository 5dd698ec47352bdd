//! The log on disks that fail.

use std::{sync::mpsc, time::Duration};

use openraft::{
    entry::RaftEntry as _, storage::RaftLogStorage as _, storage::RaftLogStorageExt as _,
};
use tokio::{sync::watch, time::Instant};

use super::*;
use crate::{
    backend::{Disk as _, MemoryDisk, Position},
    executor::{Executor, Slowness},
    raft::{
        stop::Stopper,
        types::{Body, Commands, Entry, Vote, log_id, position},
    },
};

const OWNER: (u64, u64) = (1, 2);

fn entry(term: u64, index: u64) -> Entry {
    let text = format!("entry {index} of term {term}").repeat(usize::try_from(index % 40).unwrap());
    Entry {
        id: log_id(Position::new(term, index)).unwrap(),
        body: Body::Commands(Commands::new(text.into(), None)),
    }
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index)).collect()
}

fn batches(entries: &[Entry]) -> Vec<(Position, bytes::Bytes)> {
    let batches = entries.iter().map(|entry| match &entry.body {
        Body::Commands(commands) => (position(&entry.id), commands.batch.clone()),
        _ => (position(&entry.id), bytes::Bytes::new()),
    });
    batches.collect()
}

struct Log {
    store: LogStore,
    durable: watch::Sender<Position>,
    stopper: Stopper,
}

fn open(disk: &MemoryDisk, executor: Executor) -> Log {
    let durable = watch::Sender::new(Position::default());
    let stopper = Stopper::new();
    let receiver = durable.subscribe();
    let store = LogStore::open(
        disk,
        OWNER,
        executor,
        None,
        Position::default(),
        receiver,
        stopper.clone(),
    )
    .unwrap();
    Log {
        store,
        durable,
        stopper,
    }
}

/// All entries, from the file and not from the cache.
async fn read_back(log: &mut LogStore) -> Vec<(Position, bytes::Bytes)> {
    use openraft::RaftLogReader as _;
    batches(&log.try_get_log_entries(0..u64::MAX / 2).await.unwrap())
}

#[tokio::test]
async fn what_was_reported_as_saved_is_there_after_any_crash() {
    for executor in [Executor::Inline, Executor::Threads] {
        for seed in 0..40 {
            let disk = MemoryDisk::new();
            let mut log = open(&disk, executor);
            let rounds = seed % 7;
            log.store.save_vote(&Vote::new(3, 9)).await.unwrap();
            for round in 0..rounds {
                let first = round * 10 + 1;
                log.store
                    .blocking_append(entries(3, first..=first + 9))
                    .await
                    .unwrap();
            }
            // The last one is on its way when the power goes.
            let disk = disk.crash(seed);
            drop(log);
            let mut log = open(&disk, executor);
            assert_eq!(log.store.read_vote().await.unwrap(), Some(Vote::new(3, 9)));
            assert_eq!(
                read_back(&mut log.store).await,
                batches(&entries(3, 1..=rounds * 10)),
                "seed {seed}"
            );
        }
    }
}

#[tokio::test]
async fn a_torn_append_is_there_whole_or_not_at_all() {
    let mut torn = 0;
    for seed in 0..120 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, Executor::Inline);
        log.store.blocking_append(entries(1, 1..=20)).await.unwrap();
        // The next commit fails in the middle; what it wrote survives in part.
        if seed % 3 == 0 {
            disk.faults().fail_write_from(1);
        } else {
            disk.faults().fail_sync_from(1);
        }
        let failed = log.store.blocking_append(entries(1, 21..=60)).await;
        let disk = disk.crash(seed);
        drop(log);
        let mut log = open(&disk, Executor::Inline);
        let found = read_back(&mut log.store).await;
        let whole = batches(&entries(1, 1..=60));
        if failed.is_ok() {
            assert_eq!(found, whole, "seed {seed}");
        } else {
            torn += 1;
            let before = batches(&entries(1, 1..=20));
            assert!(
                found == before || found == whole,
                "seed {seed}: {} entries",
                found.len()
            );
        }
    }
    assert!(torn > 20, "the fault was hardly ever met: {torn}");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_reported_as_saved() {
    for executor in [Executor::Inline, Executor::Threads] {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, executor);
        log.store.blocking_append(entries(1, 1..=5)).await.unwrap();
        disk.faults().fail_sync_from(1);
        assert!(log.store.blocking_append(entries(1, 6..=6)).await.is_err());
        assert!(log.stopper.is_stopped(), "the member must stop");
        // The disk works again, but nobody knows what it holds.
        disk.faults().fail_sync_from(0);
        assert!(log.store.blocking_append(entries(1, 7..=7)).await.is_err());
        assert!(log.store.save_vote(&Vote::new(9, 9)).await.is_err());
        drop(log);
        let mut log = open(&disk.crash(1), executor);
        let found = read_back(&mut log.store).await;
        assert!(
            found.len() >= 5 && found.len() <= 6,
            "{} entries",
            found.len()
        );
        assert_eq!(log.store.read_vote().await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_need_not_wait_for_its_disk_and_knows_how_far_it_is() {
    static DISK: Slowness = Slowness::none();
    let disk = MemoryDisk::new();
    let mut log = open(&disk, Executor::Slow(&DISK));
    let synced = log.store.synced();
    for (vote, leads) in [(Vote::new(3, 9), false), (Vote::new(4, OWNER.1), true)] {
        DISK.set(Duration::ZERO);
        log.store.save_vote(&vote).await.unwrap();
        DISK.set(Duration::from_secs(1));
        let (term, before) = (vote.leader_id.term, synced.upto());
        let start = Instant::now();
        let last = before + 10;
        let appended = log.store.blocking_append(entries(term, before + 1..=last));
        appended.await.unwrap();
        assert_eq!(start.elapsed() < Duration::from_secs(1), leads, "{vote}");
        assert_eq!(synced.upto(), if leads { before } else { last });
        // What is not on the disk is in memory, whatever else must be read.
        assert_eq!(
            read_back(&mut log.store).await.last().unwrap().0,
            Position::new(term, last)
        );
        synced.reached(last).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
    // Cut off, an entry is on no disk, and its successor not yet.
    let end = synced.upto();
    DISK.set(Duration::ZERO);
    let from = log_id(Position::new(4, end - 1)).unwrap();
    log.store.truncate(from).await.unwrap();
    DISK.set(Duration::from_secs(1));
    let again = log.store.blocking_append(entries(4, end - 1..=end));
    again.await.unwrap();
    assert_eq!(synced.upto(), end - 2);
    // A disk that fails ends the wait.
    disk.faults().fail_sync_from(1);
    assert!(synced.reached(end).await.is_err());
    assert!(log.stopper.is_stopped());
}

#[tokio::test]
async fn cuts_survive_a_crash() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, Executor::Inline);
    log.store.blocking_append(entries(1, 1..=50)).await.unwrap();
    let from = log_id(Position::new(1, 31)).unwrap();
    log.store.truncate(from).await.unwrap();
    log.store
        .blocking_append(entries(2, 31..=33))
        .await
        .unwrap();
    log.durable.send_replace(Position::new(1, 10));
    let upto = log_id(Position::new(1, 10)).unwrap();
    log.store.purge(upto).await.unwrap();
    let mut wanted = entries(1, 11..=30);
    wanted.extend(entries(2, 31..=33));
    assert_eq!(read_back(&mut log.store).await, batches(&wanted));

    let disk = disk.crash(3);
    drop(log);
    let mut log = open(&disk, Executor::Inline);
    assert_eq!(read_back(&mut log.store).await, batches(&wanted));
    let state = log.store.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(upto));
    assert_eq!(state.last_log_id, log_id(Position::new(2, 33)));
}

#[tokio::test]
async fn no_entry_goes_before_the_state_machine_can_do_without_it() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, Executor::Inline);
    log.store.blocking_append(entries(1, 1..=20)).await.unwrap();
    let upto = log_id(Position::new(1, 12)).unwrap();
    let (done, purged) = mpsc::channel();
    let durable = log.durable.clone();
    let purge = async {
        log.store.purge(upto).await.unwrap();
        done.send(()).unwrap();
    };
    let flush = async {
        for index in [3, 11] {
            durable.send_replace(Position::new(1, index));
            tokio::task::yield_now().await;
            assert!(purged.try_recv().is_err(), "at {index}");
        }
        durable.send_replace(Position::new(1, 12));
    };
    tokio::join!(purge, flush);
    assert!(purged.try_recv().is_ok());
    assert_eq!(read_back(&mut log.store).await.len(), 8);
}

#[tokio::test]
async fn a_snapshot_of_a_newer_term_ends_a_log_that_was_never_agreed_on() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, Executor::Inline);
    log.store
        .blocking_append(entries(1, 1..=100))
        .await
        .unwrap();
    let at = Position::new(4, 50);
    log.durable.send_replace(at);
    log.store.purge(log_id(at).unwrap()).await.unwrap();
    assert!(read_back(&mut log.store).await.is_empty());
    let disk = disk.crash(5);
    drop(log);
    let mut log = open(&disk, Executor::Inline);
    let state = log.store.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, log_id(at));
    log.store
        .blocking_append(entries(4, 51..=52))
        .await
        .unwrap();
    assert_eq!(
        read_back(&mut log.store).await,
        batches(&entries(4, 51..=52))
    );
}

#[tokio::test]
async fn a_leader_that_restarts_has_to_be_elected_again() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, Executor::Inline);
    let vote = Vote::new_committed(7, 2);
    log.store.save_vote(&vote).await.unwrap();
    drop(log);
    let mut log = open(&disk, Executor::Inline);
    assert_eq!(log.store.read_vote().await.unwrap(), Some(Vote::new(7, 2)));
}

#[test]
fn the_log_of_another_member_is_refused() {
    let disk = MemoryDisk::new();
    drop(LogFile::open(&disk, 1, 2).unwrap());
    let refused = LogFile::open(&disk, 1, 3).unwrap_err().to_string();
    assert!(
        refused.contains("memory:log") && refused.contains("own data directory"),
        "{refused}"
    );
    assert!(LogFile::open(&disk, 1, 2).is_ok());
}

#[test]
fn a_state_without_its_log_is_refused() {
    let durable = watch::Sender::new(Position::new(3, 9));
    let refused = LogStore::open(
        &MemoryDisk::new(),
        OWNER,
        Executor::Inline,
        None,
        Position::new(3, 9),
        durable.subscribe(),
        Stopper::new(),
    );
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("memory:log") && refused.contains("9@3"),
        "{refused}"
    );
}

#[test]
fn a_damaged_log_is_refused_by_name() {
    let mut refused = 0;
    for byte in (0..40_000).step_by(97) {
        let disk = MemoryDisk::new();
        let (file, _) = LogFile::open(&disk, 1, 2).unwrap();
        file.commit([&Change::Append(entries(1, 1..=30))]).unwrap();
        drop(file);
        if !disk.flip_bit(LOG_FILE, byte, 3) {
            continue;
        }
        match LogFile::open(&disk, 1, 2) {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("memory:log"), "{error}");
            }
            // Not a byte that is in use: then all is there.
            Ok((file, _)) => {
                let found = file.entries(0..u64::MAX, usize::MAX).unwrap();
                assert_eq!(batches(&found), batches(&entries(1, 1..=30)), "byte {byte}");
            }
        }
    }
    assert!(refused > 3, "{refused}");
    assert!(MemoryDisk::new().exists(LOG_FILE).is_ok_and(|there| !there));
}

#[test]
fn the_first_entry_of_a_blank_leader_has_no_commands() {
    let id = log_id(Position::new(2, 9)).unwrap();
    let disk = MemoryDisk::new();
    let (file, _) = LogFile::open(&disk, 1, 2).unwrap();
    file.commit([&Change::Append(vec![Entry::new_blank(id)])])
        .unwrap();
    let found = file.entries(0..100, usize::MAX).unwrap();
    assert!(matches!(found.as_slice(), [Entry { id: found, body: Body::Blank }] if *found == id));
}
