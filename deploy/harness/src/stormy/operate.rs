//! What a request does to the truth, and what S3 says to it.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ListResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};

use super::answer;
use super::weather::Weather;

/// A request that was read whole.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let value = pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)?
        .1;
    // Names in a vault need no other character.
    Some(value.replace("%2F", "/").replace("%2f", "/"))
}

impl Asked {
    /// The name of the object; empty where the bucket itself is asked.
    fn name(&self) -> Result<Path, Error> {
        let path = self.uri.path().trim_start_matches('/');
        let name = path.split_once('/').map_or("", |(_, name)| name);
        Ok(Path::from_url_path(name)?)
    }

    fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it asks for the bytes of an object.
    pub(super) fn reads_an_object(&self) -> bool {
        self.method == Method::GET && query(&self.uri, "list-type").is_none()
    }

    pub(super) async fn operate(&self, store: &InMemory, weather: &Weather) -> Response<Body> {
        let done = match &self.method {
            &Method::PUT => self.put(store, weather).await,
            &Method::GET if query(&self.uri, "list-type").is_some() => {
                self.list(store, weather).await
            }
            &Method::GET | &Method::HEAD => self.get(store).await,
            _ => Err(Error::NotImplemented {
                operation: self.method.to_string(),
                implementer: "the stormy bucket".to_owned(),
            }),
        };
        done.unwrap_or_else(|error| match error {
            Error::NotFound { .. } => answer::error(StatusCode::NOT_FOUND, "NoSuchKey"),
            Error::AlreadyExists { .. } | Error::Precondition { .. } => {
                answer::error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")
            }
            Error::NotImplemented { .. } => {
                answer::error(StatusCode::NOT_IMPLEMENTED, "NotImplemented")
            }
            _ => answer::error(StatusCode::BAD_REQUEST, "InvalidRequest"),
        })
    }

    async fn put(&self, store: &InMemory, weather: &Weather) -> Result<Response<Body>, Error> {
        let create = self.header(&header::IF_NONE_MATCH) == Some("*") && !weather.ignores_create;
        let mode = if create {
            PutMode::Create
        } else {
            PutMode::Overwrite
        };
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let put = store
            .put_opts(&self.name()?, self.body.clone().into(), options)
            .await?;
        let done = answer::empty(StatusCode::OK);
        Ok(answer::describe(done, put.e_tag.as_deref(), None))
    }

    async fn get(&self, store: &InMemory) -> Result<Response<Body>, Error> {
        let range = self.header(&header::RANGE).and_then(range_of);
        let options = GetOptions {
            head: self.method == Method::HEAD,
            range: range.clone(),
            ..GetOptions::default()
        };
        let got = store.get_opts(&self.name()?, options).await?;
        let (meta, part) = (got.meta.clone(), got.range.clone());
        let bytes = got.bytes().await?;
        Ok(answer::content(bytes, range.map(|_| part), &meta))
    }

    async fn list(&self, store: &InMemory, weather: &Weather) -> Result<Response<Body>, Error> {
        let prefix = Path::from(query(&self.uri, "prefix").unwrap_or_default());
        let mut listed = if query(&self.uri, "delimiter").is_some() {
            store.list_with_delimiter(Some(&prefix)).await?
        } else {
            ListResult {
                objects: store.list(Some(&prefix)).try_collect().await?,
                common_prefixes: Vec::new(),
                extensions: object_store::Extensions::default(),
            }
        };
        if !weather.list_lag.is_zero() {
            let seen = |modified: std::time::SystemTime| {
                // What is dated later than now is as young as can be.
                modified.elapsed().is_ok_and(|age| age >= weather.list_lag)
            };
            listed
                .objects
                .retain(|meta| seen(meta.last_modified.into()));
            let mut folders = Vec::new();
            for folder in listed.common_prefixes {
                let inside: Vec<_> = store.list(Some(&folder)).try_collect().await?;
                if inside.iter().any(|meta| seen(meta.last_modified.into())) {
                    folders.push(folder);
                }
            }
            listed.common_prefixes = folders;
        }
        Ok(answer::listing(&listed))
    }
}

fn range_of(text: &str) -> Option<GetRange> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some(match (first.parse().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) => GetRange::Bounded(first..last + 1),
        (Some(first), None) => GetRange::Offset(first),
        (None, Some(last)) => GetRange::Suffix(last),
        (None, None) => return None,
    })
}

/// Whether the object is there; for those who wait for it.
pub(super) async fn holds(store: &InMemory, name: &Path) -> bool {
    store.head(name).await.is_ok()
}
