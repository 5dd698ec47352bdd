//! What clients did and saw, and whether that can be true.

use std::{collections::BTreeMap, time::Duration};

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wrote something nobody else writes; once acknowledged, the revision it got.
    Write { what: String, revision: Option<u64> },
    /// Read how many revisions there are, without accepting a stale answer.
    Read { revision: Option<u64> },
}

#[derive(Clone, Debug)]
struct Operation {
    kind: Kind,
    start: Duration,
    end: Option<Duration>,
}

/// What clients did and saw, in the simulation's one time.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
}

impl History {
    /// A client begins; the number names the operation.
    pub fn begin(&mut self, kind: Kind, now: Duration) -> usize {
        self.operations.push(Operation {
            kind,
            start: now,
            end: None,
        });
        self.operations.len() - 1
    }

    /// The client was answered.
    pub fn end(&mut self, number: usize, answer: u64, now: Duration) {
        let operation = &mut self.operations[number];
        operation.end = Some(now);
        match &mut operation.kind {
            Kind::Write { revision, .. } | Kind::Read { revision } => *revision = Some(answer),
        }
    }

    pub fn acknowledged_writes(&self) -> usize {
        let writes = self.operations.iter().filter(|operation| {
            matches!(operation.kind, Kind::Write { .. }) && operation.end.is_some()
        });
        writes.count()
    }

    pub fn answered_reads(&self) -> usize {
        let reads = self.operations.iter().filter(|operation| {
            matches!(operation.kind, Kind::Read { .. }) && operation.end.is_some()
        });
        reads.count()
    }

    /// Judges the history against what was written in the end, in order: the first is revision 1.
    ///
    /// Revisions say in which order writes took effect, so a history is linearizable if and only if what came back is
    /// in that order (every write once, at the revision it was told) and that order agrees with time: an operation
    /// that ended before another began has a revision not above the other's, and below it if the other is a write.
    pub fn judge(&self, rows: &[String]) -> Result<(), String> {
        let mut place: BTreeMap<&str, u64> = BTreeMap::new();
        for (revision, what) in (1..).zip(rows) {
            if let Some(first) = place.insert(what, revision) {
                return Err(format!(
                    "{what} was applied twice, at {first} and {revision}"
                ));
            }
        }
        let mut points: Vec<(Duration, bool, u64, bool, String)> = Vec::new();
        for operation in &self.operations {
            let (is_write, revision, what) = match &operation.kind {
                Kind::Write { what, revision } => {
                    let found = place.get(what.as_str()).copied();
                    if let (Some(told), found) = (revision, found)
                        && found != Some(*told)
                    {
                        return Err(format!(
                            "{what} was acknowledged at {told} and is at {found:?}"
                        ));
                    }
                    (true, found, what.clone())
                }
                Kind::Read { revision } => (false, *revision, "a read".to_owned()),
            };
            let Some(revision) = revision else { continue };
            if revision > rows.len() as u64 {
                return Err(format!("{what} saw revision {revision} of {}", rows.len()));
            }
            points.push((operation.start, true, revision, is_write, what.clone()));
            if let Some(end) = operation.end {
                points.push((end, false, revision, is_write, what));
            }
        }
        self.check_invented(&place)?;
        // At the same moment starts come first: they overlap.
        points.sort_by_key(|(when, is_start, ..)| (*when, !is_start));
        let mut seen = (0, String::new());
        for (when, is_start, revision, is_write, what) in points {
            if !is_start {
                if revision > seen.0 {
                    seen = (revision, what);
                }
            } else if revision < seen.0 || (is_write && revision == seen.0) {
                return Err(format!(
                    "{what} began at {when:?} and got revision {revision}, but {} had seen {} before",
                    seen.1, seen.0
                ));
            }
        }
        Ok(())
    }

    fn check_invented(&self, place: &BTreeMap<&str, u64>) -> Result<(), String> {
        let written: std::collections::BTreeSet<&str> = self
            .operations
            .iter()
            .filter_map(|operation| match &operation.kind {
                Kind::Write { what, .. } => Some(what.as_str()),
                Kind::Read { .. } => None,
            })
            .collect();
        let invented = place.keys().find(|what| !written.contains(*what));
        invented.map_or(Ok(()), |what| Err(format!("nobody wrote {what}")))
    }
}
