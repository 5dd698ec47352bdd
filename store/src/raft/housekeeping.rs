//! Flushing the state, and forgetting what the log no longer needs.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::core::Core;
use crate::backend::Position;

/// How often it is looked at what can go.
const BEAT: Duration = Duration::from_secs(1);

/// So many entries go at once at least, so that the log is not cut all the time.
const PURGE_ENTRIES: u64 = 500;

/// Flushes the state machine at a steady beat.
pub(super) async fn flush<O: Send + 'static>(
    core: Arc<Core<O>>,
    durable: Arc<watch::Sender<Position>>,
    interval: Duration,
) {
    loop {
        tokio::select! {
            biased;
            () = core.stopper.stopped() => return,
            () = sleep(interval) => {}
        }
        let machine = Arc::clone(&core.machine);
        if machine.position() <= machine.durable() {
            continue;
        }
        let flushed = core.executor.run(move || machine.flush()).await;
        match flushed.and_then(|flushed| flushed) {
            Ok(at) => {
                durable.send_replace(at);
            }
            Err(error) => core.stopper.fail(error),
        }
    }
}

/// Drops entries that the state machine holds durably and that are too old to be of use for a member that lags: more
/// than the newest `keep_entries`, or than `keep_bytes`.
pub(super) async fn purge<O: Send + 'static>(core: Arc<Core<O>>) {
    // What the log's end was, and how many bytes had been appended, at each beat.
    let mut history: VecDeque<(u64, u64)> = VecDeque::new();
    let mut purged = core
        .raft
        .data_metrics()
        .borrow()
        .purged
        .as_ref()
        .map_or(0, |id| super::types::position(id).index);
    loop {
        tokio::select! {
            biased;
            () = core.stopper.stopped() => return,
            () = sleep(BEAT) => {}
        }
        let last = core.marks.last();
        let bytes = core.marks.appended_bytes();
        history.push_back((last, bytes));
        let mut by_bytes = 0;
        while let Some((index, at_bytes)) = history.front().copied() {
            if bytes - at_bytes <= core.config.keep_bytes {
                break;
            }
            by_bytes = index;
            history.pop_front();
        }
        let upto = last
            .saturating_sub(core.config.keep_entries)
            .max(by_bytes)
            .min(core.machine.durable().index);
        if upto < purged + PURGE_ENTRIES && by_bytes <= purged || upto <= purged {
            continue;
        }
        // The library purges only what a "snapshot" holds; ours is a flush.
        let triggered = core.raft.trigger().snapshot().await;
        if triggered.is_err() {
            return;
        }
        sleep(BEAT / 2).await;
        // It counts from 0.
        if core.raft.trigger().purge_log(upto - 1).await.is_err() {
            return;
        }
        purged = upto;
    }
}
