//! The spool: what seals puts segments in, what uploads takes them out, and the disk is behind.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_schemas::segment::{LeaseFact, SealedSegment};
use tokio::sync::{Notify, watch};

use super::folder::Found;
use super::{Folder, Hole, Name, Owner, Place, Refused, Source, Ticket, Waiting};
use crate::AgentError;
use crate::config::Dial;

/// How often a file is read again that the disk did not give, and when.
const READ_TRIES: usize = 5;
const READ_PAUSE: Duration = Duration::from_secs(1);

/// A segment that is to go up.
#[derive(Debug)]
pub struct Next {
    /// Its place in the spool.
    pub ticket: Ticket,
    /// Its bytes, verified when they come from a file.
    pub segment: SealedSegment,
}

/// How full a spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Segments that wait for the store.
    pub segments: usize,
    /// The bytes of them, and of what else lies in the folder.
    pub bytes: u64,
    /// How many there may be.
    pub limit: u64,
    /// The last revision that is kept, while what follows it is discarded.
    pub last_kept: Option<Revision>,
}

#[derive(Debug, Default)]
struct Told {
    /// That the disk failed, since it last worked.
    disk: bool,
    /// The number of the last hole.
    hole: u64,
    opened: u64,
}

#[derive(Debug)]
struct State {
    waiting: Waiting,
    told: Told,
    /// Facts of segments that were not kept: the next segment takes them.
    returned: Vec<LeaseFact>,
    closed: bool,
}

/// Sealed segments that wait for the store.
#[derive(Debug)]
pub struct Spool {
    folder: Arc<Folder>,
    limit: Dial<u64>,
    state: Mutex<State>,
    /// Only one writes files at a time, so that they are written in order.
    filing: tokio::sync::Mutex<()>,
    changed: Notify,
    hole: watch::Sender<Option<Hole>>,
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AgentError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| AgentError::Internal(format!("the spool's disk: {error}")))
}

impl Spool {
    /// Opens the spool below the state directory, with what an earlier process left there, and holds up to `limit` bytes.
    /// Waits until no other one has that folder.
    ///
    /// # Errors
    /// As [`Folder::owned`] and [`Folder::scan`].
    pub async fn open(
        state_dir: &Path,
        place: Place,
        limit: impl Into<Dial<u64>>,
    ) -> Result<Self, AgentError> {
        let limit = limit.into();
        let state_dir = state_dir.to_path_buf();
        let owner = Owner::of(&Folder::path(&state_dir, &place)).await;
        let opening = move || -> Result<(Folder, Vec<Found>, u64), AgentError> {
            let folder = Folder::owned(owner, &state_dir, place)?;
            let found = folder.scan()?;
            let beside = folder.beside()?;
            Ok((folder, found, beside))
        };
        let (folder, found, beside) = blocking(opening).await??;
        let mut waiting = Waiting::new(limit.get(), beside);
        for file in &found {
            waiting.found(file.first, file.last, file.uid, file.bytes);
        }
        if let (Some(first), Some(last)) = (found.first(), found.last()) {
            tracing::info!(
                segments = found.len(),
                bytes = waiting.load().1,
                first = %first.first,
                last = %last.last,
                "segments wait in the spool and go up first"
            );
        }
        Ok(Self {
            folder: Arc::new(folder),
            limit,
            state: Mutex::new(State {
                waiting,
                told: Told::default(),
                returned: Vec::new(),
                closed: false,
            }),
            filing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            hole: watch::Sender::new(None),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything in it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits, tells what that means, and wakes who waits for it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let hole = state.waiting.hole();
        if let Some(hole) = hole {
            self.tell(&mut state, hole);
        }
        drop(state);
        self.hole.send_if_modified(|known| {
            let changed = *known != hole;
            *known = hole;
            changed
        });
        self.changed.notify_one();
        result
    }

    fn tell(&self, state: &mut State, hole: Hole) {
        let (segments, bytes) = state.waiting.load();
        let (kept, limit) = (hole.kept, self.limit.get());
        if !hole.open && hole.number > state.told.hole {
            tracing::error!(
                last_kept = %kept, segments, bytes, limit,
                "the spool is full: later changes are watched and not kept until the object store is back; a base then heals \
                 what the source still has"
            );
        }
        if hole.open && hole.number > state.told.opened {
            tracing::warn!(
                last_kept = %kept, segments, bytes,
                "the spool has room again: a base is taken now"
            );
            state.told.opened = hole.number;
        }
        state.told.hole = state.told.hole.max(hole.number);
    }

    /// All that waits, in the order in which it goes up.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        self.state().waiting.names()
    }

    /// How full it is.
    #[must_use]
    pub fn load(&self) -> Load {
        let state = self.state();
        let (segments, bytes) = state.waiting.load();
        Load {
            segments,
            bytes,
            limit: self.limit.get(),
            last_kept: state.waiting.hole().map(|hole| hole.kept),
        }
    }

    /// Tells of holes, and when a base heals one.
    #[must_use]
    pub fn holes(&self) -> watch::Receiver<Option<Hole>> {
        self.hole.subscribe()
    }

    /// Whether what comes is discarded, so that it need not be sealed.
    #[must_use]
    pub fn discards(&self) -> bool {
        self.state().waiting.hole().is_some()
    }

    /// A base was taken because of the hole with this number; what comes now follows it.
    pub fn healed(&self, number: u64) {
        self.change(|state| state.waiting.healed(number));
    }

    /// Facts of segments that were not kept, each given once.
    #[must_use]
    pub fn returned(&self) -> Vec<LeaseFact> {
        std::mem::take(&mut self.state().returned)
    }

    /// Takes a segment, or discards it when there is no room. Waits for the disk only when the store is slow or away.
    pub async fn admit(&self, segment: SealedSegment) {
        let must_file = self.change(|state| {
            state.waiting.limit_to(self.limit.get());
            if let Err(Refused(segment)) = state.waiting.admit(segment) {
                state.returned.extend(segment.index.leases);
                return false;
            }
            state.waiting.must_file()
        });
        if must_file {
            self.file().await;
        }
    }

    /// Files everything that waits, and from now on all that comes until nothing waits.
    pub async fn file(&self) {
        let _one = self.filing.lock().await;
        self.state().waiting.start_filing();
        loop {
            let Some((ticket, segment)) = self.state().waiting.to_file() else {
                return;
            };
            let folder = Arc::clone(&self.folder);
            let (first, last, uid) = (segment.first, segment.last, segment.uid);
            let writing = blocking(move || folder.write(&segment)).await;
            let written = writing.and_then(|written| {
                written.map_err(AgentError::io(format!("spool segment {first} to {last}")))
            });
            if let Err(error) = written {
                self.refused_by_disk(&error);
                return;
            }
            let waits = self.change(|state| {
                state.told.disk = false;
                state.waiting.filed(ticket)
            });
            if !waits {
                // It was acknowledged meanwhile.
                let folder = Arc::clone(&self.folder);
                let _ = blocking(move || folder.remove(first, last, uid)).await;
            }
        }
    }

    fn refused_by_disk(&self, error: &AgentError) {
        self.change(|state| {
            if !std::mem::replace(&mut state.told.disk, true) {
                tracing::error!(
                    %error,
                    "the spool cannot be written: what does not fit in memory is discarded until it can; make room on the disk \
                     of --state-dir"
                );
            }
            let refused = state.waiting.refused_by_disk();
            let leases = refused.into_iter().flat_map(|one| one.0.index.leases);
            state.returned.extend(leases);
        });
    }

    /// The oldest segment that is not on its way; waits for one. `None` when the spool is closed and empty.
    pub async fn next(&self) -> Option<Next> {
        let mut tries = 0;
        loop {
            let (head, ended) = {
                let state = self.state();
                let ended = state.closed && state.waiting.is_empty();
                (state.waiting.head(), ended)
            };
            match head {
                Some((ticket, Source::Memory(segment))) => {
                    return Some(Next {
                        ticket,
                        segment: *segment,
                    });
                }
                Some((ticket, Source::File(first, last, uid))) => {
                    let folder = Arc::clone(&self.folder);
                    let reading = blocking(move || folder.read(first, last, uid));
                    match reading.await.flatten() {
                        Ok(segment) => return Some(Next { ticket, segment }),
                        Err(error @ AgentError::Io { .. }) if tries < READ_TRIES => {
                            tracing::warn!(%error, "a spooled segment was not read, trying again");
                            tries += 1;
                            tokio::time::sleep(READ_PAUSE).await;
                        }
                        Err(error) => {
                            let folder = Arc::clone(&self.folder);
                            let _ = blocking(move || folder.reject(first, last, uid, &error)).await;
                            self.change(|state| state.waiting.unusable(ticket));
                        }
                    }
                }
                None if ended => return None,
                None => self.changed.notified().await,
            }
        }
    }

    /// The segment is on its way to the store: [`Spool::next`] gives the one after it.
    pub fn sent(&self, ticket: Ticket) {
        self.change(|state| state.waiting.sent(ticket));
    }

    /// The segment was on its way, and was not stored: it goes up next, if it is the oldest.
    pub fn came_back(&self, ticket: Ticket) {
        self.change(|state| state.waiting.came_back(ticket));
    }

    /// The store has the segment. Its file goes.
    pub async fn acknowledged(&self, next: &Next) {
        let (first, last, uid) = (next.segment.first, next.segment.last, next.segment.uid);
        if self.change(|state| state.waiting.acknowledged(next.ticket)) {
            let folder = Arc::clone(&self.folder);
            let _ = blocking(move || folder.remove(first, last, uid)).await;
        }
    }

    /// Nothing more comes: what waits is filed, and [`Spool::next`] ends once it is empty.
    pub async fn close(&self) {
        self.change(|state| state.closed = true);
        self.file().await;
    }

    /// Once it is closed: how many segments wait, and their bytes, if all of them are in files.
    #[must_use]
    pub fn left(&self) -> Option<(usize, u64)> {
        let state = self.state();
        let safe = state.closed && state.waiting.all_filed() && state.waiting.hole().is_none();
        safe.then(|| state.waiting.load())
    }
}

#[cfg(test)]
mod tests;
