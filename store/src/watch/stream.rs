//! What one client asks for.

use std::sync::Arc;

use revkeep_schemas::etcd_api::etcdserverpb::{WatchCreateRequest, WatchResponse};

use super::outbox::{Outbox, Queued};
use super::state::{StreamKey, answer};
use super::{WatchHub, WatchSpec};
use crate::error::StoreError;

/// The id in answers that are about no single watcher.
const NO_WATCHER: i64 = -1;

/// The end of a client's stream that takes its requests. All answers, refusals too, come out of the stream's
/// [`WatchReceiver`](super::WatchReceiver), in the order in which they came to pass.
///
/// The functions wait while the client does not read its answers.
#[derive(Debug)]
pub struct WatchStream {
    hub: Arc<WatchHub>,
    stream: StreamKey,
    outbox: Arc<Outbox>,
}

impl WatchStream {
    pub(super) fn new(hub: Arc<WatchHub>, stream: StreamKey, outbox: Arc<Outbox>) -> Self {
        Self {
            hub,
            stream,
            outbox,
        }
    }

    /// Opens a watcher. Whether the client may read the range has been checked.
    pub async fn create(&self, request: WatchCreateRequest) {
        let start = request.start_revision;
        if start < 0 {
            self.refuse(&StoreError::Compacted.message()).await;
            return;
        }
        let Some(spec) = WatchSpec::from_request(&request) else {
            self.refuse("mvcc: watcher range is empty").await;
            return;
        };
        let Ok(place) = self.outbox.place().await else {
            return;
        };
        let mut state = self.hub.state.lock();
        let current = state.current;
        let Some(home) = state.streams.get_mut(&self.stream) else {
            return;
        };
        let id = if request.watch_id == 0 {
            while home.watchers.contains_key(&home.next_id) {
                home.next_id += 1;
            }
            home.next_id += 1;
            home.next_id - 1
        } else if home.watchers.contains_key(&request.watch_id) {
            let reason = "mvcc: duplicate watch ID provided on the WatchStream";
            place.send(Queued::control(refusal(current, reason)));
            return;
        } else {
            request.watch_id
        };
        let response = WatchResponse {
            created: true,
            ..answer(id, current)
        };
        // Under the lock, so that no event can come before.
        place.send(Queued::control(response));
        if state.add(self.stream, id, Arc::new(spec), start) {
            self.outbox.wake.notify_one();
        }
    }

    /// Answers a request to open a watcher with a refusal: created and cancelled at once, for this reason.
    pub async fn refuse(&self, reason: &str) {
        if let Ok(place) = self.outbox.place().await {
            let current = self.hub.revision();
            place.send(Queued::control(refusal(current, reason)));
        }
    }

    /// Closes a watcher: nothing comes for it after the answer. An unknown id has no answer.
    pub async fn cancel(&self, id: i64) {
        let Ok(place) = self.outbox.place().await else {
            return;
        };
        let mut state = self.hub.state.lock();
        let current = state.current;
        let Some(home) = state.streams.get_mut(&self.stream) else {
            return;
        };
        let Some(key) = home.watchers.remove(&id) else {
            return;
        };
        if let Some(key) = key {
            state.remove(key);
        }
        let response = WatchResponse {
            canceled: true,
            ..answer(id, current)
        };
        place.send(Queued::control(response));
    }

    /// Asks how far the stream is. The answer comes if every watcher of it has been given everything by now; otherwise
    /// none comes, and the client asks again (etcd, `RequestProgressAll`).
    pub fn request_progress(&self) {
        self.hub.state.lock().progress_of_stream(self.stream);
    }
}

fn refusal(revision: i64, reason: &str) -> WatchResponse {
    WatchResponse {
        created: true,
        canceled: true,
        cancel_reason: reason.to_owned(),
        ..answer(NO_WATCHER, revision)
    }
}
