//! Streams of clients that would rather hear than wait when the member has lost the leader.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::codegen::http::HeaderMap;

use super::engine::Engine;
use crate::error::StoreError;
use crate::raft::Leadership;

/// The metadata by which a client asks for it (etcd, `api/v3rpc/rpctypes/metadatafields.go`).
const REQUIRE_LEADER: &str = "hasleader";

/// How many election time-outs without a leader end a stream: to connect again costs more than a refusal (etcd,
/// `server/etcdserver/api/v3rpc/interceptor.go`, `maxNoLeaderCnt`).
const ELECTIONS_WITHOUT: u32 = 3;

/// Whether a request asks to be refused while the member knows no leader.
pub(super) fn requires_leader(headers: &HeaderMap) -> bool {
    headers
        .get(REQUIRE_LEADER)
        .is_some_and(|value| value == "true")
}

/// Ends a stream that asked for it once there has been no leader for a while.
pub(super) struct Leaderless {
    /// Absent for a stream that did not ask.
    asked: Option<Asked>,
}

struct Asked {
    leadership: watch::Receiver<Leadership>,
    patience: Duration,
    /// Since when there has been no leader. Kept here because what is waited for beside it comes and goes.
    lost: Option<Instant>,
}

impl Leaderless {
    /// What a stream's first request asks for.
    pub(super) fn of<T>(engine: &Engine, request: &tonic::Request<T>) -> Self {
        let asked = requires_leader(request.metadata().as_ref()).then(|| Asked {
            leadership: engine.watch_leadership(),
            patience: engine.options().election_timeout * ELECTIONS_WITHOUT,
            lost: None,
        });
        Self { asked }
    }

    /// Waits until the stream has to end, for ever if it did not ask. May be dropped and called again: the time without
    /// a leader goes on.
    pub(super) async fn ended(&mut self) -> Status {
        match &mut self.asked {
            Some(asked) => asked.ended().await.into(),
            None => std::future::pending().await,
        }
    }
}

impl Asked {
    async fn ended(&mut self) -> StoreError {
        loop {
            if self.leadership.borrow().leader.is_some() {
                self.lost = None;
            }
            let lost = self.leadership.wait_for(|now| now.leader.is_none());
            if lost.await.is_err() {
                return StoreError::Stopped;
            }
            let since = *self.lost.get_or_insert_with(Instant::now);
            let found = self.leadership.wait_for(|now| now.leader.is_some());
            match timeout_at(since + self.patience, found).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return StoreError::Stopped,
                Err(_) => return StoreError::NoLeader,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    fn asked() -> (watch::Sender<Leadership>, Asked) {
        let (sender, leadership) = watch::channel(led_by(Some(1)));
        let asked = Asked {
            leadership,
            patience: PATIENCE,
            lost: None,
        };
        (sender, asked)
    }

    fn led_by(leader: Option<u64>) -> Leadership {
        Leadership {
            leader,
            ..Leadership::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_in_between_do_not_put_the_end_off() {
        let (sender, mut asked) = asked();
        sender.send_replace(led_by(None));
        let start = Instant::now();
        // As when a stream says every second how far it is.
        while timeout(Duration::from_secs(1), asked.ended())
            .await
            .is_err()
        {
            assert!(start.elapsed() < PATIENCE * 2, "it goes on");
        }
        assert!(start.elapsed() >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_found_in_time_starts_it_anew() {
        let (sender, mut asked) = asked();
        for _ in 0..3 {
            sender.send_replace(led_by(None));
            let wait = timeout(PATIENCE.mul_f64(0.99), asked.ended());
            assert!(wait.await.is_err());
            sender.send_replace(led_by(Some(2)));
            let wait = timeout(PATIENCE * 2, asked.ended());
            assert!(wait.await.is_err());
        }
        drop(sender);
        assert!(matches!(asked.ended().await, StoreError::Stopped));
    }
}
