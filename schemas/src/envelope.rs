//! The envelope with which every object of a vault begins, and the seal of small objects.
//!
//! `formats/envelope.md` has the byte table. The envelope says which object this is; a reader states what it asked for
//! as an [`Identity`], and that is compared before anything else of the object is used, so that no object can stand in
//! for another, however it came to that place.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::names::{ClusterName, TimelineId, VaultId};
use crate::{FormatError, Revision};

/// The first 8 bytes of every object.
pub const MAGIC: [u8; 8] = *b"REVKEEP\0";
/// The version of the format that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes before the header: magic, version, kind, seal, length of the header.
pub const PREFIX_LEN: usize = 16;
/// Bytes of a SHA-256.
pub const HASH_LEN: usize = 32;
/// The longest header that a reader accepts, in bytes.
pub const MAX_HEADER_LEN: usize = 64 * 1024;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `FORMAT`: the vault itself.
    Format = 1,
    /// The birth of a timeline.
    Timeline = 2,
    /// The manifest of a base.
    Base = 3,
    /// A piece of a base's rows.
    Chunk = 4,
    /// The rows of a closed range of revisions.
    Segment = 5,
    /// A range of revisions that was lost.
    Gap = 6,
    /// A hold that a person set.
    Pin = 7,
    /// The mutable hint.
    Head = 8,
    /// That a base is being written.
    Intent = 16,
    /// That a base of this name will never be.
    Void = 17,
    /// What a round of deletions may delete.
    Mark = 18,
    /// Whether a round of deletions goes on.
    Verdict = 19,
    /// What a round of deletions deletes.
    Sweep = 20,
    /// That a round of deletions is over.
    Swept = 21,
    /// What came of a verification or a drill.
    Receipt = 22,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::Format,
        Self::Timeline,
        Self::Base,
        Self::Chunk,
        Self::Segment,
        Self::Gap,
        Self::Pin,
        Self::Head,
        Self::Intent,
        Self::Void,
        Self::Mark,
        Self::Verdict,
        Self::Sweep,
        Self::Swept,
        Self::Receipt,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// How the body of an object is protected. Encryption will add a value; the layout does not change with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Seal {
    /// Readable by whoever can read the bucket.
    Plain = 0,
}

/// Which object is meant. A reader derives it from the name under which it asks, and a writer writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub vault: VaultId,
    /// Its cluster; `None` for `FORMAT`.
    pub cluster: Option<ClusterName>,
    /// Its timeline; `None` for what belongs to no single timeline (chunks, pins, head).
    pub timeline: Option<TimelineId>,
    /// The first revision that it speaks of, zero if it has no range.
    pub first: Revision,
    /// The last revision that it speaks of, zero if it has no range.
    pub last: Revision,
    /// The level of a segment; zero otherwise.
    pub level: u8,
    /// What is left of its name: the unique suffix of bases, segments and gaps, the hash of a chunk and its round, the
    /// name of a pin, the round of a deletion.
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(bytes = "vec", tag = "1")]
    vault: Vec<u8>,
    #[prost(string, tag = "2")]
    cluster: String,
    #[prost(uint32, tag = "3")]
    timeline: u32,
    #[prost(int64, tag = "4")]
    first: i64,
    #[prost(int64, tag = "5")]
    last: i64,
    #[prost(uint32, tag = "6")]
    level: u32,
    #[prost(string, tag = "7")]
    name: String,
    #[prost(string, tag = "8")]
    writer: String,
}

/// An envelope that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which object this is.
    pub identity: Identity,
    /// How its body is protected.
    pub seal: Seal,
    /// Who wrote it: program, version and host, for people.
    pub writer: String,
    /// The number of bytes of the envelope; the body begins there.
    pub len: usize,
}

impl Envelope {
    /// The bytes of the envelope of a plain object.
    pub fn encode(identity: &Identity, writer: &str) -> Vec<u8> {
        let header = Header {
            vault: identity.vault.0.to_vec(),
            cluster: identity
                .cluster
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            timeline: identity.timeline.map_or(0, |id| id.0),
            first: identity.first.0,
            last: identity.last.0,
            level: u32::from(identity.level),
            name: identity.name.clone(),
            writer: writer.chars().take(200).collect(),
        };
        let len = u32::try_from(header.encoded_len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(PREFIX_LEN + header.encoded_len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.push(identity.kind as u8);
        out.push(Seal::Plain as u8);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&header.encode_to_vec());
        out
    }

    /// Reads an envelope from the start of `bytes`, of which there may be more. Nothing is compared and no hash is
    /// checked: use [`Envelope::expect`], and what surrounds it.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when it is no envelope, [`FormatError::Unsupported`] when it is one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let what = "object";
        let short = || {
            FormatError::corrupt(
                what,
                0,
                "an envelope",
                format!("only {} bytes", bytes.len()),
            )
        };
        let prefix: &[u8; PREFIX_LEN] = bytes.first_chunk().ok_or_else(short)?;
        let [
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            m6,
            m7,
            v0,
            v1,
            kind,
            seal,
            l0,
            l1,
            l2,
            l3,
        ] = *prefix;
        let magic = [m0, m1, m2, m3, m4, m5, m6, m7];
        if magic != MAGIC {
            return Err(FormatError::corrupt(
                what,
                0,
                "the magic \"REVKEEP\\0\"",
                format!("{magic:02x?}"),
            ));
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version != FORMAT_VERSION {
            return Err(FormatError::unsupported(
                what,
                format!(
                    "it has format version {version} and this program reads {FORMAT_VERSION}; use a newer Revkeep"
                ),
            ));
        }
        let kind = Kind::from_byte(kind)
            .ok_or_else(|| FormatError::corrupt(what, 10, "a known kind", kind.to_string()))?;
        if seal != Seal::Plain as u8 {
            return Err(FormatError::unsupported(
                what,
                format!(
                    "it is sealed in way {seal}, which this program cannot open; use a newer Revkeep"
                ),
            ));
        }
        let header_len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if header_len > MAX_HEADER_LEN {
            return Err(FormatError::corrupt(
                what,
                12,
                format!("a header of at most {MAX_HEADER_LEN} bytes"),
                format!("{header_len}"),
            ));
        }
        let len = PREFIX_LEN + header_len;
        let header = bytes.get(PREFIX_LEN..len).ok_or_else(short)?;
        let header = Header::decode(header).map_err(|error| {
            FormatError::corrupt(what, PREFIX_LEN as u64, "a header", error.to_string())
        })?;
        let identity = header.identity(kind)?;
        Ok(Self {
            identity,
            seal: Seal::Plain,
            writer: header.writer,
            len,
        })
    }

    /// Compares with what was asked for.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] naming both when this is another object.
    pub fn expect(&self, asked: &Identity) -> Result<(), FormatError> {
        if self.identity == *asked {
            return Ok(());
        }
        Err(FormatError::corrupt(
            "object",
            PREFIX_LEN as u64,
            format!("{asked:?}"),
            format!("another object in its place: {:?}", self.identity),
        ))
    }
}

impl Header {
    fn identity(&self, kind: Kind) -> Result<Identity, FormatError> {
        let wrong = |field: &str| {
            FormatError::corrupt("object", PREFIX_LEN as u64, field, format!("{self:?}"))
        };
        let vault = self
            .vault
            .as_slice()
            .try_into()
            .map_err(|_| wrong("a vault id of 16 bytes"))?;
        let cluster = match self.cluster.as_str() {
            "" => None,
            name => Some(ClusterName::new(name).map_err(|_| wrong("the name of a cluster"))?),
        };
        Ok(Identity {
            kind,
            vault: VaultId(vault),
            cluster,
            timeline: Some(self.timeline).filter(|id| *id > 0).map(TimelineId),
            first: Revision(self.first),
            last: Revision(self.last),
            level: u8::try_from(self.level).map_err(|_| wrong("a level below 256"))?,
            name: self.name.clone(),
        })
    }
}

/// Seals a small object: envelope, body, and the SHA-256 of both.
pub fn seal(identity: &Identity, writer: &str, body: &[u8]) -> Bytes {
    let mut out = Envelope::encode(identity, writer);
    out.reserve_exact(body.len() + HASH_LEN);
    out.extend_from_slice(body);
    let hash = Sha256::digest(&out);
    out.extend_from_slice(&hash);
    out.into()
}

/// Opens a sealed object: checks its identity first, then its hash, and returns the body.
///
/// # Errors
/// [`FormatError::Corrupt`] when it is damaged or another object, [`FormatError::Unsupported`] when it is newer.
pub fn open(bytes: &Bytes, asked: &Identity) -> Result<Bytes, FormatError> {
    let envelope = Envelope::decode(bytes)?;
    envelope.expect(asked)?;
    body(bytes, &envelope)
}

/// Opens a sealed object of which only the kind is known, such as `FORMAT`, which names the vault.
///
/// # Errors
/// As [`open`].
pub fn open_any(bytes: &Bytes, kind: Kind) -> Result<(Envelope, Bytes), FormatError> {
    let envelope = Envelope::decode(bytes)?;
    if envelope.identity.kind != kind {
        return Err(FormatError::corrupt(
            "object",
            10,
            format!("{kind:?}"),
            format!("{:?}", envelope.identity.kind),
        ));
    }
    let body = body(bytes, &envelope)?;
    Ok((envelope, body))
}

fn body(bytes: &Bytes, envelope: &Envelope) -> Result<Bytes, FormatError> {
    let end = bytes
        .len()
        .checked_sub(HASH_LEN)
        .filter(|end| *end >= envelope.len);
    let Some((covered, hash, end)) =
        end.and_then(|end| Some((bytes.get(..end)?, bytes.get(end..)?, end)))
    else {
        return Err(FormatError::corrupt(
            "object",
            envelope.len as u64,
            "a body and its hash",
            format!("the end at {}", bytes.len()),
        ));
    };
    if Sha256::digest(covered).as_slice() != hash {
        return Err(FormatError::corrupt(
            "object",
            end as u64,
            "the SHA-256 of all before",
            "another: the object is damaged",
        ));
    }
    Ok(bytes.slice(envelope.len..end))
}

#[cfg(test)]
mod tests;
