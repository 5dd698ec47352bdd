//! A chunk: a piece of the rows of a base, compressed, named by what it holds.
//!
//! The body of the object is the length of the plain rows (8 bytes, little-endian) and one zstd frame; and where the rows
//! are many, a filter of their user keys in a frame that zstd skips. `formats/manifest.md` and `formats/key-filter.md`.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::FormatError;
use crate::envelope::{self, Identity};
use crate::key_filter::KeyFilter;

/// The longest chunk that a reader unpacks, in plain bytes. Writers stay at 16 MiB unless a single row is longer.
pub const MAX_CHUNK_PLAIN_BYTES: u64 = 256 * 1024 * 1024;

/// The magic number of the skippable frame that holds the key filter (zstd, `doc/zstd_compression_format.md`).
const FILTER_MAGIC: [u8; 4] = 0x184d_2a5b_u32.to_le_bytes();
/// Bytes of a skippable frame before its content: magic and length.
const SKIPPABLE_HEADER_LEN: usize = 8;

/// The SHA-256 of a chunk's encoded rows, with which its name begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkHash(pub [u8; 32]);

impl ChunkHash {
    /// The hash of these rows.
    pub fn of(plain: &[u8]) -> Self {
        Self(Sha256::digest(plain).into())
    }

    /// Whether a chunk of this name has these rows: the hash, and what may follow it after a hyphen.
    fn begins(&self, name: &str) -> bool {
        let hash = name.split_once('-').map_or(name, |(hash, _)| hash);
        self.to_string() == hash
    }
}

impl fmt::Display for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkHash({self})")
    }
}

impl FromStr for ChunkHash {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        let wrong = || {
            FormatError::misuse(
                format!("chunk name {name:?}"),
                "it must have 64 lower-case hexadecimal digits",
            )
        };
        let mut bytes = [0; 32];
        if name.len() != 64 || !name.is_ascii() {
            return Err(wrong());
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            let digits = name.get(at..at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Some(Self(bytes))
            .filter(|hash| hash.to_string() == name)
            .ok_or_else(wrong)
    }
}

/// Packs encoded rows into a chunk object. The name in `identity` begins with the hash of `plain`.
///
/// # Errors
/// [`FormatError::Misuse`] when the name is not that of the rows, [`FormatError::Io`] when zstd fails.
pub fn encode_chunk(
    identity: &Identity,
    writer: &str,
    plain: &[u8],
    zstd_level: i32,
) -> Result<Bytes, FormatError> {
    let hash = ChunkHash::of(plain);
    if !hash.begins(&identity.name) {
        return Err(FormatError::misuse(
            format!("chunk {}", identity.name),
            "it is not the name of these rows",
        ));
    }
    let packed =
        zstd::bulk::compress(plain, zstd_level).map_err(FormatError::io("pack a chunk"))?;
    // Rows that cannot be read are stored all the same; they only are not found by key.
    let filter = KeyFilter::of_rows(plain).ok().flatten();
    let filter = filter.map(|filter| sealed_filter(&filter.encode(), &hash));
    let mut body = Vec::with_capacity(8 + packed.len());
    body.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    body.extend_from_slice(&packed);
    if let Some(filter) = filter
        && let Ok(len) = u32::try_from(filter.len())
    {
        body.extend_from_slice(&FILTER_MAGIC);
        body.extend_from_slice(&len.to_le_bytes());
        body.extend_from_slice(&filter);
    }
    Ok(envelope::seal(identity, writer, &body))
}

/// A filter and the hash that binds it to the rows of its chunk, whatever round the chunk was stored in.
fn sealed_filter(filter: &[u8], chunk: &ChunkHash) -> Vec<u8> {
    let hash = Sha256::new()
        .chain_update(chunk.to_string())
        .chain_update(filter)
        .finalize();
    [filter, hash.as_slice()].concat()
}

/// Bytes of the key filter in a chunk object whose hash was checked; zero where it has none.
#[must_use]
pub fn chunk_keys_bytes(object: &Bytes) -> u64 {
    let found = || {
        let start = envelope::Envelope::decode(object).ok()?.len + 8;
        let packed = object.get(start..object.len().checked_sub(envelope::HASH_LEN)?)?;
        let rows = zstd::zstd_safe::find_frame_compressed_size(packed).ok()?;
        let (magic, rest) = packed.get(rows..)?.split_first_chunk::<4>()?;
        let (len, content) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        (*magic == FILTER_MAGIC && content.len() == len)
            .then(|| len.checked_sub(envelope::HASH_LEN))?
    };
    found().map_or(0, |len| len as u64)
}

/// Where the key filter of a chunk stands in its object: the range of bytes to fetch and to give to [`decode_chunk_keys`].
/// `None` where the chunk has none.
#[must_use]
pub fn chunk_keys_range(chunk: &super::ChunkRef) -> Option<std::ops::Range<u64>> {
    let hash = envelope::HASH_LEN as u64;
    let end = chunk.stored_bytes.checked_sub(hash)?;
    let start = end.checked_sub(chunk.keys_bytes.checked_add(hash)?)?;
    let room = start >= SKIPPABLE_HEADER_LEN as u64;
    (chunk.keys_bytes > 0 && room).then_some(start..end)
}

/// Reads the key filter of a chunk that was fetched alone.
///
/// # Errors
/// [`FormatError::Corrupt`] when it is damaged, or that of another chunk.
pub fn decode_chunk_keys(
    bytes: &Bytes,
    chunk: &ChunkHash,
) -> Result<Option<KeyFilter>, FormatError> {
    let end = bytes.len().saturating_sub(envelope::HASH_LEN);
    let filter = bytes.slice(..end);
    if *bytes != sealed_filter(&filter, chunk) {
        return Err(FormatError::corrupt(
            format!("key filter of chunk {chunk}"),
            0,
            "a filter with its SHA-256",
            "another: it is damaged",
        ));
    }
    KeyFilter::decode(&filter)
}

/// Unpacks a chunk object: identity, hash of the object, length, then the name against the rows.
///
/// # Errors
/// [`FormatError::Corrupt`] when it is not, to the last bit, the chunk that was asked for.
pub fn decode_chunk(object: &Bytes, asked: &Identity) -> Result<Bytes, FormatError> {
    let mut plain = Vec::new();
    decode_chunk_into(object, asked, &mut plain)?;
    Ok(plain.into())
}

/// [`decode_chunk`] into a buffer that is used again; what it held is gone. After an error its content means nothing.
///
/// # Errors
/// As [`decode_chunk`].
pub fn decode_chunk_into(
    object: &Bytes,
    asked: &Identity,
    plain: &mut Vec<u8>,
) -> Result<(), FormatError> {
    unpack_chunk_into(object, asked, plain)?;
    let hash = ChunkHash::of(plain);
    if !hash.begins(&asked.name) {
        return Err(FormatError::corrupt(
            format!("chunk {}", asked.name),
            0,
            "rows with that hash",
            hash.to_string(),
        ));
    }
    Ok(())
}

/// [`decode_chunk_into`] without the name against the rows, which takes as long as all the rest: identity, hash of the
/// object, length. For whoever proves the rows by the digest that a manifest says of them.
///
/// # Errors
/// [`FormatError::Corrupt`] when it is not, to the last bit, what was written as this chunk.
pub fn unpack_chunk_into(
    object: &Bytes,
    asked: &Identity,
    plain: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let what = || format!("chunk {}", asked.name);
    let body = envelope::open(object, asked)?;
    let Some((len, packed)) = body.split_first_chunk::<8>() else {
        return Err(FormatError::corrupt(what(), 0, "8 bytes of length", "less"));
    };
    let len = u64::from_le_bytes(*len);
    unpack(packed, len, MAX_CHUNK_PLAIN_BYTES, &what(), plain)
}

/// Unpacks one zstd frame into exactly `len` bytes, of which no more than `cap` are accepted, in place of what `plain`
/// held.
pub(crate) fn unpack(
    packed: &[u8],
    len: u64,
    cap: u64,
    what: &str,
    plain: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let capacity = usize::try_from(len)
        .ok()
        .filter(|_| len <= cap)
        .ok_or_else(|| {
            FormatError::corrupt(
                what,
                0,
                format!("at most {cap} plain bytes"),
                len.to_string(),
            )
        })?;
    plain.clear();
    if plain.capacity() < capacity {
        *plain = Vec::with_capacity(capacity);
    }
    let unpacked = zstd::bulk::Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress_to_buffer(packed, plain));
    unpacked.map_err(|error| {
        FormatError::corrupt(
            what,
            0,
            format!("a zstd frame of {len} bytes"),
            error.to_string(),
        )
    })?;
    if plain.len() != capacity {
        return Err(FormatError::corrupt(
            what,
            0,
            format!("{len} plain bytes"),
            plain.len().to_string(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
