//! The link to one member.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use revkeep_schemas::store_api::{Route, peer_client::PeerClient};
use tokio::time::{Instant, timeout};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use super::{MESSAGE_LIMIT_BYTES, PROTOCOL};
use crate::raft::{Dial, Gathered};

/// So many calls in a row without an answer, and the connection is given up.
const SILENCE: u32 = 3;

/// An answer to a call that was given up may come as late as this, and is not taken for a mistake of the other side's. Much
/// longer than any answer takes, because the library below measures it by the real clock, in simulations too.
const LATE_ANSWER: Duration = Duration::from_secs(3600);

/// The link to one member: a connection that is dialled when needed, and how it has fared.
#[derive(Debug)]
pub(in crate::raft) struct Link {
    route: Route,
    urls: Mutex<Vec<String>>,
    dial: Arc<dyn Dial>,
    /// How long a connection may take, and may be silent.
    patience: Duration,
    channel: Mutex<Option<Channel>>,
    silent: AtomicU32,
    health: Mutex<Option<Health>>,
}

#[derive(Clone, Copy, Debug)]
struct Health {
    since: Instant,
    last: Instant,
}

impl Link {
    pub(super) fn new(
        (cluster_id, from, to): (u64, u64, u64),
        urls: Vec<String>,
        dial: Arc<dyn Dial>,
        patience: Duration,
    ) -> Self {
        Self {
            route: Route {
                cluster_id,
                from,
                to,
                version: PROTOCOL,
            },
            urls: Mutex::new(urls),
            dial,
            patience,
            channel: Mutex::new(None),
            silent: AtomicU32::new(0),
            health: Mutex::new(None),
        }
    }

    /// To be put into every message.
    pub(in crate::raft) fn route(&self) -> Route {
        self.route
    }

    /// The member has moved.
    pub(super) fn set_urls(&self, urls: &[String]) {
        let mut current = self.urls.lock();
        if *current != urls {
            *current = urls.to_vec();
            *self.channel.lock() = None;
        }
    }

    /// A client on the shared connection.
    pub(in crate::raft) fn client(&self) -> PeerClient<Channel> {
        let mut channel = self.channel.lock();
        let channel = channel.get_or_insert_with(|| self.connect());
        client(channel.clone())
    }

    /// A client on a connection of its own, for what would hold up the rest.
    pub(super) fn separate_client(&self) -> PeerClient<Channel> {
        client(self.connect())
    }

    fn connect(&self) -> Channel {
        connect(self.urls.lock().clone(), &self.dial, self.patience)
    }

    /// Makes a call that must be answered within `limit`, and notes how it went.
    pub(in crate::raft) async fn call<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        match timeout(limit, call).await {
            Ok(Ok(response)) => {
                self.answered();
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                if status.code() == tonic::Code::Unavailable {
                    *self.health.lock() = None;
                } else {
                    self.answered();
                }
                Err(status)
            }
            Err(_) => {
                self.unanswered();
                Err(Status::deadline_exceeded(format!(
                    "no answer within {limit:?}"
                )))
            }
        }
    }

    pub(super) fn answered(&self) {
        self.silent.store(0, Ordering::Relaxed);
        let now = Instant::now();
        let mut health = self.health.lock();
        let since = health.map_or(now, |health| health.since);
        *health = Some(Health { since, last: now });
    }

    fn unanswered(&self) {
        if self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCE {
            self.silent.store(0, Ordering::Relaxed);
            *self.health.lock() = None;
            // What hangs there fails by itself; the next call dials.
            *self.channel.lock() = None;
        }
    }

    /// Since when the member has answered without a break; `None` if it does not.
    pub(in crate::raft) fn healthy_since(&self, lease: Duration) -> Option<Instant> {
        let health = (*self.health.lock())?;
        (health.last.elapsed() < lease).then_some(health.since)
    }
}

fn client(channel: Channel) -> PeerClient<Channel> {
    PeerClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
        .max_encoding_message_size(usize::MAX)
}

/// A client for whoever answers at one of the URLs.
pub(in crate::raft) fn client_of(
    urls: Vec<String>,
    dial: &Arc<dyn Dial>,
    patience: Duration,
) -> PeerClient<Channel> {
    client(connect(urls, dial, patience))
}

/// A connection to the first of the URLs that answers; dialled by the first call, and again after it broke.
fn connect(urls: Vec<String>, dial: &Arc<dyn Dial>, patience: Duration) -> Channel {
    let dial = Arc::clone(dial);
    Endpoint::from_static("http://peer")
        .connect_timeout(patience)
        .http2_keep_alive_interval(patience)
        .keep_alive_timeout(patience)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .http2_reset_stream_duration(LATE_ANSWER)
        .connect_with_connector_lazy(service_fn(move |_| {
            let (urls, dial) = (urls.clone(), Arc::clone(&dial));
            async move {
                let mut failure = io::Error::new(io::ErrorKind::NotFound, "it has no peer URL");
                for url in urls {
                    match dial.dial(&url).await {
                        Ok(connection) => return Ok(TokioIo::new(Gathered::prompt(connection))),
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
        }))
}
