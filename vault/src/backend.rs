//! From the URL of a vault to the store and the prefix beneath it.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use url::Url;

use crate::credentials;
use crate::error::{ErrorKind, VaultError};

/// A store, and where in it the vault is.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
}

fn config(message: String) -> VaultError {
    VaultError::new(ErrorKind::Config, message)
}

/// Opens `file:///dir`, `memory:` or `s3://bucket/prefix?endpoint=…&region=…`. A folder that is absent is made only
/// when `create` is set.
pub(crate) async fn open(address: &str, create: bool) -> Result<Backend, VaultError> {
    let url = Url::parse(address).map_err(|error| {
        config(format!(
            "vault {address:?} is no URL: use file:///dir, s3://bucket/prefix?endpoint=…&region=… or memory:"
        ))
        .with_source(error)
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(config(
            "the URL of a vault must not hold credentials: use the environment (AWS_ACCESS_KEY_ID, …)".into(),
        ));
    }
    match url.scheme() {
        "file" => local(&url, create),
        "memory" => Ok(Backend {
            store: Arc::new(InMemory::new()),
            prefix: Path::default(),
        }),
        "s3" => s3(&url).await,
        other => Err(config(format!(
            "vault {address:?}: no store is called {other:?}: use file, s3 or memory"
        ))),
    }
}

/// A store that is away is told within seconds; whoever can wait tries again and says so meanwhile.
fn retry() -> RetryConfig {
    RetryConfig {
        max_retries: 5,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    }
}

fn local(url: &Url, create: bool) -> Result<Backend, VaultError> {
    let wrong = || {
        config(format!(
            "vault {url}: it must name a folder, as in file:///var/backups"
        ))
    };
    if url.query().is_some() {
        return Err(wrong());
    }
    let dir = url.to_file_path().map_err(|()| wrong())?;
    if create {
        std::fs::create_dir_all(&dir).map_err(|error| {
            config(format!("vault {url}: the folder cannot be made")).with_source(error)
        })?;
    } else if !dir.is_dir() {
        return Err(VaultError::new(
            ErrorKind::NotFound,
            format!("vault {url}: there is no such folder"),
        ));
    }
    let store = LocalFileSystem::new_with_prefix(dir)
        .map_err(VaultError::store(format_args!("vault {url}")))?
        .with_fsync(true);
    Ok(Backend {
        store: Arc::new(store),
        prefix: Path::default(),
    })
}

async fn s3(url: &Url) -> Result<Backend, VaultError> {
    let bucket = url.host_str().ok_or_else(|| {
        config(format!(
            "vault {url}: it must name a bucket, as in s3://bucket/prefix"
        ))
    })?;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    for (key, value) in url.query_pairs() {
        builder = match &*key {
            "endpoint" => builder
                .with_allow_http(value.starts_with("http://"))
                .with_endpoint(value.trim_end_matches('/')),
            "region" => builder.with_region(value),
            other => {
                return Err(config(format!(
                    "vault {url}: {other:?} is no setting: use endpoint and region"
                )));
            }
        };
    }
    let prefix = prefix(url)?;
    credentials::check(url, |name| std::env::var(name).ok()).await?;
    let store = builder.with_retry(retry()).build().map_err(|error| {
        config(format!("vault {url}: the store cannot be set up")).with_source(error)
    })?;
    Ok(Backend {
        store: Arc::new(store),
        prefix,
    })
}

fn prefix(url: &Url) -> Result<Path, VaultError> {
    Path::from_url_path(url.path().trim_matches('/'))
        .map_err(|error| config(format!("vault {url}: its prefix is no path")).with_source(error))
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
            "file://host/x",
            "file:///tmp/x?y=z",
        ] {
            let error = open(address, false).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{address}: {error}");
        }
    }

    #[test]
    fn an_s3_address_names_bucket_and_prefix() {
        let url = "s3://bucket/a/b/?endpoint=http://127.0.0.1:1&region=eu-x";
        assert_eq!(
            prefix(&Url::parse(url).unwrap()).unwrap(),
            Path::from("a/b")
        );
    }
}
