//! The server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::answer;
use super::operate::{Asked, holds};
use super::weather::{Fate, Weather};
use crate::product::VaultPlace;

const BUCKET: &str = "stormy";
/// A request is never larger.
const LARGEST_BYTES: usize = 256 << 20;
/// Longer than any caller waits.
const FOR_EVER: Duration = Duration::from_secs(120);
/// The double asks for no signature; clients want to sign all the same.
const CREDENTIALS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "stormy"),
    ("AWS_SECRET_ACCESS_KEY", "not-a-secret-loopback-only"),
];

/// An S3 bucket on 127.0.0.1, in memory, that behaves as its [`Weather`] says; by another port it always behaves.
#[derive(Debug)]
pub struct StormyBucket {
    shared: Arc<Shared>,
    stormy: SocketAddr,
    fair: SocketAddr,
    serving: [AbortHandle; 2],
}

#[derive(Debug)]
struct Shared {
    store: Arc<InMemory>,
    sky: Mutex<(Weather, StdRng)>,
}

impl Shared {
    fn sky(&self) -> std::sync::MutexGuard<'_, (Weather, StdRng)> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StormyBucket {
    /// Serves an empty bucket in fair weather; the faults are drawn from the seed.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared {
            store: Arc::new(InMemory::new()),
            sky: Mutex::new((Weather::fair(), StdRng::seed_from_u64(seed))),
        });
        let router = |stormy: bool| {
            let handler = move |State(shared): State<Arc<Shared>>, request: Request| async move {
                serve(shared, request, stormy).await
            };
            Router::new()
                .fallback(handler)
                .with_state(Arc::clone(&shared))
        };
        let (by_storm, by_fair) = (router(true), router(false));
        let (stormy, storm) = listen(by_storm).await?;
        let (fair, calm) = listen(by_fair).await?;
        Ok(Self {
            shared,
            stormy,
            fair,
            serving: [storm, calm],
        })
    }

    /// From now on the weather is this.
    pub fn turn(&self, weather: Weather) {
        self.shared.sky().0 = weather;
    }

    /// The truth: what the bucket holds, without any fault.
    pub fn contents(&self) -> Arc<InMemory> {
        Arc::clone(&self.shared.store)
    }

    /// Whether an object is there.
    pub async fn holds(&self, name: &str) -> bool {
        holds(&self.shared.store, &Path::from(name)).await
    }

    /// A vault in the weather.
    pub fn stormy(&self, prefix: &str) -> VaultPlace {
        place(self.stormy, prefix)
    }

    /// The same vault by the door at which nothing fails.
    pub fn fair(&self, prefix: &str) -> VaultPlace {
        place(self.fair, prefix)
    }
}

impl Drop for StormyBucket {
    fn drop(&mut self) {
        self.serving.iter().for_each(AbortHandle::abort);
    }
}

fn place(address: SocketAddr, prefix: &str) -> VaultPlace {
    VaultPlace {
        url: format!("s3://{BUCKET}/{prefix}?endpoint=http://{address}&region=us-east-1"),
        environment: CREDENTIALS.to_vec(),
    }
}

async fn listen(router: Router) -> Result<(SocketAddr, AbortHandle)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        // It ends with the task alone.
        let _ = axum::serve(listener, router).await;
    });
    Ok((address, serving.abort_handle()))
}

async fn serve(shared: Arc<Shared>, request: Request, stormy: bool) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BYTES).await else {
        return answer::error(StatusCode::BAD_REQUEST, "IncompleteBody");
    };
    let asked = Asked {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body,
    };
    if !stormy {
        return asked.operate(&shared.store, &Weather::fair()).await;
    }
    let (weather, drawn) = {
        let mut sky = shared.sky();
        let (weather, rng) = &mut *sky;
        (*weather, weather.draw(rng))
    };
    match drawn.fate {
        Fate::Error => {
            return answer::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        Fate::Throttled if drawn.other_way => {
            return answer::error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        }
        Fate::Throttled => {
            return answer::error(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests");
        }
        Fate::Good | Fate::AnswerLost | Fate::AnswerHangs => {}
    }
    let reads = asked.reads_an_object();
    let store = Arc::clone(&shared.store);
    // A task of its own: a caller who hangs up does not take the request back.
    let working = tokio::spawn(async move {
        tokio::time::sleep(drawn.delay).await;
        asked.operate(&store, &weather).await
    });
    let Ok(mut answer) = working.await else {
        return answer::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    };
    match drawn.fate {
        Fate::AnswerLost => {
            return answer::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        Fate::AnswerHangs => tokio::time::sleep(FOR_EVER).await,
        _ => {}
    }
    if let Some(at) = drawn
        .wrong_bit
        .filter(|_| reads && answer.status().is_success())
    {
        answer = flip(answer, at).await;
    }
    answer
}

async fn flip(answer: Response<Body>, at: u32) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let mut bytes = to_bytes(body, LARGEST_BYTES)
        .await
        .unwrap_or_default()
        .to_vec();
    let bits = bytes.len().max(1) * 8;
    let bit = at as usize % bits;
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    Response::from_parts(parts, Body::from(Bytes::from(bytes)))
}
