//! Reading a log.

use std::io::{self, Read};

use prost::Message;

use super::{Chain, WalRecord, padding};
use crate::{FormatError, member::raftpb::Record};

/// Bits of a frame's length field that hold the length; the top byte tells the padding.
const LENGTH_BITS: u32 = 56;
/// A torn write leaves whole sectors of zeros.
const SECTOR_BYTES: u64 = 512;
/// At most this much is reserved before the bytes of a record are there.
const RESERVE_BYTES: u64 = 64 * 1024;

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalEnd {
    /// After a whole record: at the file's end, or in the zeros that etcd reserves.
    Clean {
        /// The offset behind the last record.
        offset: u64,
    },
    /// In a record that was not written to its end, as a crash leaves it. What came before is sound. In a file that
    /// is not the log's last this is damage.
    Torn {
        /// The offset of the unfinished record's frame.
        offset: u64,
    },
}

/// Reads one WAL file record by record; memory is bounded by the largest record.
pub struct WalReader<R> {
    input: R,
    what: String,
    offset: u64,
    chain: Option<Chain>,
    end: Option<WalEnd>,
}

impl<R: Read> WalReader<R> {
    /// Reads from the start of a file; `what` names it in errors. The checksum at which the file begins is taken on
    /// trust, and the records after it prove it; where it is known, 0 for a log's first file, use
    /// [`WalReader::following`].
    ///
    /// etcd's checksum covers the data of a record but not its type.
    pub fn new(input: R, what: impl Into<String>) -> Self {
        Self {
            input,
            what: what.into(),
            offset: 0,
            chain: None,
            end: None,
        }
    }

    /// Reads the next file of a log, whose first record has to carry the checksum the one before ended with.
    pub fn following(input: R, what: impl Into<String>, previous_crc: u32) -> Self {
        Self {
            chain: Some(Chain::from_crc(previous_crc)),
            ..Self::new(input, what)
        }
    }

    /// How the file ended; `None` while there is more, and after an error.
    #[must_use]
    pub const fn end(&self) -> Option<WalEnd> {
        self.end
    }

    /// The running checksum, for [`WalReader::following`].
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.chain.as_ref().map_or(0, Chain::crc)
    }

    /// The next record, or `None` at the end; see [`WalReader::end`].
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] with the offset of the damaged frame, [`FormatError::Io`]. Nothing is read after an
    /// error.
    pub fn next_record(&mut self) -> Result<Option<WalRecord>, FormatError> {
        if self.end.is_some() || self.offset == u64::MAX {
            return Ok(None);
        }
        let record = self.read();
        if record.is_err() {
            self.offset = u64::MAX;
        }
        record
    }

    fn read(&mut self) -> Result<Option<WalRecord>, FormatError> {
        let start = self.offset;
        let field = self.take(8)?;
        let Ok(field) = <[u8; 8]>::try_from(field.as_slice()).map(u64::from_le_bytes) else {
            return Ok(self.finish(field.iter().all(|byte| *byte == 0), start));
        };
        if field == 0 {
            return Ok(self.finish(true, start));
        }
        let len = field & ((1 << LENGTH_BITS) - 1);
        let padding = padding(len);
        let expected = if padding == 0 { 0 } else { 0x80 | padding };
        if field >> LENGTH_BITS != expected || len == 0 {
            return Err(self.corrupt(
                start,
                format!("a length field with the top byte {expected:#04x}"),
                format!("{field:#018x}"),
            ));
        }
        let frame = self.take(len.saturating_add(padding))?;
        if (frame.len() as u64) < len.saturating_add(padding) {
            return Ok(self.finish(false, start));
        }
        let (bytes, zeros) = frame.split_at(frame.len().saturating_sub(padding.min(7) as usize));
        match self.check(bytes, zeros, start) {
            Ok(record) => Ok(Some(record)),
            Err(_) if is_torn(&frame, start + 8) => Ok(self.finish(false, start)),
            Err(error) => Err(error),
        }
    }

    /// Decodes a whole frame and compares its checksum.
    fn check(&mut self, bytes: &[u8], zeros: &[u8], start: u64) -> Result<WalRecord, FormatError> {
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(self.corrupt(start, "zeros behind the record", format!("{zeros:02x?}")));
        }
        let record = Record::decode(bytes)
            .map_err(|error| self.corrupt(start, "a record", error.to_string()))?;
        if record.encode_to_vec() != bytes {
            return Err(self.corrupt(start, "a record as etcd writes it", "another encoding"));
        }
        let (Some(kind), Some(crc)) = (record.kind, record.crc) else {
            return Err(self.corrupt(start, "a type and a checksum", "none"));
        };
        let data = record.data.unwrap_or_default();
        let typed = WalRecord::decode(kind, crc, &data, &self.what, start)?;
        let begins = matches!(typed, WalRecord::Crc(_));
        if start == 0 && !begins {
            return Err(self.corrupt(start, "a checksum first", format!("type {kind}")));
        }
        let continues = match &self.chain {
            None => crc,
            Some(chain) if begins => chain.crc(),
            Some(chain) => {
                let mut next = Chain::from_crc(chain.crc());
                next.update(&data);
                next.crc()
            }
        };
        if crc != continues {
            return Err(self.corrupt(
                start,
                format!("the running CRC-32C {continues:#010x}"),
                format!("{crc:#010x}"),
            ));
        }
        self.chain = Some(Chain::from_crc(crc));
        Ok(typed)
    }

    /// Up to `len` bytes, fewer only at the end of the file.
    fn take(&mut self, len: u64) -> Result<Vec<u8>, FormatError> {
        let reserve = usize::try_from(len.min(RESERVE_BYTES)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(reserve);
        let read = self.input.by_ref().take(len).read_to_end(&mut bytes);
        read.map_err(|error: io::Error| {
            FormatError::io(format!("read {} at offset {}", self.what, self.offset))(error)
        })?;
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        Ok(bytes)
    }

    fn finish(&mut self, clean: bool, offset: u64) -> Option<WalRecord> {
        self.end = Some(if clean {
            WalEnd::Clean { offset }
        } else {
            WalEnd::Torn { offset }
        });
        None
    }

    fn corrupt(
        &self,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> FormatError {
        FormatError::corrupt(self.what.as_str(), offset, expected, found)
    }
}

/// Whether some sector's part of these bytes, which begin at an offset of the file, is all zeros.
fn is_torn(bytes: &[u8], mut offset: u64) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let left = SECTOR_BYTES - offset % SECTOR_BYTES;
        let len = rest.len().min(usize::try_from(left).unwrap_or(rest.len()));
        let (sector, after) = rest.split_at(len);
        if sector.iter().all(|byte| *byte == 0) {
            return true;
        }
        offset += len as u64;
        rest = after;
    }
    false
}
