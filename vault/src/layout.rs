//! The names of objects, and which object a name asks for.

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use revkeep_schemas::Revision;
use revkeep_schemas::envelope::{Identity, Kind};
use revkeep_schemas::manifest::{ChunkHash, ChunkRef, ProofKind};
use revkeep_schemas::names::{ClusterName, PinName, TimelineId, Uid, VaultId};

/// What stands at a name, below its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// `timeline`
    Timeline,
    /// `bases/{rev}-{uid}`
    Base {
        /// The base's revision.
        revision: Revision,
        /// The unique suffix.
        uid: Uid,
    },
    /// `segments/{level}/{first}-{last}-{uid}`
    Segment {
        /// 0 for what agents flush.
        level: u8,
        /// The first revision.
        first: Revision,
        /// The last revision.
        last: Revision,
        /// The unique suffix.
        uid: Uid,
    },
    /// `gaps/{first}-{last}-{uid}`
    Gap {
        /// The first lost revision.
        first: Revision,
        /// The last lost revision.
        last: Revision,
        /// The unique suffix.
        uid: Uid,
    },
}

/// The name of an object of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its timeline.
    pub timeline: TimelineId,
    /// What stands there.
    pub kind: NameKind,
}

impl ObjectName {
    /// The path below the vault's prefix.
    pub fn path(&self) -> String {
        let folder = timeline_folder(&self.cluster, self.timeline);
        match self.kind {
            NameKind::Timeline => format!("{folder}/timeline"),
            NameKind::Base { revision, uid } => format!("{folder}/bases/{:020}-{uid}", revision.0),
            NameKind::Segment {
                level,
                first,
                last,
                uid,
            } => {
                format!(
                    "{folder}/segments/{level}/{:020}-{:020}-{uid}",
                    first.0, last.0
                )
            }
            NameKind::Gap { first, last, uid } => {
                format!("{folder}/gaps/{:020}-{:020}-{uid}", first.0, last.0)
            }
        }
    }

    /// The object that this name asks for.
    pub fn identity(&self, vault: VaultId) -> Identity {
        let (kind, first, last, level, name) = match self.kind {
            NameKind::Timeline => (
                Kind::Timeline,
                Revision::ZERO,
                Revision::ZERO,
                0,
                String::new(),
            ),
            NameKind::Base { revision, uid } => {
                (Kind::Base, revision, revision, 0, uid.to_string())
            }
            NameKind::Segment {
                level,
                first,
                last,
                uid,
            } => (Kind::Segment, first, last, level, uid.to_string()),
            NameKind::Gap { first, last, uid } => (Kind::Gap, first, last, 0, uid.to_string()),
        };
        Identity {
            kind,
            vault,
            cluster: Some(self.cluster.clone()),
            timeline: Some(self.timeline),
            first,
            last,
            level,
            name,
        }
    }
}

/// Which chunk of a cluster is meant: its content, and the round of deletions in which it was stored.
///
/// What was deleted once is never stored again under the same name; see [`crate::retention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkName {
    /// The hash of its rows.
    pub hash: ChunkHash,
    /// The number of deletions that had been begun in its cluster when it was stored.
    pub round: u32,
}

/// The folder of a timeline.
pub(crate) fn timeline_folder(cluster: &ClusterName, timeline: TimelineId) -> String {
    format!("clusters/{cluster}/{timeline}")
}

impl From<&ChunkRef> for ChunkName {
    fn from(chunk: &ChunkRef) -> Self {
        Self {
            hash: chunk.hash,
            round: chunk.round,
        }
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.round {
            0 => self.hash.fmt(f),
            round => write!(f, "{}-{round}", self.hash),
        }
    }
}

/// The folder of all chunks of a cluster.
pub(crate) fn chunks_folder(cluster: &ClusterName) -> String {
    format!("clusters/{cluster}/chunks")
}

/// The name of a chunk.
pub(crate) fn chunk_path(cluster: &ClusterName, chunk: ChunkName) -> String {
    let name = chunk.to_string();
    let folder = name.get(..2).unwrap_or_default();
    format!("{}/{folder}/{name}", chunks_folder(cluster))
}

/// Reads what a listing of the folder of chunks gave. `None` for what is not ours.
pub(crate) fn parse_chunk(folder: &Path, path: &Path) -> Option<ChunkName> {
    let mut parts = path.prefix_match(folder)?;
    let (folder, name) = (parts.next()?, parts.next()?);
    let (hash, round) = match name.as_ref().split_once('-') {
        None => (name.as_ref(), 0),
        Some((hash, round)) => (hash, round.parse().ok().filter(|round| *round > 0)?),
    };
    let chunk = ChunkName {
        hash: hash.parse().ok()?,
        round,
    };
    let ours = parts.next().is_none() && chunk.to_string() == name.as_ref();
    Some(chunk).filter(|_| ours && name.as_ref().starts_with(folder.as_ref()))
}

/// The name of a cluster's head.
pub(crate) fn head_path(cluster: &ClusterName) -> String {
    format!("clusters/{cluster}/head")
}

/// The identity of a cluster's head.
pub(crate) fn head_identity(vault: VaultId, cluster: &ClusterName) -> Identity {
    Identity {
        kind: Kind::Head,
        vault,
        cluster: Some(cluster.clone()),
        timeline: None,
        first: Revision::ZERO,
        last: Revision::ZERO,
        level: 0,
        name: String::new(),
    }
}

/// The folder of a cluster's pins.
pub(crate) fn pins_folder(cluster: &ClusterName) -> String {
    format!("clusters/{cluster}/pins")
}

/// The name of a pin.
pub(crate) fn pin_path(cluster: &ClusterName, pin: &PinName) -> String {
    format!("{}/{pin}", pins_folder(cluster))
}

/// The identity of a pin. Its revision is in the body: who asks by name does not know it.
pub(crate) fn pin_identity(vault: VaultId, cluster: &ClusterName, pin: &PinName) -> Identity {
    Identity {
        kind: Kind::Pin,
        vault,
        cluster: Some(cluster.clone()),
        timeline: None,
        first: Revision::ZERO,
        last: Revision::ZERO,
        level: 0,
        name: pin.to_string(),
    }
}

/// The folder of a cluster's receipts.
pub(crate) fn receipts_folder(cluster: &ClusterName) -> String {
    format!("clusters/{cluster}/receipts")
}

/// The name of a receipt in its folder: names of one kind sort by time.
pub(crate) fn receipt_name(kind: ProofKind, ended_unix_ms: i64, uid: Uid) -> String {
    format!("{}-{ended_unix_ms:020}-{uid}", kind.name())
}

/// Reads the name of a receipt.
pub(crate) fn parse_receipt(name: &str) -> Option<ProofKind> {
    let mut parts = name.split('-');
    let kind = ProofKind::named(parts.next()?)?;
    let (ended, uid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (receipt_name(kind, ended, uid) == name).then_some(kind)
}

/// The identity of a receipt.
pub(crate) fn receipt_identity(vault: VaultId, cluster: &ClusterName, name: &str) -> Identity {
    Identity {
        kind: Kind::Receipt,
        vault,
        cluster: Some(cluster.clone()),
        timeline: None,
        first: Revision::ZERO,
        last: Revision::ZERO,
        level: 0,
        name: name.to_owned(),
    }
}

/// The identity of a chunk. A chunk is bound to its rows by its name, and to its place by vault and cluster.
pub(crate) fn chunk_identity(
    vault: VaultId,
    cluster: &ClusterName,
    chunk: ChunkName,
    range: (Revision, Revision),
) -> Identity {
    Identity {
        kind: Kind::Chunk,
        vault,
        cluster: Some(cluster.clone()),
        timeline: None,
        first: range.0,
        last: range.1,
        level: 0,
        name: chunk.to_string(),
    }
}

/// Reads what a listing of a timeline's folder gave. `None` for what is not ours: strangers' files are left alone.
pub(crate) fn parse(folder: &Path, path: &Path) -> Option<NameKind> {
    let parts: Vec<_> = path
        .prefix_match(folder)?
        .map(|part| part.as_ref().to_owned())
        .collect();
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["bases", name] => {
            let (revision, uid) = name.split_once('-')?;
            Some(NameKind::Base {
                revision: number(revision)?,
                uid: uid.parse().ok()?,
            })
        }
        ["segments", level, name] => {
            let (first, last, uid) = range(name)?;
            let level = level
                .parse::<u8>()
                .ok()
                .filter(|number| number.to_string() == *level)?;
            Some(NameKind::Segment {
                level,
                first,
                last,
                uid,
            })
        }
        ["gaps", name] => {
            let (first, last, uid) = range(name)?;
            Some(NameKind::Gap { first, last, uid })
        }
        _ => None,
    }
}

fn range(name: &str) -> Option<(Revision, Revision, Uid)> {
    let (first, rest) = name.split_once('-')?;
    let (last, uid) = rest.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    Some((first, last, Uid::from_str(uid).ok()?)).filter(|_| first <= last)
}

fn number(digits: &str) -> Option<Revision> {
    let fits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| fits).map(Revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = NameKind> {
        (0..3, any::<u8>(), 0..=i64::MAX, 0..=i64::MAX, any::<u64>()).prop_map(
            |(kind, level, a, b, uid)| {
                let (first, last, uid) = (Revision(a.min(b)), Revision(a.max(b)), Uid(uid));
                match kind {
                    0 => NameKind::Base {
                        revision: last,
                        uid,
                    },
                    1 => NameKind::Segment {
                        level,
                        first,
                        last,
                        uid,
                    },
                    _ => NameKind::Gap { first, last, uid },
                }
            },
        )
    }

    fn name(kind: NameKind) -> ObjectName {
        ObjectName {
            cluster: ClusterName::new("prod").unwrap(),
            timeline: TimelineId::FIRST,
            kind,
        }
    }

    proptest! {
        #[test]
        fn a_listed_name_is_the_written_name(kind in kinds()) {
            let folder = Path::from("p/clusters/prod/0001");
            let path = Path::from(format!("p/{}", name(kind).path()));
            prop_assert_eq!(parse(&folder, &path), Some(kind));
        }

        #[test]
        fn names_sort_by_revision(a in 0..i64::MAX, b in 0..i64::MAX) {
            let path = |revision| name(NameKind::Base { revision: Revision(revision), uid: Uid(0) }).path();
            prop_assert_eq!(path(a).cmp(&path(b)), a.cmp(&b));
        }
    }

    #[test]
    fn strangers_are_not_ours() {
        let folder = Path::from("clusters/prod/0001");
        for path in [
            "bases/x",
            "bases/1-2",
            "segments/0/1",
            "note",
            "segments/00/x",
            "gaps/.x",
        ] {
            assert_eq!(
                parse(&folder, &Path::from(format!("{folder}/{path}"))),
                None,
                "{path}"
            );
        }
    }
}
