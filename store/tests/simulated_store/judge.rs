//! Whether what clients saw can be true.
//!
//! Revisions say in which order writes took effect. So a history is linearizable if and only if every answer is the one
//! that the replay of that order gives at its revision, and the order agrees with time: what ended before something else
//! began has no higher revision, and a lower one if the other is a write.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use revkeep_schemas::etcd_api::{
    etcdserverpb::{TxnRequest, TxnResponse, response_op},
    mvccpb::{Event, KeyValue, event::EventType},
};

use super::{
    audit::Audit,
    record::{Answer, Call, Operation, Record, Watched},
    replay::{State, effects_of, effects_on, follow, holds, keys_in, values_of},
    watcher::revision_of,
};

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub writes: usize,
    pub reads: usize,
    pub unanswered: usize,
    pub watched: usize,
    pub expired: usize,
}

struct Judge<'a> {
    record: &'a Record,
    /// The state at each revision, from 0.
    states: Vec<State>,
    last: i64,
}

/// Judges a history against what all members hold in the end.
pub fn judge(record: &Record, audit: &Audit) -> Result<Verdict, String> {
    if let Some(failure) = record.failures.first() {
        return Err(format!("{failure} ({} such)", record.failures.len()));
    }
    let mut states = vec![State::new(), State::new()];
    // A lease may have ended after the members were compared.
    let last = record.complete.max(audit.revision);
    for revision in 2..=last {
        let events = record.events.get(&revision);
        let events = events.ok_or_else(|| format!("nobody got the events of {revision}"))?;
        let state = follow(&states[states.len() - 1], revision, events)?;
        states.push(state);
    }
    let judge = Judge {
        record,
        states,
        last,
    };
    let rows: Vec<KeyValue> = judge.state(audit.revision).values().cloned().collect();
    if rows != audit.rows {
        return Err(format!(
            "the members do not hold what the events of all revisions come to: {:?} is not {rows:?}",
            audit.rows
        ));
    }
    let places = judge.place_writes()?;
    let expired = judge.explain_the_rest(&places)?;
    for operation in &record.operations {
        judge.check_answer(operation).map_err(|why| {
            format!(
                "{why}: {} on {}: {operation:?}",
                operation.client, operation.member
            )
        })?;
    }
    judge.check_order(&places)?;
    for watched in &record.watched {
        judge.check_watched(watched)?;
    }
    let answered = |operation: &&Operation| operation.end.is_some();
    let reads = |operation: &&Operation| matches!(operation.call, Call::Range(_));
    Ok(Verdict {
        writes: places.len(),
        reads: record
            .operations
            .iter()
            .filter(answered)
            .filter(reads)
            .count(),
        unanswered: record
            .operations
            .iter()
            .filter(|one| one.end.is_none())
            .count(),
        watched: record
            .watched
            .iter()
            .map(|watched| watched.events.len())
            .sum(),
        expired,
    })
}

impl Judge<'_> {
    fn state(&self, revision: i64) -> &State {
        &self.states[usize::try_from(revision).unwrap()]
    }

    fn events(&self, revision: i64) -> &[Event] {
        self.record.events.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// Which operation made which revision: each at most one, and what it asked for.
    fn place_writes(&self) -> Result<BTreeMap<usize, i64>, String> {
        let mut writers: BTreeMap<Bytes, usize> = BTreeMap::new();
        for (number, operation) in self.record.operations.iter().enumerate() {
            for value in values_of(&operation.call) {
                writers.insert(value, number);
            }
        }
        let mut places: BTreeMap<usize, i64> = BTreeMap::new();
        for revision in 2..=self.last {
            let mut found = BTreeSet::new();
            for event in self.events(revision) {
                if event.r#type() == EventType::Put {
                    let value = event.kv.clone().unwrap_or_default().value;
                    let writer = writers.get(&value).copied();
                    found.insert(writer.ok_or_else(|| format!("nobody wrote {value:?}"))?);
                }
            }
            if found.len() > 1 {
                return Err(format!("revision {revision} has two operations: {found:?}"));
            }
            for number in found {
                if let Some(first) = places.insert(number, revision) {
                    let operation = &self.record.operations[number];
                    return Err(format!(
                        "applied twice, at {first} and {revision}: {operation:?}"
                    ));
                }
            }
        }
        let mut taken: BTreeMap<i64, usize> =
            places.iter().map(|(number, at)| (*at, *number)).collect();
        for (number, operation) in self.record.operations.iter().enumerate() {
            let Some(told) = wrote_at(operation) else {
                continue;
            };
            if places.get(&number).is_some_and(|found| *found != told) || told > self.last {
                return Err(format!(
                    "acknowledged at {told}, found at {:?} of {}: {operation:?}",
                    places.get(&number),
                    self.last
                ));
            }
            if let Some(other) = taken.insert(told, number).filter(|other| *other != number) {
                return Err(format!(
                    "revision {told} was given to two: {operation:?} and {:?}",
                    self.record.operations[other]
                ));
            }
            places.insert(number, told);
        }
        for (number, revision) in &places {
            let call = &self.record.operations[*number].call;
            let expected = effects_on(self.state(revision - 1), call);
            let found = effects_of(self.events(*revision));
            if expected != found {
                return Err(format!(
                    "revision {revision} should be {expected:?} and is {found:?}: {:?}",
                    self.record.operations[*number]
                ));
            }
        }
        Ok(places)
    }

    /// Revisions without a known writer are deletions that were not acknowledged, or the end of a lease. Returns how
    /// many leases ended.
    fn explain_the_rest(&self, places: &BTreeMap<usize, i64>) -> Result<usize, String> {
        let known: BTreeSet<i64> = places.values().copied().collect();
        let mut used = BTreeSet::new();
        let mut ended = 0;
        for revision in (2..=self.last).filter(|revision| !known.contains(revision)) {
            let before = self.state(revision - 1);
            let effects = effects_of(self.events(revision));
            let leases: BTreeSet<i64> = effects
                .iter()
                .map(|(key, _)| before.get(key).map_or(0, |kv| kv.lease))
                .collect();
            let is_lease = leases.len() == 1 && !leases.contains(&0) && {
                let left = self.state(revision).values();
                let mut left = left.map(|kv| kv.lease);
                effects.is_sorted() && !left.any(|lease| leases.contains(&lease))
            };
            let mut unanswered = self.record.operations.iter().enumerate();
            let deletion = unanswered.find(|(number, operation)| {
                operation.end.is_none()
                    && !used.contains(number)
                    && effects_on(before, &operation.call) == effects
            });
            if is_lease {
                ended += 1;
            } else if let Some((number, _)) = deletion {
                used.insert(number);
            } else {
                return Err(format!("nobody asked for revision {revision}: {effects:?}"));
            }
        }
        Ok(ended)
    }

    fn check_answer(&self, operation: &Operation) -> Result<(), String> {
        let Some((_, answer)) = &operation.end else {
            return Ok(());
        };
        let at = answer.revision().unwrap_or_default();
        if at > self.last {
            return Err(format!("it saw revision {at} of {}", self.last));
        }
        let before = self.state((at - 1).max(0));
        match (&operation.call, answer) {
            (Call::Put(put), Answer::Put(answer)) => same(
                "the value before",
                answer.prev_kv.as_ref(),
                before.get(&put.key),
            ),
            (Call::Delete(delete), Answer::Delete(answer)) => {
                let state = if answer.deleted > 0 {
                    before
                } else {
                    self.state(at)
                };
                let found = keys_in(state, &delete.key, &delete.range_end);
                same("the number deleted", answer.deleted, found.len() as i64)?;
                same("what was deleted", &answer.prev_kvs, &found)
            }
            (Call::Range(range), Answer::Range(answer)) => {
                let read = if range.revision > 0 {
                    range.revision
                } else {
                    at
                };
                let found = keys_in(self.state(read), &range.key, &range.range_end);
                same("the count", answer.count, found.len() as i64)?;
                same("the keys", &answer.kvs, &found)
            }
            (Call::Txn(txn), Answer::Txn(answer)) => self.check_txn(txn, answer, at),
            _ => Ok(()),
        }
    }

    fn check_txn(&self, txn: &TxnRequest, answer: &TxnResponse, at: i64) -> Result<(), String> {
        let before = self.state(at - 1);
        if !answer.succeeded {
            let state = self.state(at);
            let all = txn.compare.iter().all(|compare| holds(state, compare));
            same("whether the comparison holds", all, false)?;
            let key = &txn.compare[0].key;
            let Some(response_op::Response::ResponseRange(range)) = &answer.responses[0].response
            else {
                return Err("the answer is of another kind".to_owned());
            };
            return same("the key", range.kvs.first(), state.get(key));
        }
        let all = txn.compare.iter().all(|compare| holds(before, compare));
        same("whether the comparison holds", all, true)?;
        let events = self.events(at);
        for (place, answer) in answer.responses.iter().enumerate() {
            match &answer.response {
                Some(response_op::Response::ResponsePut(put)) => {
                    let event = if place == 0 {
                        events.first()
                    } else {
                        events.last()
                    };
                    let key = event
                        .and_then(|event| event.kv.clone())
                        .unwrap_or_default()
                        .key;
                    same("the value before", put.prev_kv.as_ref(), before.get(&key))?;
                }
                Some(response_op::Response::ResponseRange(range)) => {
                    // It is behind the first put.
                    let first = events.first().and_then(|event| event.kv.clone());
                    let mut state = before.clone();
                    state.extend(first.map(|kv| (kv.key.clone(), kv)));
                    let found: Vec<KeyValue> = state.into_values().collect();
                    same("the keys inside", &range.kvs, &found)?;
                }
                Some(response_op::Response::ResponseDeleteRange(delete)) => {
                    same(
                        "the number deleted",
                        delete.deleted,
                        events.len() as i64 - 1,
                    )?;
                }
                _ => return Err("the answer is of another kind".to_owned()),
            }
        }
        Ok(())
    }

    fn check_order(&self, places: &BTreeMap<usize, i64>) -> Result<(), String> {
        // When, whether it begins, its revision, whether it is a write, and who.
        let mut points: Vec<(Duration, bool, i64, bool, usize)> = Vec::new();
        for (number, operation) in self.record.operations.iter().enumerate() {
            let told = operation
                .end
                .as_ref()
                .and_then(|(_, answer)| answer.revision());
            let place = places.get(&number).copied();
            let Some(revision) = place.or(told) else {
                continue;
            };
            let stale = matches!(&operation.call, Call::Range(range) if range.serializable);
            if !stale {
                points.push((operation.start, true, revision, place.is_some(), number));
            }
            if let Some((end, _)) = operation.end {
                points.push((end, false, revision, place.is_some(), number));
            }
        }
        // At the same moment beginnings come first: they overlap.
        points.sort_by_key(|(when, begins, ..)| (*when, !begins));
        let mut seen = (0, 0);
        for (when, begins, revision, is_write, number) in points {
            if !begins {
                seen = seen.max((revision, number));
            } else if revision < seen.0 || (is_write && revision == seen.0) {
                return Err(format!(
                    "began at {when:?} and has revision {revision}, but {} had been seen before: {:?} and {:?}",
                    seen.0, self.record.operations[number], self.record.operations[seen.1]
                ));
            }
        }
        Ok(())
    }

    /// A watcher has got every event of what it watched, once and in order, from where it began to where it was.
    fn check_watched(&self, watched: &Watched) -> Result<(), String> {
        let compacted =
            self.record
                .operations
                .iter()
                .filter_map(|operation| match operation.call {
                    Call::Compact { revision } => Some(revision),
                    _ => None,
                });
        let compacted = compacted.max().unwrap_or_default();
        let expected = (watched.from.max(2)..=watched.upto.min(self.last))
            .flat_map(|revision| self.events(revision))
            .filter(|event| {
                let kv = event.kv.as_ref();
                watched.key.is_none() || kv.map(|kv| kv.key.as_ref()) == watched.key.as_deref()
            });
        let (mut expected, mut got) = (
            expected,
            watched
                .events
                .iter()
                .filter(|event| revision_of(event) <= self.last),
        );
        loop {
            let (expected, got) = match (expected.next(), got.next()) {
                (None, None) => return Ok(()),
                pair => pair,
            };
            let bare = got.cloned().map(|mut event| {
                event.prev_kv = None;
                event
            });
            same(
                &format!(
                    "{} on {} from {} to {}: an event",
                    watched.watcher, watched.member, watched.from, watched.upto
                ),
                bare.as_ref(),
                expected,
            )?;
            let Some(got) = got else { continue };
            let (revision, key) = (revision_of(got), got.kv.clone().unwrap_or_default().key);
            let before = self.state(revision - 1).get(&key);
            if got.prev_kv.is_some() || compacted < revision {
                same(
                    "what a watcher was told was there before",
                    got.prev_kv.as_ref(),
                    before,
                )?;
            }
        }
    }
}

/// The revision that an acknowledged operation made, if it changed something.
fn wrote_at(operation: &Operation) -> Option<i64> {
    let (_, answer) = operation.end.as_ref()?;
    let wrote = match answer {
        Answer::Put(_) => true,
        Answer::Delete(answer) => answer.deleted > 0,
        Answer::Txn(answer) => answer.succeeded,
        Answer::Range(_) | Answer::Done(_) => false,
    };
    answer.revision().filter(|_| wrote)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what} is {got:?} and should be {expected:?}"))
}
