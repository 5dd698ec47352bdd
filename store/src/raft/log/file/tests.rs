//! The file, beyond what the log's own tests show.

mod damage;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{segment::SEGMENT_BYTES, *};
use crate::{
    backend::{Disk, MemoryDisk},
    raft::types::{Body, Commands, log_id},
};

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let mut random = StdRng::seed_from_u64(index ^ term << 40);
    let mut batch = vec![0; bytes];
    random.fill(batch.as_mut_slice());
    Entry {
        id: log_id(Position::new(term, index)).unwrap(),
        body: Body::Commands(Commands::new(batch.into(), None)),
    }
}

/// What a log must hold: the same, kept in the simplest way.
#[derive(Clone, Default)]
struct Model {
    head: Head,
    entries: Vec<(Position, Bytes)>,
}

impl Model {
    fn take(&mut self, change: &Change) {
        match change {
            Change::Append(new) => {
                for entry in new {
                    let Body::Commands(commands) = &entry.body else {
                        panic!("no commands");
                    };
                    let at = position(&entry.id);
                    self.entries.push((at, commands.batch.clone()));
                    self.head.last = at;
                }
            }
            Change::Truncate(from) => {
                self.entries.retain(|(at, _)| at.index < *from);
                let last = self.entries.last().map(|(at, _)| *at);
                self.head.last = last.unwrap_or(self.head.purged);
            }
            Change::Purge(upto) => {
                self.entries.retain(|(at, _)| at.index > upto.index);
                self.head.purged = *upto;
                self.head.last = self.head.last.max(*upto);
            }
            Change::Vote(vote) => self.head.vote = Some(*vote),
            Change::Committed(upto) => self.head.committed = *upto,
        }
    }

    fn check(&self, file: &LogFile, head: Head, what: &str) {
        let found = file.entries(0..u64::MAX, usize::MAX).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|entry| match &entry.body {
                Body::Commands(commands) => (position(&entry.id), commands.batch.clone()),
                _ => panic!("no commands"),
            })
            .collect();
        let indexes = |entries: &[(Position, Bytes)]| {
            (
                entries.first().map(|one| one.0),
                entries.last().map(|one| one.0),
            )
        };
        assert_eq!(indexes(&found), indexes(&self.entries), "{what}");
        assert!(found == self.entries, "{what}: entries differ");
        assert_eq!(head, self.head, "{what}");
    }
}

/// A few changes that may follow what the model holds.
fn changes(model: &Model, term: &mut u64, random: &mut StdRng, large: bool) -> Vec<Change> {
    let last = model.head.last.index;
    let bytes = if large && random.random_bool(0.1) {
        random.random_range(0..3 * SEGMENT_BYTES)
    } else {
        random.random_range(0..60_000)
    };
    let mut changes = match random.random_range(0..10) {
        0 if last > model.head.purged.index => {
            *term += 1;
            let from = random.random_range(model.head.purged.index + 1..=last);
            vec![
                Change::Truncate(from),
                Change::Append(vec![entry(*term, from, bytes)]),
            ]
        }
        1 | 2 if model.entries.len() > 3 => {
            let upto = model.entries[random.random_range(0..model.entries.len())].0;
            vec![Change::Purge(upto)]
        }
        3 => {
            *term += 1;
            vec![Change::Vote(Vote::new(*term, 7))]
        }
        _ => {
            let count = random.random_range(1..5);
            let new = (last + 1..=last + count).map(|index| entry(*term, index, bytes));
            vec![Change::Append(new.collect())]
        }
    };
    if random.random_bool(0.5) {
        changes.push(Change::Committed(model.head.last));
    }
    changes
}

/// Fills and purges many segments, with kills and reopenings at every kind of moment.
#[test]
fn holds_what_it_was_given_through_kills_and_reuse() {
    let mut reused = 0;
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = MemoryDisk::new();
        let (mut file, _) = LogFile::open(&disk, 1, 2).unwrap();
        let mut model = Model::default();
        let mut term = 1;
        for round in 0..120 {
            let what = format!("seed {seed}, round {round}");
            let new = changes(&model, &mut term, &mut random, seed % 2 == 1);
            let mut after = model.clone();
            for change in &new {
                after.take(change);
            }
            let fails = random.random_bool(0.15);
            if fails {
                match random.random_range(0..3) {
                    0 => disk.faults().fail_sync_from(random.random_range(1..3)),
                    _ => disk.faults().fail_write_from(random.random_range(1..5)),
                }
            }
            let committed = file.commit(&new);
            assert!(fails || committed.is_ok(), "{what}");
            if committed.is_ok() {
                model = after.clone();
            }
            if committed.is_err() || random.random_bool(0.1) {
                disk = disk.crash(random.random());
                let (again, head) = LogFile::open(&disk, 1, 2).expect(&what);
                file = again;
                // A commit that failed is there whole or not at all.
                if committed.is_err() && head == after.head {
                    model = after;
                }
                model.check(&file, head, &what);
            } else {
                disk.faults().fail_sync_from(0);
                disk.faults().fail_write_from(0);
            }
        }
        let (slots, number) = {
            let tail = file.tail.lock();
            (tail.slots, tail.number)
        };
        reused += u64::from(number > slots);
        drop(file);
        let (file, head) = LogFile::open(&disk, 1, 2).unwrap();
        model.check(&file, head, "in the end");
    }
    assert!(reused > 3, "segments were hardly ever used again: {reused}");
}

#[test]
fn a_commit_may_be_longer_than_a_segment() {
    let disk = MemoryDisk::new();
    let (file, _) = LogFile::open(&disk, 1, 2).unwrap();
    let mut model = Model::default();
    let vote = Vote::new_committed(3, 2);
    let sizes = [
        10,
        2 * SEGMENT_BYTES,
        20,
        SEGMENT_BYTES - 2_000,
        3 * SEGMENT_BYTES,
    ];
    for (index, bytes) in (1..).zip(sizes) {
        let new = [
            Change::Append(vec![entry(3, index, bytes)]),
            Change::Vote(vote),
        ];
        file.commit(&new).unwrap();
        for change in &new {
            model.take(change);
        }
    }
    drop(file);
    let (file, head) = LogFile::open(&disk.crash(1), 1, 2).unwrap();
    model.check(&file, head, "after a restart");

    // The vote stays when the commits that held it are purged and their segments used again.
    let purge = Change::Purge(Position::new(3, 5));
    model.take(&purge);
    file.commit([&purge]).unwrap();
    let before = file.tail.lock().slots;
    for index in 6..40 {
        let new = Change::Append(vec![entry(3, index, 400_000)]);
        model.take(&new);
        file.commit([&new]).unwrap();
        if index % 5 == 0 {
            let purge = Change::Purge(Position::new(3, index - 1));
            model.take(&purge);
            file.commit([&purge]).unwrap();
        }
    }
    assert!(file.tail.lock().slots <= before + 1, "the file has grown");
    assert_eq!(model.head.vote, Some(vote));
    drop(file);
}

/// A reader holds entries while they are purged: what it was promised is not written over.
#[test]
fn what_is_being_read_is_not_used_again() {
    let disk = MemoryDisk::new();
    let (file, _) = LogFile::open(&disk, 1, 2).unwrap();
    for index in 1..=30 {
        let new = Change::Append(vec![entry(1, index, 200_000)]);
        file.commit([&new]).unwrap();
    }
    let items = file.index.lock().range(&(1..20), usize::MAX);
    file.commit([&Change::Purge(Position::new(1, 25))]).unwrap();
    for index in 31..=80 {
        let new = Change::Append(vec![entry(1, index, 200_000)]);
        file.commit([&new]).unwrap();
    }
    for (index, item) in (1..20).zip(&items) {
        let found = file.entry(item).unwrap();
        assert_eq!(position(&found.id), Position::new(1, index));
    }
}

#[test]
fn a_segment_that_is_missed_is_refused() {
    let disk = MemoryDisk::new();
    let (file, _) = LogFile::open(&disk, 1, 2).unwrap();
    for index in 1..=40 {
        let new = Change::Append(vec![entry(1, index, 200_000)]);
        file.commit([&new]).unwrap();
    }
    let slots = file.tail.lock().used.len();
    assert!(slots > 3, "{slots}");
    drop(file);
    for slot in 0..slots {
        let copy = disk.crash(0);
        let storage = copy.open(LOG_FILE).unwrap();
        let offset = (slot * SEGMENT_BYTES) as u64;
        storage.write(offset, &[0; 512]).unwrap();
        storage.sync_data().unwrap();
        let refused = LogFile::open(&copy, 1, 2).map(drop);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("memory:log"), "{refused}");
    }
}
