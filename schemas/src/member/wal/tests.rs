use proptest::{collection::vec, prelude::*};

use super::{WalEnd, WalName, WalReader, WalRecord, WalWriter};
use crate::{
    FormatError,
    member::raftpb::{Entry, HardState, WalMetadata, WalSnapshot},
};

fn records() -> impl Strategy<Value = Vec<WalRecord>> {
    let record = prop_oneof![
        any::<(u64, u64)>().prop_map(|(node, cluster)| WalRecord::Metadata(WalMetadata {
            node_id: Some(node),
            cluster_id: Some(cluster),
        })),
        (any::<u64>(), vec(1..=255_u8, 0..1500)).prop_map(|(index, data)| {
            WalRecord::Entry(Entry {
                kind: Some(Entry::NORMAL),
                term: Some(1),
                index: Some(index),
                data: Some(data),
            })
        }),
        any::<u64>().prop_map(|commit| WalRecord::State(HardState {
            term: Some(2),
            vote: Some(0),
            commit: Some(commit),
        })),
        any::<u64>().prop_map(|index| WalRecord::Snapshot(WalSnapshot {
            index: Some(index),
            term: Some(3),
            conf_state: None,
        })),
    ];
    vec(record, 0..8)
}

fn write(records: &[WalRecord], crc: u32) -> (Vec<u8>, u32) {
    let mut writer = WalWriter::new(crc);
    for record in records {
        writer.push(record);
    }
    let crc = writer.crc();
    (writer.finish(), crc)
}

fn read_with(
    mut reader: WalReader<&[u8]>,
) -> (Vec<WalRecord>, Result<Option<WalEnd>, FormatError>) {
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, Ok(reader.end())),
            Err(error) => return (records, Err(error)),
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<WalRecord>, Result<Option<WalEnd>, FormatError>) {
    read_with(WalReader::following(bytes, "log", 0))
}

/// Where the types of the records stand.
fn types(bytes: &[u8]) -> Vec<usize> {
    let mut types = Vec::new();
    let mut frame = 0;
    while let Some(len) = bytes.get(frame..frame + 7) {
        types.push(frame + 9);
        let len = len
            .iter()
            .rev()
            .fold(0, |len, byte| len << 8 | usize::from(*byte));
        frame += 8 + len.next_multiple_of(8);
    }
    types
}

proptest! {
    #[test]
    fn a_log_survives_the_round_trip(records in records(), reserved in 0..5000_usize) {
        let (mut bytes, _) = write(&records, 0);
        let offset = bytes.len() as u64;
        bytes.resize(bytes.len() + reserved, 0);
        let (read, end) = read(&bytes);
        prop_assert_eq!(&read[..1], &[WalRecord::Crc(0)]);
        prop_assert_eq!(&read[1..], &records[..]);
        prop_assert_eq!(end.unwrap(), Some(WalEnd::Clean { offset }));
    }

    #[test]
    fn the_checksum_runs_on_into_the_next_file(first in records(), second in records()) {
        let (_, crc) = write(&first, 0);
        let (bytes, _) = write(&second, crc);
        let (read, end) = read_with(WalReader::following(&bytes, "log", crc));
        prop_assert!(end.is_ok());
        prop_assert_eq!(&read[1..], &second[..]);
        if crc != 0 {
            let (_, end) = read_with(WalReader::following(&bytes, "log", !crc));
            prop_assert!(end.is_err());
        }
    }

    /// A crash keeps a prefix of what was written; what it keeps is whole and the cut is named.
    #[test]
    fn a_cut_log_ends_torn_with_a_prefix(records in records(), cut in any::<prop::sample::Index>(), reserved in 0..2_usize) {
        let (bytes, _) = write(&records, 0);
        let cut = cut.index(bytes.len());
        let mut torn = bytes[..cut].to_vec();
        torn.resize(cut + reserved * (bytes.len() - cut).next_multiple_of(8) * 2, 0);
        let (read, end) = read(&torn);
        let mut whole = vec![WalRecord::Crc(0)];
        whole.extend(records);
        prop_assert!(read.len() <= whole.len());
        prop_assert_eq!(&read[..], &whole[..read.len()]);
        // Inside a sector, a cut followed by zeros cannot be told from damage.
        prop_assert!(reserved > 0 || end.unwrap().is_some());
    }

    /// Invariant 10, every bit counts: a flipped bit ends the log at or before its record.
    #[test]
    fn a_flipped_bit_is_found(records in records(), position in any::<prop::sample::Index>(), bit in 0..8) {
        let (mut bytes, _) = write(&records, 0);
        let position = position.index(bytes.len());
        // The checksum does not cover the types.
        prop_assume!(!types(&bytes).contains(&position));
        bytes[position] ^= 1_u8 << bit;
        let (read, end) = read(&bytes);
        let mut whole = vec![WalRecord::Crc(0)];
        whole.extend(records);
        let found = matches!(end, Err(_) | Ok(Some(WalEnd::Torn { .. })));
        prop_assert!(found || read.len() < whole.len());
        prop_assert_eq!(&read[..], &whole[..read.len()]);
    }

    #[test]
    fn any_bytes_end_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }
}

#[test]
fn damage_names_the_frame() {
    let state = WalRecord::State(HardState::default());
    let (mut bytes, _) = write(&[state.clone(), state], 0);
    // Frames of 16 bytes: the checksum, and two states.
    bytes[16 + 8 + 3] ^= 1;
    let (read, end) = read(&bytes);
    assert_eq!(read.len(), 1);
    let error = end.unwrap_err();
    assert!(
        matches!(error, FormatError::Corrupt { offset: 16, .. }),
        "{error}"
    );
}

#[test]
fn names_survive_the_round_trip() {
    let name = WalName {
        sequence: 1,
        first_index: 0x2a,
    };
    let text = "0000000000000001-000000000000002a.wal";
    assert_eq!(name.to_string(), text);
    assert_eq!(text.parse::<WalName>().unwrap(), name);
    for wrong in [
        "",
        "1-2.wal",
        "0.tmp",
        "+000000000000001-000000000000002a.wal",
    ] {
        assert!(wrong.parse::<WalName>().is_err());
    }
}
