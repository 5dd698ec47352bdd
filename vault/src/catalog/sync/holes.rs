//! Holes as the catalog answers with them.

pub(in crate::catalog) use crate::holes::{Deleted, Hole, Range, holes};

impl From<Hole> for crate::catalog::query::Hole {
    fn from(hole: Hole) -> Self {
        Self {
            first: hole.first,
            last: hole.last,
            kind: hole.kind.to_owned(),
            reason: hole.reason,
        }
    }
}
