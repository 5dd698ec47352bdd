//! The keys at every revision, by the events alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use revkeep_schemas::etcd_api::{
    etcdserverpb::{Compare, PutRequest, compare, request_op},
    mvccpb::{Event, KeyValue, event::EventType},
};

use super::record::Call;

/// The keys at one revision.
pub type State = BTreeMap<Bytes, KeyValue>;

/// What a change does to a key: its new value and lease, or nothing left.
pub type Effect = (Bytes, Option<(Bytes, i64)>);

/// The state after a revision's events; an error if they do not follow from the one before.
pub fn follow(before: &State, revision: i64, events: &[Event]) -> Result<State, String> {
    let mut state = before.clone();
    for event in events {
        let kv = event.kv.clone().unwrap_or_default();
        if kv.mod_revision != revision {
            return Err(format!(
                "revision {revision} has an event of another: {kv:?}"
            ));
        }
        if event.r#type() == EventType::Delete {
            if state.remove(&kv.key).is_none() {
                return Err(format!(
                    "revision {revision} deletes what is not there: {kv:?}"
                ));
            }
            continue;
        }
        let (create, version) = match state.get(&kv.key) {
            Some(old) => (old.create_revision, old.version + 1),
            None => (revision, 1),
        };
        if (kv.create_revision, kv.version) != (create, version) {
            return Err(format!(
                "revision {revision} has {kv:?}, not created at {create} with version {version}"
            ));
        }
        state.insert(kv.key.clone(), kv);
    }
    Ok(state)
}

/// What events do.
pub fn effects_of(events: &[Event]) -> Vec<Effect> {
    let effect = |event: &Event| {
        let kv = event.kv.clone().unwrap_or_default();
        let put = event.r#type() == EventType::Put;
        (kv.key, put.then_some((kv.value, kv.lease)))
    };
    events.iter().map(effect).collect()
}

/// What a call does to a state; nothing for one that only reads.
pub fn effects_on(state: &State, call: &Call) -> Vec<Effect> {
    match call {
        Call::Put(put) => vec![effect_of(put)],
        Call::Delete(delete) => keys_in(state, &delete.key, &delete.range_end)
            .into_iter()
            .map(|kv| (kv.key, None))
            .collect(),
        Call::Txn(txn) => {
            let branch = if txn.compare.iter().all(|compare| holds(state, compare)) {
                &txn.success
            } else {
                &txn.failure
            };
            let requests = branch.iter().filter_map(|op| op.request.as_ref());
            let effects = requests.flat_map(|request| match request {
                request_op::Request::RequestPut(put) => vec![effect_of(put)],
                // Never of a key that the same transaction writes.
                request_op::Request::RequestDeleteRange(delete) => {
                    effects_on(state, &Call::Delete(delete.clone()))
                }
                _ => Vec::new(),
            });
            effects.collect()
        }
        Call::Range(_) | Call::Grant { .. } | Call::Revoke { .. } | Call::Compact { .. } => {
            Vec::new()
        }
    }
}

fn effect_of(put: &PutRequest) -> Effect {
    (put.key.clone(), Some((put.value.clone(), put.lease)))
}

/// Whether a comparison of a key's revision holds.
pub fn holds(state: &State, compare: &Compare) -> bool {
    let found = state.get(&compare.key).map_or(0, |kv| kv.mod_revision);
    compare.target_union == Some(compare::TargetUnion::ModRevision(found))
}

/// The keys of a range.
pub fn keys_in(state: &State, key: &[u8], range_end: &[u8]) -> Vec<KeyValue> {
    let inside = |found: &[u8]| match range_end {
        b"" => found == key,
        b"\0" => found >= key,
        end => found >= key && found < end,
    };
    let inside = state.iter().filter(|(found, _)| inside(found));
    inside.map(|(_, kv)| kv.clone()).collect()
}

/// The values that only this call writes.
pub fn values_of(call: &Call) -> Vec<Bytes> {
    match call {
        Call::Put(put) => vec![put.value.clone()],
        Call::Txn(txn) => txn
            .success
            .iter()
            .filter_map(|op| match &op.request {
                Some(request_op::Request::RequestPut(put)) => Some(put.value.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}
