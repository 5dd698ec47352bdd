//! etcd's write-ahead log: files of framed records with a running checksum (etcd, `server/storage/wal/`).

mod name;
mod reader;
mod record;
mod writer;

#[cfg(test)]
mod tests;

pub use name::WalName;
pub use reader::{WalEnd, WalReader};
pub use record::WalRecord;
pub use writer::WalWriter;

use crc_fast::{CrcAlgorithm, Digest};

/// The running CRC-32C of a log.
struct Chain(Digest);

impl Chain {
    /// Continues from a checksum; 0 is the start of a log.
    fn from_crc(crc: u32) -> Self {
        let state = u64::from(!crc);
        Self(Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state))
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn crc(&self) -> u32 {
        // CRC-32C has 32 bits; the crate gives every width as u64.
        u32::try_from(self.0.finalize()).unwrap_or(u32::MAX)
    }
}

/// The bytes that fill a record up to a multiple of eight.
const fn padding(record_len: u64) -> u64 {
    (8 - record_len % 8) % 8
}
