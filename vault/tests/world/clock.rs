//! A store with a clock of its own, whose callers take turns at random and may stop at any request.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What all views of one store share.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: InMemory,
    now_ms: AtomicI64,
    stored: Mutex<HashMap<Path, DateTime<Utc>>>,
    random: Mutex<StdRng>,
    denied: Mutex<Option<(&'static str, Denial)>>,
}

/// Why something is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The right is missing, or it is locked.
    Permission,
    /// The store does not know who asks.
    Credentials,
}

impl Denial {
    fn error(self, path: &Path) -> Error {
        let (path, source) = (path.to_string(), "denied by a test".into());
        match self {
            Self::Permission => Error::PermissionDenied { path, source },
            Self::Credentials => Error::Unauthenticated { path, source },
        }
    }
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            now_ms: AtomicI64::new(1_750_000_000_000),
            stored: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            denied: Mutex::default(),
        })
    }

    /// From now on, objects whose names have this part are not deleted.
    pub(crate) fn deny(&self, denied: Option<(&'static str, Denial)>) {
        *self.denied.lock().unwrap() = denied;
    }

    fn denial(&self, path: &Path) -> Option<Error> {
        let denied = *self.denied.lock().unwrap();
        let denied = denied.filter(|(part, _)| path.as_ref().contains(part));
        denied.map(|(_, denial)| denial.error(path))
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.now_ms.load(Ordering::Relaxed)).unwrap()
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        self.now_ms
            .fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }

    /// A number below a bound.
    pub(crate) fn below(&self, bound: u32) -> u32 {
        self.random.lock().unwrap().random_range(0..bound)
    }

    /// When the store took an object.
    pub(crate) fn stored(&self, path: &Path) -> DateTime<Utc> {
        self.stored.lock().unwrap()[path]
    }

    fn timed(&self, meta: ObjectMeta) -> ObjectMeta {
        let stored = self.stored.lock().unwrap();
        ObjectMeta {
            last_modified: stored
                .get(&meta.location)
                .copied()
                .unwrap_or(meta.last_modified),
            ..meta
        }
    }
}

/// The view of one program, which stops for ever at a request.
#[derive(Debug)]
pub(crate) struct View {
    shared: Arc<Shared>,
    requests_left: AtomicUsize,
}

impl View {
    /// A view that stops after so many requests.
    pub(crate) fn new(shared: &Arc<Shared>, requests: usize) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            requests_left: AtomicUsize::new(requests),
        })
    }

    /// Whether it has stopped.
    pub(crate) fn stopped(&self) -> bool {
        self.requests_left.load(Ordering::Relaxed) == 0
    }

    /// Lets others take their turns; does not return once this program has stopped. Half of those that stop do so after
    /// the request was done.
    async fn turn(&self) {
        for _ in 0..self.shared.below(6) {
            tokio::task::yield_now().await;
        }
        self.shared.advance(TimeDelta::milliseconds(1));
        let left = self.requests_left.load(Ordering::Relaxed);
        if left == 0 {
            std::future::pending::<()>().await;
        }
        self.requests_left.store(left - 1, Ordering::Relaxed);
        if left == 1 && self.shared.below(2) == 0 {
            std::future::pending::<()>().await;
        }
    }

    async fn done<T>(&self, done: T) -> T {
        if self.stopped() {
            std::future::pending::<()>().await;
        }
        done
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

#[async_trait]
impl ObjectStore for View {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.turn().await;
        let done = self.shared.inner.put_opts(location, payload, options).await;
        if done.is_ok() {
            let now = self.shared.now();
            self.shared
                .stored
                .lock()
                .unwrap()
                .insert(location.clone(), now);
        }
        self.done(done).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.shared
            .inner
            .put_multipart_opts(location, options)
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.turn().await;
        let got = self.shared.inner.get_opts(location, options).await;
        self.done(got.map(|got| GetResult {
            meta: self.shared.timed(got.meta.clone()),
            ..got
        }))
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let shared = Arc::clone(&self.shared);
        let stops = self.requests_left.load(Ordering::Relaxed) <= 1;
        self.requests_left
            .fetch_sub(usize::from(!self.stopped()), Ordering::Relaxed);
        locations
            .and_then(move |location| {
                let shared = Arc::clone(&shared);
                async move {
                    for _ in 0..shared.below(6) {
                        tokio::task::yield_now().await;
                    }
                    if stops {
                        std::future::pending::<()>().await;
                    }
                    if let Some(denied) = shared.denial(&location) {
                        return Err(denied);
                    }
                    let deleted =
                        object_store::ObjectStoreExt::delete(&shared.inner, &location).await;
                    deleted.map(|()| location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let shared = Arc::clone(&self.shared);
        let listed = self.shared.inner.list(prefix);
        let stops = self.stopped();
        async move {
            for _ in 0..shared.below(6) {
                tokio::task::yield_now().await;
            }
            if stops {
                std::future::pending::<()>().await;
            }
            listed.map_ok(move |meta| shared.timed(meta))
        }
        .flatten_stream()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.turn().await;
        let listed = self.shared.inner.list_with_delimiter(prefix).await;
        self.done(listed).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared.inner.copy_opts(from, to, options).await
    }
}
