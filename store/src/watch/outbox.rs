//! The queue to one client: bounded by answers and by bytes.

use std::sync::Arc;

use revkeep_schemas::etcd_api::etcdserverpb::WatchResponse;
use tokio::sync::mpsc::{self, Permit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::events::Picked;

/// What a permit of the semaphore stands for.
const UNIT_BYTES: usize = 1 << 10;

/// An answer on its way to a client.
#[derive(Debug)]
pub(super) struct Queued {
    /// All of it but the events.
    pub(super) response: WatchResponse,
    pub(super) events: Picked,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
}

impl Queued {
    /// An answer without events: a few bytes.
    pub(super) fn control(response: WatchResponse) -> Self {
        Self {
            response,
            events: Picked::Own(Vec::new()),
            prev_kv: false,
            fragment: false,
        }
    }
}

/// An answer with the room that it takes until it is dropped.
type Occupied = (Queued, Option<OwnedSemaphorePermit>);

/// The reading end.
pub(super) type Queue = mpsc::Receiver<Occupied>;

/// A place in the queue, with room for events.
#[derive(Debug)]
pub(super) struct Room<'a> {
    place: Permit<'a, Occupied>,
    bytes: Option<OwnedSemaphorePermit>,
}

impl Room<'_> {
    /// Takes the place.
    pub(super) fn send(self, queued: Queued) {
        self.place.send((queued, self.bytes));
    }
}

/// The writing end of the queue to one client.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Occupied>,
    bytes: Arc<Semaphore>,
    /// All permits of the semaphore.
    units: u32,
    /// Wakes the stream's own task: a watcher has fallen behind.
    pub(super) wake: Notify,
}

/// The client is gone.
#[derive(Debug)]
pub(super) struct Closed;

impl Outbox {
    /// A queue of at most so many answers, and about so many bytes of events.
    pub(super) fn new(answers: usize, bytes: usize) -> (Self, Queue) {
        let (queue, receiver) = mpsc::channel(answers.max(1));
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.clamp(1, u32::MAX >> 3);
        let outbox = Self {
            queue,
            bytes: Arc::new(Semaphore::new(units as usize)),
            units,
            wake: Notify::new(),
        };
        (outbox, receiver)
    }

    /// Room for events, if there is some now.
    pub(super) fn try_room(&self, bytes: usize) -> Option<Room<'_>> {
        let bytes = Arc::clone(&self.bytes)
            .try_acquire_many_owned(self.units(bytes))
            .ok()?;
        let place = self.queue.try_reserve().ok()?;
        let bytes = Some(bytes);
        Some(Room { place, bytes })
    }

    /// Waits for room for events.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room<'_>, Closed> {
        // The semaphore is never closed; a client that goes away drops the queue and with it all answers and their room.
        let bytes = Arc::clone(&self.bytes)
            .acquire_many_owned(self.units(bytes))
            .await
            .map_err(|_| Closed)?;
        let place = self.queue.reserve().await.map_err(|_| Closed)?;
        let bytes = Some(bytes);
        Ok(Room { place, bytes })
    }

    /// Waits for a place for an answer without events.
    pub(super) async fn place(&self) -> Result<Room<'_>, Closed> {
        let place = self.queue.reserve().await.map_err(|_| Closed)?;
        Ok(Room { place, bytes: None })
    }

    /// A place for an answer without events, if there is one now.
    pub(super) fn try_place(&self) -> Option<Room<'_>> {
        let place = self.queue.try_reserve().ok()?;
        Some(Room { place, bytes: None })
    }

    /// Returns once the client is gone.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// The permits that events of so many bytes need; never more than there are.
    fn units(&self, bytes: usize) -> u32 {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        units.clamp(1, self.units)
    }
}
