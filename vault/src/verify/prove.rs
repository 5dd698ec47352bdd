//! Reads one object and proves it.

use std::sync::Arc;

use bytes::Bytes;
use object_store::GetRange;
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::envelope::{self, Envelope, Identity};
use revkeep_schemas::kv::key_of;
use revkeep_schemas::manifest::{
    BaseManifest, ChunkRef, GapRecord, ObjectList, PinRecord, Receipt, RoundVerdict,
    TimelineRecord, chunk_keys_bytes, chunk_keys_range, decode_chunk_into, decode_chunk_keys,
};
use revkeep_schemas::names::{ClusterName, VaultId};
use revkeep_schemas::row::EncodedRows;
use revkeep_schemas::segment::SegmentReader;
use revkeep_schemas::{FormatError, RowKey};
use tokio::task::spawn_blocking;

use super::finding::Wrong;
use super::identify::identify;
use super::place::{Place, Standing};
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::layout::{self, ChunkName, NameKind};
use crate::retention::Part;
use crate::writing;

/// How often an object is read that is not what it should be: it may have been damaged on its way.
const READS: usize = 3;

/// What reading an object gave.
#[derive(Debug)]
pub(super) enum Read {
    /// It is what it should be.
    Sound(Content),
    /// It is not there any more.
    Gone,
    /// It is not what it should be.
    Unsound(Wrong, String),
}

/// What a sound object says, as far as others are compared with it.
#[derive(Debug)]
pub(super) enum Content {
    Base(Arc<BaseManifest>),
    Gap(GapRecord),
    Pin(PinRecord),
    Sweep(ObjectList),
    /// A timeline's record, a segment, a chunk, a base that was given up, an intent, other parts of a round.
    Other,
}

impl Cluster {
    /// Reads an object until it is what it should be, three times at most. `listed` is what a base says of a chunk.
    ///
    /// # Errors
    /// As the store fails.
    pub(super) async fn prove(
        &self,
        standing: &Standing,
        listed: Option<ChunkRef>,
    ) -> Result<Read, VaultError> {
        let asked = standing.place.identity(self);
        let mut reads = 1;
        loop {
            let object = match self.vault.objects.get(&standing.name).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Read::Gone),
                object => object?,
            };
            let claim = Claim {
                vault: self.vault.id,
                cluster: self.name.clone(),
                place: standing.place.clone(),
                asked: asked.clone(),
                listed,
            };
            let proving = spawn_blocking(move || claim.prove(&object));
            match proving.await.map_err(VaultError::task("prove an object"))? {
                Ok(content) => return Ok(Read::Sound(content)),
                Err((wrong, reason)) if reads == READS => return Ok(Read::Unsound(wrong, reason)),
                Err((_, reason)) => {
                    tracing::warn!(object = standing.name, reason, "reading it again");
                    reads += 1;
                }
            }
        }
    }

    /// Whether an object is there, without its content.
    ///
    /// # Errors
    /// As the store fails.
    pub(crate) async fn stands(&self, name: &str) -> Result<bool, VaultError> {
        match self
            .vault
            .objects
            .get_part(name, GetRange::Bounded(0..1))
            .await
        {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            part => part.map(|_| true),
        }
    }
}

/// What an object should be.
struct Claim {
    vault: VaultId,
    cluster: ClusterName,
    place: Place,
    asked: Option<Identity>,
    listed: Option<ChunkRef>,
}

impl Claim {
    fn prove(&self, object: &Bytes) -> Result<Content, (Wrong, String)> {
        self.content(object)
            .map_err(|error| identify(object, self.asked_of(object).as_ref(), &error))
    }

    /// What must stand in the envelope. Of a chunk that no base lists the revisions are its own word.
    fn asked_of(&self, object: &Bytes) -> Option<Identity> {
        if let Place::Chunk(chunk) = self.place {
            let range = if let Some(listed) = &self.listed {
                (listed.first, listed.last)
            } else {
                let own = Envelope::decode(object).ok()?.identity;
                (own.first, own.last)
            };
            return Some(layout::chunk_identity(
                self.vault,
                &self.cluster,
                chunk,
                range,
            ));
        }
        self.asked.clone()
    }

    fn content(&self, object: &Bytes) -> Result<Content, FormatError> {
        let Some(asked) = self.asked_of(object) else {
            // A chunk without an envelope: this says why.
            Envelope::decode(object)?;
            return Ok(Content::Other);
        };
        let body = || envelope::open(object, &asked);
        match &self.place {
            Place::Chunk(chunk) => {
                prove_chunk(object, *chunk, &asked, self.listed.as_ref())?;
            }
            Place::Pin(_) => return PinRecord::decode(&body()?).map(Content::Pin),
            Place::Round(_, Part::Sweep) => {
                return ObjectList::decode(&body()?).map(Content::Sweep);
            }
            Place::Round(_, Part::Mark) => {
                ObjectList::decode(&body()?)?;
            }
            Place::Round(_, Part::Verdict) => {
                RoundVerdict::decode(&body()?)?;
            }
            Place::Intent(..) | Place::Round(_, Part::Swept) => {
                body()?;
            }
            Place::Receipt(_) => {
                Receipt::decode(&body()?)?;
            }
            Place::Timeline(name) => match name.kind {
                NameKind::Timeline => {
                    TimelineRecord::decode(&body()?)?;
                }
                NameKind::Segment { .. } => {
                    SegmentReader::open(object.clone(), &asked)?.verify()?;
                }
                NameKind::Gap { first, last, .. } => {
                    let gap = GapRecord::decode(&body()?)?;
                    if (gap.first, gap.last) != (first, last) {
                        return Err(differs("gap", (first, last), (gap.first, gap.last)));
                    }
                    return Ok(Content::Gap(gap));
                }
                NameKind::Base { revision, .. } => {
                    if envelope::open(object, &writing::void(self.vault, name)).is_ok() {
                        return Ok(Content::Other);
                    }
                    let base = BaseManifest::decode(&body()?)?;
                    if base.facts.revision != revision {
                        return Err(differs("base manifest", revision, base.facts.revision));
                    }
                    return Ok(Content::Base(Arc::new(base)));
                }
            },
        }
        Ok(Content::Other)
    }
}

fn differs(what: &str, expected: impl std::fmt::Debug, found: impl std::fmt::Debug) -> FormatError {
    FormatError::corrupt(what, 0, format!("{expected:?}"), format!("{found:?}"))
}

/// Proves the rows of a chunk against its name and the manifests that list it, and that its key filter hides none of them.
fn prove_chunk(
    object: &Bytes,
    chunk: ChunkName,
    asked: &Identity,
    listed: Option<&ChunkRef>,
) -> Result<(), FormatError> {
    let mut plain = Vec::new();
    decode_chunk_into(object, asked, &mut plain)?;
    let own = ChunkRef {
        hash: chunk.hash,
        round: chunk.round,
        first: asked.first,
        last: asked.last,
        rows: 0,
        plain_bytes: plain.len() as u64,
        stored_bytes: object.len() as u64,
        digest: RowDigest::default(),
        keys_bytes: chunk_keys_bytes(object),
    };
    let filter = match chunk_keys_range(&own) {
        Some(range) => {
            let at = |offset: u64| usize::try_from(offset).unwrap_or(object.len());
            let bytes = object.slice(at(range.start)..at(range.end));
            decode_chunk_keys(&bytes, &chunk.hash)?
        }
        None => None,
    };
    let (mut rows, mut digest) = (0_u64, RowDigest::default());
    let mut before: Option<RowKey> = None;
    for row in EncodedRows::new(&plain) {
        let row = row?;
        let inside = (asked.first..=asked.last).contains(&row.key.main);
        if !inside || before.is_some_and(|before| row.key <= before) {
            return Err(differs(
                "chunk",
                format!(
                    "a row of {} to {} after {before:?}",
                    asked.first, asked.last
                ),
                row.key,
            ));
        }
        let key = key_of(row.value)?;
        if filter.as_ref().is_some_and(|filter| !filter.may_hold(key)) {
            return Err(differs(
                "chunk",
                "a key filter with all keys",
                "one without",
            ));
        }
        before = Some(row.key);
        rows += 1;
        digest.add(&row);
    }
    let Some(listed) = listed else { return Ok(()) };
    let found = (rows, own.plain_bytes, digest);
    let expected = (listed.rows, listed.plain_bytes, listed.digest);
    if found == expected {
        return Ok(());
    }
    Err(differs("chunk, by the base that lists it", expected, found))
}
