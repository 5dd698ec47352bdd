//! Events on their way, kept once for all clients that get them.

use std::mem::size_of;
use std::sync::Arc;

use prost::Message as _;
use revkeep_schemas::etcd_api::mvccpb::Event;

use crate::mvcc::RevisionEvents;

/// Events in order, with what each of them takes.
#[derive(Debug)]
pub(super) struct EventList {
    events: Vec<Event>,
    bytes: Vec<usize>,
    total_bytes: usize,
}

impl EventList {
    pub(super) fn new(revisions: Vec<RevisionEvents>) -> Arc<Self> {
        let events: Vec<Event> = revisions
            .into_iter()
            .flat_map(|revision| revision.events)
            .collect();
        let bytes: Vec<usize> = events.iter().map(Event::encoded_len).collect();
        Arc::new(Self {
            total_bytes: bytes.iter().sum(),
            events,
            bytes,
        })
    }

    /// Every event with its place, key, revision and encoded length.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Event, &[u8], i64, usize)> {
        let places = 0_u32..;
        places
            .zip(self.events.iter().zip(&self.bytes))
            .filter_map(|(place, (event, &bytes))| {
                let kv = event.kv.as_ref()?;
                Some((place, event, &kv.key[..], kv.mod_revision, bytes))
            })
    }

    /// The events at `places`, which have `bytes` bytes. Keeps the list itself only where they are most of it, so that a
    /// slow client never holds on to much more than what it will get.
    pub(super) fn pick(self: &Arc<Self>, places: Vec<u32>, bytes: usize) -> Picked {
        if bytes >= self.total_bytes / 2 {
            Picked::Shared(Arc::clone(self), places)
        } else {
            Picked::Own(self.at(&places))
        }
    }

    fn at(&self, places: &[u32]) -> Vec<Event> {
        let at = |place: &u32| self.events.get(usize::try_from(*place).ok()?).cloned();
        places.iter().filter_map(at).collect()
    }
}

/// Some events of a list.
#[derive(Debug)]
pub(super) enum Picked {
    Shared(Arc<EventList>, Vec<u32>),
    Own(Vec<Event>),
}

impl Picked {
    pub(super) fn into_events(self) -> Vec<Event> {
        match self {
            Self::Shared(list, places) => list.at(&places),
            Self::Own(events) => events,
        }
    }
}

/// What so many events of so many encoded bytes take in memory, about.
pub(super) fn weight(events: usize, bytes: usize) -> usize {
    bytes + events * size_of::<Event>()
}
