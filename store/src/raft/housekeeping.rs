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
    let mut growth = Growth::default();
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
        let by_entries = last.saturating_sub(core.config.keep_entries);
        growth.note(last, core.marks.appended_bytes(), by_entries);
        let by_bytes = growth.take_older_than(core.config.keep_bytes);
        let upto = by_entries.max(by_bytes).min(core.machine.durable().index);
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

/// Where the log ended, and how many bytes had been appended to it by then, at some of the last beats; oldest first.
/// Never more of them than entries that are kept by their number.
#[derive(Debug, Default)]
struct Growth(VecDeque<(u64, u64)>);

impl Growth {
    /// The log ends at `last` now. What ends at or before `useless` need not be known.
    fn note(&mut self, last: u64, appended_bytes: u64, useless: u64) {
        while self.0.front().is_some_and(|(index, _)| *index <= useless) {
            self.0.pop_front();
        }
        // Not twice the same end; and entries that a new leader has replaced are counted anew.
        while self.0.back().is_some_and(|(index, _)| *index >= last) {
            self.0.pop_back();
        }
        self.0.push_back((last, appended_bytes));
    }

    /// Up to which entry the log can go so that about the last `bytes` stay; 0 for none.
    fn take_older_than(&mut self, bytes: u64) -> u64 {
        let now = self.0.back().map_or(0, |(_, appended)| *appended);
        let mut upto = 0;
        while let Some((index, appended)) = self.0.front().copied() {
            if now.saturating_sub(appended) <= bytes {
                break;
            }
            upto = index;
            self.0.pop_front();
        }
        upto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_so_many_bytes_can_go() {
        let mut growth = Growth::default();
        for beat in 1..=10 {
            growth.note(beat * 3, beat * 100, 0);
        }
        assert_eq!(growth.take_older_than(1_000), 0);
        assert_eq!(growth.take_older_than(450), 15);
        assert_eq!(growth.take_older_than(450), 0, "nothing new");
        growth.note(40, 2_000, 0);
        assert_eq!(growth.take_older_than(450), 30);
    }

    #[test]
    fn a_log_that_hardly_grows_costs_no_memory() {
        let mut growth = Growth::default();
        for beat in 0..100_000 {
            // A write every tenth beat, and 50 entries are kept by their number.
            let last = 1_000 + beat / 10;
            growth.note(last, last * 10, last - 50);
        }
        assert!(growth.0.len() <= 51, "{}", growth.0.len());
        // An election cuts entries off; they are known no more.
        growth.note(10_970, 200_000, 10_920);
        assert!(growth.0.iter().all(|(index, _)| *index <= 10_970));
        assert_eq!(growth.take_older_than(1_000), 10_969);
    }
}
