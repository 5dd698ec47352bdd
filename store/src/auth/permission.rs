//! What the roles of one user allow, as unions of key ranges.

use bytes::Bytes;
use revkeep_schemas::etcd_api::authpb::{Permission, permission};

/// What a request wants to do with a range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Put or delete in it.
    Write,
}

/// The rights of one user, merged over all roles.
///
/// A range may be covered by several grants of several roles together, as long as they leave no hole (etcd,
/// `server/auth/range_perm_cache.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    read: Union,
    write: Union,
}

impl Permissions {
    /// Merges grants.
    pub fn merge<'a>(grants: impl IntoIterator<Item = &'a Permission>) -> Self {
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for grant in grants {
            let range = Span::of_grant(grant);
            match grant.perm_type() {
                permission::Type::Read => read.push(range),
                permission::Type::Write => write.push(range),
                permission::Type::Readwrite => {
                    read.push(range.clone());
                    write.push(range);
                }
            }
        }
        Self {
            read: Union::new(read),
            write: Union::new(write),
        }
    }

    /// Whether every key of the range may be accessed so. The range is spelled as in requests: an empty end is the one
    /// key, a zero byte has no upper end.
    pub fn allow(&self, access: Access, key: &[u8], range_end: &[u8]) -> bool {
        let union = match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        };
        union.covers(key, range_end)
    }
}

/// Whether a grant's range is one: the key is not empty, and the end is empty, a zero byte, or behind the key (etcd,
/// `isValidPermissionRange`).
pub(super) fn is_valid_range(key: &[u8], range_end: &[u8]) -> bool {
    !key.is_empty() && (range_end.is_empty() || range_end == [0] || key < range_end)
}

/// A range of keys; no end means that it has no upper one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    begin: Bytes,
    end: Option<Bytes>,
}

impl Span {
    fn of_grant(grant: &Permission) -> Self {
        let end = if grant.range_end.is_empty() {
            Some(successor(&grant.key))
        } else {
            (grant.range_end != [0].as_slice()).then(|| grant.range_end.clone())
        };
        Self {
            begin: grant.key.clone(),
            end,
        }
    }
}

/// The smallest key behind `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// Spans that neither overlap nor touch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Union {
    spans: Vec<Span>,
}

impl Union {
    fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_by(|a, b| a.begin.cmp(&b.begin));
        let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| *end >= span.begin) => {
                    if last.end.is_some() && (span.end.is_none() || span.end > last.end) {
                        last.end = span.end;
                    }
                }
                _ => merged.push(span),
            }
        }
        Self { spans: merged }
    }

    fn covers(&self, key: &[u8], range_end: &[u8]) -> bool {
        let after = self.spans.partition_point(|span| *span.begin <= *key);
        let Some(span) = after.checked_sub(1).and_then(|last| self.spans.get(last)) else {
            return false;
        };
        let Some(end) = &span.end else { return true };
        match range_end {
            [] => key < &end[..],
            [0] => false,
            _ => key < &end[..] && range_end <= &end[..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grant(kind: permission::Type, key: &[u8], range_end: &[u8]) -> Permission {
        Permission {
            perm_type: kind.into(),
            key: Bytes::copy_from_slice(key),
            range_end: Bytes::copy_from_slice(range_end),
        }
    }

    #[test]
    fn neighbouring_grants_cover_a_range_together() {
        let permissions = Permissions::merge(&[
            grant(permission::Type::Read, b"a", b"b"),
            grant(permission::Type::Readwrite, b"b", b"d"),
        ]);
        assert!(permissions.allow(Access::Read, b"a", b"d"));
        assert!(!permissions.allow(Access::Write, b"a", b"d"));
        assert!(permissions.allow(Access::Write, b"b", b"d"));
        assert!(!permissions.allow(Access::Read, b"a", b"d\0"));
        assert!(!permissions.allow(Access::Read, b"a", &[0]));
    }

    #[test]
    fn a_grant_without_an_upper_end_covers_what_lies_behind() {
        let permissions = Permissions::merge(&[grant(permission::Type::Read, b"m", &[0])]);
        assert!(permissions.allow(Access::Read, b"m", &[0]));
        assert!(permissions.allow(Access::Read, &[0xff; 9], b""));
        assert!(!permissions.allow(Access::Read, b"l", &[0]));
        let everything = Permissions::merge(&[grant(permission::Type::Readwrite, &[0], &[0])]);
        assert!(everything.allow(Access::Write, &[0], &[0]));
    }

    #[test]
    fn a_range_is_refused_when_it_is_none() {
        assert!(is_valid_range(b"a", b""));
        assert!(is_valid_range(b"a", &[0]));
        assert!(is_valid_range(b"a", b"b"));
        assert!(!is_valid_range(b"b", b"a"));
        assert!(!is_valid_range(b"b", b"b"));
        assert!(!is_valid_range(b"", b"b"));
    }

    /// Keys of the brute force: all strings over two letters up to three long, in order.
    fn universe() -> Vec<Vec<u8>> {
        let mut keys = vec![vec![]];
        for length in 1..=3_u32 {
            for word in 0..2_u32.pow(length) {
                keys.push(
                    (0..length)
                        .map(|bit| b'a' + u8::from(word >> (length - 1 - bit) & 1 == 1))
                        .collect(),
                );
            }
        }
        keys.sort();
        keys.retain(|key| !key.is_empty());
        keys
    }

    fn inside(probe: &[u8], key: &[u8], range_end: &[u8]) -> bool {
        match range_end {
            [] => probe == key,
            [0] => probe >= key,
            _ => probe >= key && probe < range_end,
        }
    }

    proptest! {
        /// A key is a point of a discrete order only if every successor is probed too; the probes hold each key of the
        /// universe, and what comes right behind it.
        #[test]
        fn agrees_with_brute_force(
            grants in proptest::collection::vec((0_usize..14, 0_usize..16, 0_i32..3), 0..8),
            asked in (0_usize..14, 0_usize..16), write in any::<bool>(),
        ) {
            let universe = universe();
            let range = |(from, to): (usize, usize)| {
                let key = universe[from].clone();
                let end = match to { 14 => vec![], 15 => vec![0], _ => universe[to].clone() };
                (key, end)
            };
            let grants: Vec<_> = grants
                .iter()
                .map(|&(from, to, kind)| (range((from, to)), kind))
                .filter(|((key, end), _)| is_valid_range(key, end))
                .map(|((key, end), kind)| Permission {
                    perm_type: kind, key: key.into(), range_end: end.into(),
                })
                .collect();
            let (key, end) = range(asked);
            prop_assume!(is_valid_range(&key, &end));
            let access = if write { Access::Write } else { Access::Read };

            let mut probes = universe.clone();
            probes.extend(universe.iter().map(|key| [key.as_slice(), &[0]].concat()));
            probes.push(vec![0xff; 5]);
            let allowed = probes.iter().filter(|probe| inside(probe, &key, &end)).all(|probe| {
                grants.iter().any(|grant| {
                    let kind = match grant.perm_type() {
                        permission::Type::Read => !write,
                        permission::Type::Write => write,
                        permission::Type::Readwrite => true,
                    };
                    kind && inside(probe, &grant.key, &grant.range_end)
                })
            });
            let merged = Permissions::merge(&grants);
            prop_assert_eq!(merged.allow(access, &key, &end), allowed);
        }
    }
}
