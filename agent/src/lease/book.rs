//! What is known of leases, in bounded memory. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};

use revkeep_schemas::Revision;
use revkeep_schemas::segment::LeaseFact;

/// How many ids are remembered. Past it those whose fact is stored are forgotten, to be asked for and stored again.
const LIMIT: usize = 100_000;
/// How many ids that no row has named yet are taken up from one list.
const TAKEN_FROM_A_LIST: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// To be asked, or asked.
    Open,
    /// The granted TTL, in seconds.
    Granted(i64),
    /// It was gone when it was asked for.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    answer: Answer,
    /// The first row that named it.
    seen: Option<Revision>,
}

/// Ids, their answers, and what still has to be asked or stored.
///
/// An id can be granted again with another TTL after its lease has ended. A list of the living leases tells that one has
/// ended, and it is then forgotten; one that ends and is granted again between two lists keeps its first TTL.
#[derive(Debug)]
pub struct LeaseBook {
    limit: usize,
    entries: HashMap<i64, Entry>,
    /// Named by rows and not asked yet.
    urgent: VecDeque<i64>,
    /// Listed only.
    idle: VecDeque<i64>,
    /// Named by a row, and the fact is in no segment yet.
    unstored: BTreeSet<(Revision, i64)>,
    /// Those of them that have no answer yet.
    open: BTreeSet<(Revision, i64)>,
    refused: bool,
}

impl Default for LeaseBook {
    fn default() -> Self {
        Self::bounded(LIMIT)
    }
}

impl LeaseBook {
    /// A book of at most so many ids.
    #[must_use]
    pub fn bounded(limit: usize) -> Self {
        Self {
            limit,
            entries: HashMap::new(),
            urgent: VecDeque::new(),
            idle: VecDeque::new(),
            unstored: BTreeSet::new(),
            open: BTreeSet::new(),
            refused: false,
        }
    }

    /// A row of this revision names the lease. Says whether there is something new to ask.
    pub fn saw(&mut self, id: i64, revision: Revision) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            let there = self.insert(id, Answer::Open, Some(revision));
            if there {
                self.urgent.push_back(id);
                self.unstored.insert((revision, id));
                self.open.insert((revision, id));
            }
            return there;
        };
        if entry.seen.is_some() {
            return false;
        }
        entry.seen = Some(revision);
        match entry.answer {
            Answer::Granted(_) => {
                self.unstored.insert((revision, id));
                false
            }
            Answer::Open => {
                self.unstored.insert((revision, id));
                self.open.insert((revision, id));
                self.urgent.push_back(id);
                true
            }
            // A row of the past, or its id was granted again: the next list tells.
            Answer::Gone => false,
        }
    }

    /// These are all the leases that live. Says whether there is something new to ask.
    pub fn listed(&mut self, living: &[i64]) -> bool {
        let all: std::collections::HashSet<i64> = living.iter().copied().collect();
        let unstored = &self.unstored;
        self.entries.retain(|id, entry| {
            let waits = entry.answer == Answer::Open
                || entry
                    .seen
                    .is_some_and(|seen| unstored.contains(&(seen, *id)));
            waits || all.contains(id)
        });
        let mut taken = 0;
        for id in living {
            if taken == TAKEN_FROM_A_LIST {
                break;
            }
            match self.entries.get_mut(id) {
                None => {
                    if !self.insert(*id, Answer::Open, None) {
                        break;
                    }
                }
                Some(entry) if entry.answer == Answer::Gone => {
                    entry.answer = Answer::Open;
                    if let Some(seen) = entry.seen {
                        self.unstored.insert((seen, *id));
                        self.open.insert((seen, *id));
                    }
                }
                Some(_) => continue,
            }
            self.idle.push_back(*id);
            taken += 1;
        }
        taken > 0
    }

    /// A base says what the lease was granted.
    pub fn learned(&mut self, id: i64, granted_ttl_s: i64) {
        match self.entries.get(&id) {
            Some(_) => self.answered(id, Some(granted_ttl_s)),
            None => drop(self.insert(id, Answer::Granted(granted_ttl_s), None)),
        }
    }

    /// Takes up to `count` ids to ask for, those that rows name first.
    pub fn take(&mut self, count: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let Some(id) = self.urgent.pop_front().or_else(|| self.idle.pop_front()) else {
                break;
            };
            let open = self
                .entries
                .get(&id)
                .is_some_and(|entry| entry.answer == Answer::Open);
            if open && !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// The id could not be asked for: it comes back, first in line.
    pub fn put_back(&mut self, id: i64) {
        self.urgent.push_front(id);
    }

    /// The source's answer: the granted TTL in seconds, or `None` for a lease that is gone.
    pub fn answered(&mut self, id: i64, granted_ttl_s: Option<i64>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Some(seen) = entry.seen {
            self.open.remove(&(seen, id));
        }
        if let Some(granted) = granted_ttl_s {
            entry.answer = Answer::Granted(granted);
            return;
        }
        entry.answer = Answer::Gone;
        if let Some(seen) = entry.seen.take() {
            self.unstored.remove(&(seen, id));
        }
    }

    /// Whether a lease that a row up to `last` names has no answer yet.
    #[must_use]
    pub fn waits(&self, last: Revision) -> bool {
        self.open.first().is_some_and(|(first, _)| *first <= last)
    }

    /// The facts to store with the rows up to `last`; each is given once.
    pub fn facts(&mut self, last: Revision) -> Vec<LeaseFact> {
        let due = self.due(last).filter_map(|(first_seen, id)| {
            match self.entries.get(&id).map(|entry| entry.answer) {
                Some(Answer::Granted(granted_ttl_s)) => Some(LeaseFact {
                    id,
                    granted_ttl_s,
                    first_seen,
                }),
                _ => None,
            }
        });
        let facts: Vec<_> = due.collect();
        for fact in &facts {
            self.unstored.remove(&(fact.first_seen, fact.id));
        }
        facts
    }

    /// A fact that was given for a segment which is not kept after all: it is given again.
    pub fn returned(&mut self, fact: LeaseFact) {
        let known = self.entries.contains_key(&fact.id)
            || self.insert(
                fact.id,
                Answer::Granted(fact.granted_ttl_s),
                Some(fact.first_seen),
            );
        if known {
            self.unstored.insert((fact.first_seen, fact.id));
        }
    }

    fn due(&self, last: Revision) -> impl Iterator<Item = (Revision, i64)> {
        self.unstored.range(..=(last, i64::MAX)).copied()
    }

    /// Says whether there was room.
    fn insert(&mut self, id: i64, answer: Answer, seen: Option<Revision>) -> bool {
        if self.entries.len() >= self.limit {
            let unstored = &self.unstored;
            self.entries.retain(|id, entry| {
                entry
                    .seen
                    .is_some_and(|seen| unstored.contains(&(seen, *id)))
            });
        }
        if self.entries.len() >= self.limit {
            if !self.refused {
                tracing::warn!(
                    limit = self.limit,
                    "more leases than can be remembered: a restore will not know the TTL of some"
                );
                self.refused = true;
            }
            return false;
        }
        self.entries.insert(id, Entry { answer, seen });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(id: i64, granted_ttl_s: i64, first_seen: i64) -> LeaseFact {
        LeaseFact {
            id,
            granted_ttl_s,
            first_seen: Revision(first_seen),
        }
    }

    #[test]
    fn is_asked_once_and_stored_once_with_its_first_row() {
        let mut book = LeaseBook::default();
        assert!(book.saw(7, Revision(10)));
        assert!(!book.saw(7, Revision(11)));
        assert_eq!(book.take(9), [7]);
        assert_eq!(book.take(9), [0; 0]);
        assert!(!book.waits(Revision(9)));
        assert!(book.waits(Revision(10)));
        assert_eq!(book.facts(Revision(20)), []);
        book.answered(7, Some(60));
        assert!(!book.waits(Revision(20)));
        assert_eq!(book.facts(Revision(9)), []);
        assert_eq!(book.facts(Revision(20)), [fact(7, 60, 10)]);
        assert_eq!(book.facts(Revision(20)), []);
    }

    #[test]
    fn a_late_answer_goes_into_a_later_segment() {
        let mut book = LeaseBook::default();
        book.saw(7, Revision(10));
        book.take(1);
        assert_eq!(book.facts(Revision(10)), []);
        book.put_back(7);
        assert_eq!(book.take(1), [7]);
        book.answered(7, Some(60));
        assert_eq!(book.facts(Revision(30)), [fact(7, 60, 10)]);
    }

    #[test]
    fn what_a_base_or_a_list_told_needs_no_question() {
        let mut book = LeaseBook::default();
        book.learned(7, 60);
        assert!(book.listed(&[7, 8]));
        assert_eq!(book.take(9), [8]);
        book.answered(8, Some(90));
        assert!(!book.saw(7, Revision(10)));
        assert!(!book.saw(8, Revision(11)));
        assert_eq!(book.facts(Revision(11)), [fact(7, 60, 10), fact(8, 90, 11)]);
    }

    #[test]
    fn an_id_that_is_granted_again_is_asked_again() {
        let mut book = LeaseBook::default();
        book.saw(7, Revision(10));
        book.take(1);
        book.answered(7, Some(60));
        book.facts(Revision(10));
        book.listed(&[]);
        assert!(book.saw(7, Revision(20)));
        book.take(1);
        book.answered(7, Some(90));
        assert_eq!(book.facts(Revision(20)), [fact(7, 90, 20)]);
    }

    #[test]
    fn a_lease_of_the_past_is_not_asked_for_with_every_row() {
        let mut book = LeaseBook::default();
        book.saw(7, Revision(10));
        book.take(1);
        book.answered(7, None);
        assert!(!book.saw(7, Revision(11)));
        assert!(!book.saw(7, Revision(12)));
        assert_eq!(book.facts(Revision(12)), []);
        // It lives after all: granted again.
        assert!(book.listed(&[7]));
        assert_eq!(book.take(1), [7]);
        book.answered(7, Some(60));
        assert_eq!(book.facts(Revision(12)), [fact(7, 60, 11)]);
    }

    #[test]
    fn a_list_does_not_forget_what_waits_to_be_stored() {
        let mut book = LeaseBook::default();
        book.saw(7, Revision(10));
        book.take(1);
        book.answered(7, Some(60));
        book.listed(&[]);
        assert_eq!(book.facts(Revision(10)), [fact(7, 60, 10)]);
    }

    #[test]
    fn a_fact_that_was_not_kept_is_given_again() {
        let mut book = LeaseBook::default();
        book.saw(7, Revision(10));
        book.take(1);
        book.answered(7, Some(60));
        for fact in book.facts(Revision(10)) {
            // It has ended meanwhile.
            book.listed(&[]);
            book.returned(fact);
        }
        book.listed(&[]);
        assert_eq!(book.facts(Revision(20)), [fact(7, 60, 10)]);
        assert_eq!(book.facts(Revision(20)), []);
    }

    #[test]
    fn memory_is_bounded() {
        let mut book = LeaseBook::bounded(10);
        for id in 0..10 {
            assert!(book.saw(id, Revision(id + 2)));
        }
        assert!(!book.saw(10, Revision(20)));
        for id in book.take(10) {
            book.answered(id, Some(60));
        }
        assert_eq!(book.facts(Revision(20)).len(), 10);
        assert!(book.saw(10, Revision(21)));
        assert_eq!(book.entries.len(), 1);
    }
}
