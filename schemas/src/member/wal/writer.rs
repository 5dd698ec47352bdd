//! Writing a log.

use prost::Message;

use super::{Chain, WalRecord, padding};
use crate::member::raftpb::Record;

/// Builds the bytes of one WAL file, in memory: a restored log has a few records.
pub struct WalWriter {
    bytes: Vec<u8>,
    chain: Chain,
}

impl WalWriter {
    /// Starts a file at the checksum with which the one before ended; 0 for the first.
    #[must_use]
    pub fn new(previous_crc: u32) -> Self {
        let mut writer = Self {
            bytes: Vec::new(),
            chain: Chain::from_crc(previous_crc),
        };
        writer.push(&WalRecord::Crc(previous_crc));
        writer
    }

    /// Appends a record.
    pub fn push(&mut self, record: &WalRecord) {
        let data = record.data();
        self.chain.update(data.as_deref().unwrap_or_default());
        let record = Record {
            kind: Some(record.kind()),
            crc: Some(self.chain.crc()),
            data,
        };
        let len = record.encoded_len() as u64;
        let padding = padding(len);
        let mark = if padding == 0 { 0 } else { 0x80 | padding };
        self.bytes
            .extend_from_slice(&(mark << 56 | len).to_le_bytes());
        self.bytes.extend_from_slice(&record.encode_to_vec());
        self.bytes.extend((0..padding).map(|_| 0));
    }

    /// The checksum at which the next file would begin.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.chain.crc()
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
