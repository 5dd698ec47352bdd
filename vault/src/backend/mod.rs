//! From the URL of a vault to the store and the prefix beneath it; a file for each kind of store.

mod azure;
mod gcs;
mod local;
mod s3;

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use crate::error::{ErrorKind, VaultError};
use crate::fail_point;
use crate::lock::RetentionDates;

/// A store, and where in it the vault is.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
    /// Which store that is, whatever of it the URL names and whatever the environment.
    pub(crate) place: String,
    /// Where the store knows retain-until dates.
    pub(crate) dates: Option<Arc<dyn RetentionDates>>,
}

/// The shapes of a vault's address.
const SHAPES: &str = "file:///dir, s3://bucket/prefix?endpoint=…&region=…, az://container/prefix?account=…, gs://bucket/prefix \
                      or memory:";

fn config(message: String) -> VaultError {
    VaultError::new(ErrorKind::Config, message)
}

/// Opens `file:///dir`, `memory:`, `s3://bucket/prefix?endpoint=…&region=…`, `az://container/prefix?account=…&endpoint=…` or
/// `gs://bucket/prefix?endpoint=…`. A folder that is absent is made only when `create` is set.
pub(crate) async fn open(address: &str, create: bool) -> Result<Backend, VaultError> {
    let url = Url::parse(address).map_err(|error| {
        config(format!("vault {address:?} is no URL: use {SHAPES}")).with_source(error)
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(config(
            "the URL of a vault must not hold credentials: use the environment (AWS_ACCESS_KEY_ID, …)".into(),
        ));
    }
    match url.scheme() {
        "file" => local::open(&url, create),
        "memory" => Ok(Backend {
            store: Arc::new(InMemory::new()),
            prefix: Path::default(),
            place: "memory".to_owned(),
            dates: None,
        }),
        "s3" => s3::open(&url).await,
        "az" => azure::open(&url).await,
        "gs" => gcs::open(&url).await,
        other => Err(config(format!(
            "vault {address:?}: no store is called {other:?}: use {SHAPES}"
        ))),
    }
}

/// A store that is away is told within seconds; whoever can wait tries again and says so meanwhile.
fn retry() -> RetryConfig {
    if fail_point::impatient() {
        return RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(3),
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(5),
                max_backoff: Duration::from_millis(50),
                base: 2.0,
            },
        };
    }
    RetryConfig {
        max_retries: 5,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    }
}

/// The bucket or container that a URL names.
fn bucket<'a>(url: &'a Url, shape: &str) -> Result<&'a str, VaultError> {
    url.host_str()
        .ok_or_else(|| config(format!("vault {url}: it must name {shape}")))
}

fn prefix(url: &Url) -> Result<Path, VaultError> {
    Path::from_url_path(url.path().trim_matches('/'))
        .map_err(|error| config(format!("vault {url}: its prefix is no path")).with_source(error))
}

/// A store by what tells it from others of its kind.
fn place<const N: usize>(kind: &str, parts: [Option<String>; N], prefix: &Path) -> String {
    let parts = parts.map(|part| part.unwrap_or_default().trim_end_matches('/').to_owned());
    format!("{kind}\n{}\n{prefix}", parts.join("\n"))
}

/// A setting in the URL that its kind of store does not have.
fn unknown(url: &Url, setting: &str, settings: &str) -> VaultError {
    config(format!(
        "vault {url}: {setting:?} is no setting: use {settings}"
    ))
}

/// What a store's builder says of what it was given.
fn refused(url: &Url) -> impl FnOnce(object_store::Error) -> VaultError {
    let what = format!("vault {url}: the store cannot be set up");
    move |error| config(what).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_refused_as_configuration() {
        for address in [
            "",
            "/var/backups",
            "ftp://host/x",
            "s3:///x",
            "s3://key:secret@bucket/x",
            "s3://bucket/x?colour=red",
            "az:///x?account=y",
            "az://container/x?account=y&colour=red",
            "gs:///x",
            "gs://bucket/x?region=eu",
            "file://host/x",
            "file:///tmp/x?y=z",
        ] {
            let error = open(address, false).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{address}: {error}");
        }
    }

    #[test]
    fn places_differ_by_whatever_names_the_store() {
        let of = |parts: [&str; 2], prefix: &str| {
            let parts = parts.map(|part| Some(part.to_owned()).filter(|part| !part.is_empty()));
            place("s3", parts, &Path::from(prefix))
        };
        let one = of(["http://one", "bucket"], "a");
        assert_eq!(one, of(["http://one/", "bucket"], "a"));
        for other in [
            of(["http://two", "bucket"], "a"),
            of(["", "bucket"], "a"),
            of(["http://one", "other"], "a"),
            of(["http://one", "bucket"], "b"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn an_address_names_bucket_and_prefix() {
        let url = "s3://bucket/a/b/?endpoint=http://127.0.0.1:1&region=eu-x";
        assert_eq!(
            prefix(&Url::parse(url).unwrap()).unwrap(),
            Path::from("a/b")
        );
    }
}
