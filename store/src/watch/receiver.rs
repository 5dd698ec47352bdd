//! What one client is told.

use std::collections::VecDeque;

use prost::Message as _;
use revkeep_schemas::etcd_api::etcdserverpb::WatchResponse;
use revkeep_schemas::etcd_api::mvccpb::{Event, event::EventType};

use super::History;
use super::hub::StreamGuard;
use super::outbox::Queue;
use crate::error::Result;

/// Up to this many look-ups of previous values happen on the async thread; more go to the executor.
const FEW_LOOKUPS: usize = 8;

/// The end of a client's stream with the answers. Dropping it ends the stream and all its watchers.
///
/// Of the header only the revision is set; the rest is the server's.
#[derive(Debug)]
pub struct WatchReceiver {
    queue: Queue,
    /// Fragments of an answer whose first ones are already out.
    ready: VecDeque<WatchResponse>,
    guard: StreamGuard,
}

impl WatchReceiver {
    pub(super) fn new(queue: Queue, guard: StreamGuard) -> Self {
        Self {
            queue,
            ready: VecDeque::new(),
            guard,
        }
    }

    /// The bytes of events that wait, about.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&mut self) -> usize {
        let mut waiting = Vec::new();
        while let Ok(occupied) = self.queue.try_recv() {
            waiting.push(occupied);
        }
        let mut bytes = 0;
        for (queued, _) in waiting {
            let mut response = queued.response;
            response.events = queued.events.into_events();
            bytes += response.encoded_len();
            self.ready.push_back(response);
        }
        bytes
    }

    /// The next answer. Never ends by itself.
    ///
    /// # Errors
    /// When a previous value cannot be read; this answer's events are lost to the client then.
    pub async fn recv(&mut self) -> Option<Result<WatchResponse>> {
        if let Some(response) = self.ready.pop_front() {
            return Some(Ok(response));
        }
        let (queued, room) = self.queue.recv().await?;
        let mut response = queued.response;
        response.events = queued.events.into_events();
        // The next answer may come while this one is on its way out.
        drop(room);
        if queued.prev_kv {
            response.events = match self.look_up(response.events).await {
                Ok(events) => events,
                Err(error) => return Some(Err(error)),
            };
        }
        if queued.fragment {
            cut(
                response,
                self.guard.hub.options.fragment_bytes,
                &mut self.ready,
            );
            self.ready.pop_front().map(Ok)
        } else {
            Some(Ok(response))
        }
    }

    /// Adds to each event what its key was before. What is compacted meanwhile is left out, as in etcd.
    async fn look_up(&self, mut events: Vec<Event>) -> Result<Vec<Event>> {
        let hub = &self.guard.hub;
        if events.len() <= FEW_LOOKUPS {
            add_previous(&*hub.history, &mut events)?;
            return Ok(events);
        }
        let history = std::sync::Arc::clone(&hub.history);
        let looked_up = hub.options.executor.run(move || {
            add_previous(&*history, &mut events)?;
            Ok(events)
        });
        looked_up.await?
    }
}

fn add_previous(history: &dyn History, events: &mut [Event]) -> Result<()> {
    for event in events {
        let Some(kv) = &event.kv else { continue };
        let is_creation = event.r#type() == EventType::Put && kv.create_revision == kv.mod_revision;
        if !is_creation {
            event.prev_kv = history.value_at(&kv.key, kv.mod_revision - 1)?;
        }
    }
    Ok(())
}

/// Cuts an answer with several events into pieces below `limit` bytes, unless a single event has more. All but the last
/// say that more follows (etcd, `server/etcdserver/api/v3rpc/watch.go`, `sendFragments`).
fn cut(response: WatchResponse, limit: usize, out: &mut VecDeque<WatchResponse>) {
    if response.events.len() < 2 || response.encoded_len() < limit {
        out.push_back(response);
        return;
    }
    let mut head = response;
    let events = std::mem::take(&mut head.events);
    head.fragment = true;
    let base = head.encoded_len();
    let mut piece = head.clone();
    let mut bytes = base;
    for event in events {
        let length = event.encoded_len();
        // The field's tag, its length, and the event.
        let more = 1 + prost::length_delimiter_len(length) + length;
        if !piece.events.is_empty() && bytes + more >= limit {
            out.push_back(std::mem::replace(&mut piece, head.clone()));
            bytes = base;
        }
        bytes += more;
        piece.events.push(event);
    }
    piece.fragment = false;
    out.push_back(piece);
}

#[cfg(test)]
mod tests {
    use super::*;
    use revkeep_schemas::etcd_api::mvccpb::KeyValue;

    fn response(sizes: &[usize]) -> WatchResponse {
        let event = |(place, &size): (usize, &usize)| Event {
            kv: Some(KeyValue {
                key: format!("{place}").into(),
                value: vec![b'v'; size].into(),
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        WatchResponse {
            watch_id: 7,
            events: sizes.iter().enumerate().map(event).collect(),
            ..WatchResponse::default()
        }
    }

    fn pieces(sizes: &[usize], limit: usize) -> Vec<WatchResponse> {
        let mut out = VecDeque::new();
        cut(response(sizes), limit, &mut out);
        out.into()
    }

    #[test]
    fn pieces_are_small_and_lose_nothing() {
        let sizes = [100, 900, 1, 1, 500, 2_000, 3];
        let pieces = pieces(&sizes, 1_000);
        assert!(pieces.len() > 3);
        let (last, others) = pieces.split_last().unwrap();
        assert!(!last.fragment);
        assert!(others.iter().all(|piece| piece.fragment));
        for piece in &pieces {
            assert_eq!(piece.watch_id, 7);
            assert!(piece.events.len() == 1 || piece.encoded_len() < 1_000);
        }
        let joined: Vec<_> = pieces.into_iter().flat_map(|piece| piece.events).collect();
        assert_eq!(joined, response(&sizes).events);
    }

    #[test]
    fn what_fits_or_cannot_be_cut_stays_whole() {
        assert_eq!(pieces(&[10, 10], 1_000), [response(&[10, 10])]);
        assert_eq!(pieces(&[5_000], 1_000), [response(&[5_000])]);
    }
}
