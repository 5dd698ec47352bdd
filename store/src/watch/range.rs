//! The keys of one watcher.

use bytes::Bytes;

/// One key, or the keys from a first one on up to an end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRange {
    /// One key.
    Key(Bytes),
    /// The keys from `begin` on, below `end` where there is one.
    Range {
        /// The first key.
        begin: Bytes,
        /// One past the last key; `None` for no upper end.
        end: Option<Bytes>,
    },
}

impl KeyRange {
    /// A range as requests spell it: no end is one key, a zero byte no upper end; no key is the smallest one. `None` when
    /// no key can lie in it.
    pub fn from_request(key: Bytes, range_end: Bytes) -> Option<Self> {
        let begin = if key.is_empty() {
            Bytes::from_static(&[0])
        } else {
            key
        };
        match &range_end[..] {
            [] => Some(Self::Key(begin)),
            [0] => Some(Self::Range { begin, end: None }),
            end => (begin[..] < *end).then_some(Self::Range {
                begin,
                end: Some(range_end),
            }),
        }
    }

    /// Whether a key lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Range { begin, end } => {
                key >= &begin[..] && end.as_ref().is_none_or(|end| key < &end[..])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static [u8], end: &'static [u8]) -> Option<KeyRange> {
        KeyRange::from_request(Bytes::from_static(key), Bytes::from_static(end))
    }

    #[test]
    fn is_spelled_as_requests_spell_it() {
        assert!(range(b"b", b"").unwrap().contains(b"b"));
        assert!(!range(b"b", b"").unwrap().contains(b"b\0"));
        assert!(range(b"b", &[0]).unwrap().contains(&[0xff; 3]));
        assert!(!range(b"b", &[0]).unwrap().contains(b"a"));
        assert!(range(b"b", b"c").unwrap().contains(b"bzz"));
        assert!(!range(b"b", b"c").unwrap().contains(b"c"));
        assert!(range(b"", &[0]).unwrap().contains(&[0]));
        assert_eq!(range(b"c", b"c"), None);
        assert_eq!(range(b"c", b"b"), None);
    }
}
