//! An object store that fails as real ones do, at the moments that a test chooses.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Refused,
    /// It is not allowed, and nothing was done.
    Denied,
    /// It fails after a while, and nothing was done.
    TimesOut,
    /// It was done, and the answer is an error.
    AnswerLost,
    /// It was done, and no answer comes.
    AnswerHangs,
    /// It fails at once, and is done a little later.
    DoneLater,
    /// It is neither done nor answered.
    Hangs,
}

/// A request, as a test's judge sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A put of a whole object.
    Put,
    /// A get of an object, of a part of it, or of its size.
    Get,
    /// A listing.
    List,
}

type Judge = Box<dyn Fn(Request, &Path) -> Option<Fault> + Send + Sync>;

/// How long [`Fault::TimesOut`] and [`Fault::DoneLater`] take.
const WHILE: Duration = Duration::from_millis(20);

/// A store before another one, which a judge makes fail.
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    judge: Judge,
    /// The newest puts, which a late listing does not show yet.
    recent: Mutex<VecDeque<Path>>,
    late: AtomicUsize,
}

impl FaultyStore {
    /// A store whose requests meet the fate that `judge` says; with `None` they are passed on.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        judge: impl Fn(Request, &Path) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            judge: Box::new(judge),
            recent: Mutex::default(),
            late: AtomicUsize::new(0),
        }
    }

    /// From now on listings leave out the newest `objects` puts.
    pub fn list_late_by(&self, objects: usize) {
        self.late.store(objects, Ordering::Relaxed);
    }

    async fn fail(&self, request: Request, path: &Path) -> Result<Option<Fault>> {
        match (self.judge)(request, path) {
            None => Ok(None),
            Some(Fault::Refused) => Err(failed("refused")),
            Some(Fault::Denied) => Err(denied(path)),
            Some(Fault::TimesOut) => {
                tokio::time::sleep(WHILE).await;
                Err(failed("timed out"))
            }
            Some(Fault::Hangs) => std::future::pending().await,
            Some(fault) => Ok(Some(fault)),
        }
    }

    fn shows(&self, path: &Path) -> bool {
        let late = self.late.load(Ordering::Relaxed);
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        !recent.iter().rev().take(late).any(|other| other == path)
    }

    fn note(&self, path: &Path) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(path.clone());
        if recent.len() > 100 {
            recent.pop_front();
        }
    }
}

fn failed(how: &'static str) -> Error {
    Error::Generic {
        store: "faulty",
        source: how.into(),
    }
}

fn denied(path: &Path) -> Error {
    Error::PermissionDenied {
        path: path.to_string(),
        source: "denied".into(),
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.fail(Request::Put, location).await?;
        self.note(location);
        if fault == Some(Fault::DoneLater) {
            let (inner, location) = (Arc::clone(&self.inner), location.clone());
            tokio::spawn(async move {
                tokio::time::sleep(WHILE).await;
                // As on the way to a store that nobody listens to any more.
                let _ = inner.put_opts(&location, payload, options).await;
            });
            return Err(failed("timed out, and done later"));
        }
        let done = self.inner.put_opts(location, payload, options).await;
        match fault {
            Some(Fault::AnswerHangs) => std::future::pending().await,
            Some(_) => Err(failed("the answer was lost")),
            None => done,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.fail(Request::Get, location).await? {
            Some(_) => Err(failed("the answer was lost")),
            None => self.inner.get_opts(location, options).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.cloned().unwrap_or_default();
        if let Some(fault) = (self.judge)(Request::List, &folder) {
            return match fault {
                Fault::Hangs | Fault::AnswerHangs => futures::stream::pending().boxed(),
                fault => futures::stream::once(async move {
                    Err(match fault {
                        Fault::Denied => denied(&folder),
                        _ => failed("the listing broke off"),
                    })
                })
                .boxed(),
            };
        }
        let hidden: Vec<Path> = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let late = self.late.load(Ordering::Relaxed);
            recent.iter().rev().take(late).cloned().collect()
        };
        self.inner
            .list(prefix)
            .try_filter(move |meta| futures::future::ready(!hidden.contains(&meta.location)))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        if self.fail(Request::List, &folder).await?.is_some() {
            return Err(failed("the listing broke off"));
        }
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.retain(|meta| self.shows(&meta.location));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
