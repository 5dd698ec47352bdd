//! Which keys are wanted.

use revkeep_schemas::key_filter::KeyFilter;
use revkeep_schemas::segment::Frame;

/// Which keys are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// This one.
    Key(Vec<u8>),
    /// All that begin with this; all there are where it is empty.
    Prefix(Vec<u8>),
    /// This one and all behind it.
    From(Vec<u8>),
}

impl Selection {
    /// Whether a key is wanted. The empty key, that of the row of a bumped revision, is no key and never wanted.
    #[must_use]
    pub fn wants(&self, key: &[u8]) -> bool {
        !key.is_empty()
            && match self {
                Self::Key(wanted) => key == wanted,
                Self::Prefix(prefix) => key.starts_with(prefix),
                Self::From(from) => key >= from.as_slice(),
            }
    }

    /// Whether a piece may hold a wanted key; `false` is certain.
    pub(super) fn may_be_in(&self, piece: Piece<'_>) -> bool {
        match (self, piece) {
            (Self::Key(key), piece) => piece.may_hold(key),
            (Self::Prefix(prefix), Piece::Frame(frame)) => frame.may_hold_prefix(prefix),
            (Self::Prefix(prefix), Piece::Chunk(keys)) => {
                keys.is_none_or(|keys| keys.may_hold_prefix(prefix))
            }
            (Self::From(from), Piece::Frame(frame)) => frame
                .max_key
                .as_deref()
                .is_none_or(|max| max >= from.as_slice()),
            (Self::From(_), Piece::Chunk(_)) => true,
        }
    }
}

/// What is known of a piece before it is fetched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    /// A frame of a segment.
    Frame(&'a Frame),
    /// A chunk of a base, with its filter if it has one.
    Chunk(Option<&'a KeyFilter>),
}

impl Piece<'_> {
    /// Whether it may hold a key; `false` is certain.
    pub(super) fn may_hold(self, key: &[u8]) -> bool {
        match self {
            Self::Frame(frame) => frame.may_hold(key),
            Self::Chunk(keys) => keys.is_none_or(|keys| keys.may_hold(key)),
        }
    }
}
