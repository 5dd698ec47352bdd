//! What kills and bad disks leave of the file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    super::segment::{Header, SECTOR_BYTES, put_chunk, sectors_of},
    *,
};

const OWNER: (u64, u64) = (1, 2);

fn open(disk: &MemoryDisk) -> Result<(LogFile, Head)> {
    LogFile::open(disk, OWNER.0, OWNER.1)
}

fn append(file: &LogFile, index: u64, bytes: usize) {
    let new = Change::Append(vec![entry(1, index, bytes)]);
    file.commit([&new]).unwrap();
}

fn write(disk: &MemoryDisk, offset: usize, bytes: &[u8]) {
    let storage = disk.open(LOG_FILE).unwrap();
    storage.write(offset as u64, bytes).unwrap();
    storage.sync_data().unwrap();
}

fn read(disk: &MemoryDisk, offset: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let storage = disk.open(LOG_FILE).unwrap();
    storage.read(offset as u64, &mut bytes).unwrap();
    bytes
}

/// A commit of several segments is in several places of the file when the power goes: any of them may be missed.
#[test]
fn a_torn_commit_of_several_segments_is_there_whole_or_not_at_all() {
    let (mut torn, mut whole) = (0, 0);
    for seed in 0..60 {
        let disk = MemoryDisk::new();
        let (file, _) = open(&disk).unwrap();
        // So that the next segment is clear, and most of this one is full.
        for index in 1..=6 {
            append(&file, index, 300_000);
        }
        // Two syncs between its three parts, one for clearing, and the last.
        disk.faults().fail_sync_from(1 + seed % 6);
        let long = Change::Append(vec![entry(1, 7, 3 * SEGMENT_BYTES / 2)]);
        let failed = file.commit([&long]).is_err();
        let disk = disk.crash(seed);
        let (file, head) = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(failed || head.last.index == 7, "seed {seed}: {head:?}");
        let next = head.last.index + 1;
        *if next == 8 { &mut whole } else { &mut torn } += 1;
        append(&file, next, 1_000);
        append(&file, next + 1, SEGMENT_BYTES);
        drop(file);
        let (file, head) = open(&disk.crash(seed)).unwrap();
        assert_eq!(head.last.index, next + 1, "seed {seed}");
        let found = file.entries(0..u64::MAX, usize::MAX).unwrap();
        assert_eq!(found.len() as u64, next + 1, "seed {seed}");
    }
    assert!(torn > 10 && whole > 10, "{torn} torn, {whole} whole");
}

/// After a kill the system still has what was written and never synced; the next start promises that it is there.
#[test]
fn what_a_start_finds_survives_the_power_cut_after_it() {
    for bytes in [100, 400_000, 2 * SEGMENT_BYTES] {
        for seed in 0..6 {
            let disk = MemoryDisk::new();
            let (file, _) = open(&disk).unwrap();
            append(&file, 1, 1_000);
            disk.faults().fail_sync_from(1);
            let unsynced = Change::Append(vec![entry(1, 2, bytes)]);
            assert!(file.commit([&unsynced]).is_err());
            // Killed, not crashed.
            drop(file);
            disk.faults().fail_sync_from(0);
            let (file, found) = open(&disk).unwrap();
            drop(file);
            let (_, head) = open(&disk.crash(seed)).unwrap();
            assert_eq!(head, found, "{bytes} bytes, seed {seed}");
        }
    }
}

/// A disk that loses a write which it said was done leaves zeros, as an unfinished write does, but what is behind them tells.
#[test]
fn a_hole_before_the_end_is_refused() {
    for lost in [1, 2, 3] {
        let disk = MemoryDisk::new();
        let (file, _) = open(&disk).unwrap();
        for index in 1..=10 {
            append(&file, index, 1_200);
        }
        drop(file);
        // Every entry has three sectors, behind that of the header.
        let hole = (3 * 3 + lost) * SECTOR_BYTES;
        write(&disk, hole, &[0; SECTOR_BYTES]);
        let refused = open(&disk).map(drop).unwrap_err().to_string();
        assert!(refused.contains("memory:log"), "{refused}");
        assert!(refused.contains("is damaged"), "{refused}");
    }
}

/// The last commit is one that was under way, as far as anybody can tell.
#[test]
fn a_hole_in_the_last_commit_is_a_torn_one() {
    for lost in [1, 2, 3] {
        let disk = MemoryDisk::new();
        let (file, _) = open(&disk).unwrap();
        append(&file, 1, 1_200);
        append(&file, 2, 1_200);
        drop(file);
        write(&disk, (3 + lost) * SECTOR_BYTES, &[0; SECTOR_BYTES]);
        let (_, head) = open(&disk).unwrap();
        assert_eq!(head.last, Position::new(1, 1), "sector {lost}");
    }
}

/// A value may have sectors of zeros of its own: they do not make damage look like an unfinished write.
#[test]
fn damage_beside_zeros_is_refused() {
    let disk = MemoryDisk::new();
    let (file, _) = open(&disk).unwrap();
    append(&file, 1, 1_200);
    let mut empty = entry(1, 2, 4_000);
    if let Body::Commands(commands) = &mut empty.body {
        commands.batch = vec![0; 4_000].into();
    }
    file.commit([&Change::Append(vec![empty])]).unwrap();
    drop(file);
    // Behind the header, the first entry's three sectors, and the head of the second's.
    let end = (1 + 3) * SECTOR_BYTES + 5;
    let seen = read(&disk, end, 2);
    write(&disk, end, &[seen[0] ^ 1]);
    let refused = open(&disk).map(drop).unwrap_err().to_string();
    assert!(refused.contains("is damaged"), "{refused}");
    // The head has a checksum of its own; the bytes behind it do not.
    write(&disk, end, &seen);
    let end = (1 + 3) * SECTOR_BYTES + 20;
    let seen = read(&disk, end, 1);
    write(&disk, end, &[seen[0] ^ 1]);
    let refused = open(&disk).map(drop).unwrap_err().to_string();
    assert!(refused.contains("is damaged"), "{refused}");
    write(&disk, end, &seen);
    let (_, head) = open(&disk).unwrap();
    assert_eq!(head.last.index, 2);
}

#[test]
fn a_log_that_lost_its_only_head_is_refused() {
    let disk = MemoryDisk::new();
    let (file, _) = open(&disk).unwrap();
    file.commit([&Change::Vote(Vote::new(3, 2))]).unwrap();
    drop(file);
    write(&disk, 0, &[0; SECTOR_BYTES]);
    let refused = open(&disk).map(drop).unwrap_err().to_string();
    assert!(refused.contains("head"), "{refused}");
}

#[test]
fn the_log_of_an_earlier_program_is_refused() {
    let disk = MemoryDisk::new();
    drop(disk.open("log.redb").unwrap());
    let refused = open(&disk).map(drop).unwrap_err().to_string();
    assert!(refused.contains("memory:log.redb"), "{refused}");
    assert!(refused.contains("snapshot save"), "{refused}");
    assert!(disk.exists(LOG_FILE).is_ok_and(|there| !there));
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    write(&disk, 7, &[9]);
    let refused = open(&disk).map(drop).unwrap_err().to_string();
    assert!(refused.contains("format 9"), "{refused}");
}

/// `schemas/formats/store.md`, written by hand.
#[test]
fn the_bytes_are_those_of_the_format() {
    let disk = MemoryDisk::new();
    let (file, _) = open(&disk).unwrap();
    let vote = Change::Vote(Vote::new_committed(3, 2));
    file.commit([&vote, &Change::Truncate(9)]).unwrap();
    drop(file);

    let numbers = |numbers: &[u64]| -> Vec<u8> {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        bytes.collect()
    };
    let sum = |parts: &[&[u8]]| crc_fast::crc32_iscsi(&parts.concat()).to_le_bytes();
    let first = 1_u64.to_le_bytes();

    let mut header = b"rvklog\0\x02".to_vec();
    header.extend(numbers(&[1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0]));
    header.extend([0, 0]);
    header.extend(sum(&[&first, &header]));
    header.resize(SECTOR_BYTES, 0);
    assert_eq!(read(&disk, 0, SECTOR_BYTES), header);

    let mut records = vec![4];
    records.extend(numbers(&[3, 2]));
    records.extend([1, 3, 2]);
    records.extend(numbers(&[9]));
    let mut chunk = 28_u32.to_le_bytes().to_vec();
    chunk.extend(sum(&[&first, &records]));
    chunk.push(3);
    chunk.extend([0, 0]);
    chunk.extend(sum(&[&first, &chunk]));
    chunk.extend(records);
    chunk.resize(SECTOR_BYTES, 0);
    assert_eq!(read(&disk, SECTOR_BYTES, SECTOR_BYTES), chunk);
}

fn place(random: &mut StdRng) -> Position {
    let mut number = || match random.random_range(0..8) {
        0 => u64::MAX,
        1 => random.random(),
        _ => random.random_range(0..12),
    };
    Position::new(number(), number())
}

/// The records of a commit, some of them not so.
fn records(next: &mut u64, random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(0..6) {
        if random.random_bool(0.9) {
            let follows = Change::Append(vec![entry(1, *next, 300)]);
            bytes.extend(record::encode([&follows]).unwrap().0);
            *next += 1;
            continue;
        }
        let at = place(random);
        let change = match random.random_range(0..6) {
            0 => Change::Truncate(at.index),
            1 => Change::Purge(at),
            2 => Change::Vote(Vote::new(at.term, at.index)),
            3 => Change::Committed(at),
            _ if at.index > 0 => Change::Append(vec![entry(at.term, at.index, 300)]),
            _ => continue,
        };
        bytes.extend(record::encode([&change]).unwrap().0);
    }
    if random.random_bool(0.03) && !bytes.is_empty() {
        let at = random.random_range(0..bytes.len());
        bytes[at] = random.random();
    }
    bytes
}

/// Some segments as a forger makes them, with checksums that are right, and a few bytes changed after that.
fn forged(random: &mut StdRng) -> Vec<u8> {
    let (mut file, mut next) = (Vec::new(), 1);
    let first = if random.random_bool(0.1) {
        u64::MAX - random.random_range(0..3)
    } else {
        random.random_range(0..3)
    };
    for segment in 0..random.random_range(1..4) {
        let number = first.saturating_add(segment);
        let mut head = Head::default();
        if random.random_bool(0.2) {
            head.purged = place(random);
            head.committed = place(random);
        }
        head.last = match random.random_range(0..5) {
            0 => place(random),
            _ if next == 1 => Position::default(),
            _ => Position::new(1, next - 1),
        };
        let mut bytes = Header {
            number,
            owner: OWNER,
            head,
        }
        .encode();
        for _ in 0..random.random_range(0..8) {
            let (begins, ends) = (random.random_bool(0.98), random.random_bool(0.98));
            put_chunk(
                &mut bytes,
                number,
                (begins, ends),
                &records(&mut next, random),
            );
        }
        if random.random_bool(0.2) {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        if random.random_bool(0.9) {
            bytes.resize(SEGMENT_BYTES, 0);
        }
        file.extend(bytes);
    }
    file
}

/// Whatever is in the file: it is refused, or it can be read, written and opened again.
#[test]
fn survives_any_bytes() {
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..250 {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = MemoryDisk::new();
        write(&disk, 0, &forged(&mut random));
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let Ok((file, head)) = open(&disk) else {
                return false;
            };
            let found = file.entries(0..u64::MAX, usize::MAX);
            let next = head.last.index.saturating_add(1);
            append(&file, next, 10);
            drop(file);
            let (file, again) = open(&disk).unwrap();
            assert_eq!(again.last, Position::new(1, next));
            let more = file.entries(0..u64::MAX, usize::MAX);
            assert_eq!(found.is_ok(), more.is_ok());
            true
        }));
        let can_be_used = tried.unwrap_or_else(|_| panic!("seed {seed}"));
        *if can_be_used {
            &mut opened
        } else {
            &mut refused
        } += 1;
    }
    assert!(
        opened > 20 && refused > 20,
        "{opened} opened, {refused} refused"
    );
}

#[test]
fn a_chunk_takes_whole_sectors() {
    for len in [0, 1, 496, 497, 498, 1_009, 1_010] {
        let mut bytes = Vec::new();
        put_chunk(&mut bytes, 1, (true, true), &vec![7; len]);
        assert_eq!(bytes.len(), sectors_of(&vec![7; len]), "{len}");
        assert_eq!(bytes.len() % SECTOR_BYTES, 0, "{len}");
    }
}
