//! What bytes are that are not what they should be.

use bytes::Bytes;
use revkeep_schemas::envelope::{self, Envelope, Identity, Kind};
use revkeep_schemas::manifest::decode_chunk;
use revkeep_schemas::segment::SegmentReader;
use revkeep_schemas::{FormatError, Revision};

use super::finding::Wrong;

/// What is wrong with bytes that a decoder refused.
pub(super) fn identify(
    object: &Bytes,
    asked: Option<&Identity>,
    error: &FormatError,
) -> (Wrong, String) {
    if let FormatError::Unsupported { .. } = error {
        let reason = format!("{error}; or the bytes that say so are damaged");
        return (Wrong::Unreadable, reason);
    }
    match sound_in_itself(object) {
        Some(found) if asked.is_some_and(|asked| *asked != found) => (
            Wrong::Misplaced,
            format!("in its place stands {}, whole", describe(&found)),
        ),
        _ => (Wrong::Damaged, error.to_string()),
    }
}

/// What an object says it is, if all of its hashes are right.
fn sound_in_itself(object: &Bytes) -> Option<Identity> {
    let identity = Envelope::decode(object).ok()?.identity;
    let sound = match identity.kind {
        Kind::Segment => SegmentReader::open(object.clone(), &identity).is_ok(),
        Kind::Chunk => decode_chunk(object, &identity).is_ok(),
        _ => envelope::open(object, &identity).is_ok(),
    };
    sound.then_some(identity)
}

fn describe(identity: &Identity) -> String {
    let kind = format!("a {:?}", identity.kind).to_lowercase();
    let name = Some(&identity.name).filter(|name| !name.is_empty());
    let range = (identity.last > Revision::ZERO)
        .then(|| format!("revisions {} to {}", identity.first, identity.last));
    let parts = [
        Some(kind),
        name.map(|name| format!("named {name}")),
        identity.cluster.as_ref().map(|name| format!("of {name}")),
        identity.timeline.map(|id| format!("timeline {id}")),
        range,
        Some(format!("of vault {}", identity.vault)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
