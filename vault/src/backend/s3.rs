//! S3, and what speaks it.

use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use url::Url;

use super::{Backend, bucket, place, prefix, refused, retry, unknown};
use crate::credentials;
use crate::error::VaultError;
use crate::fail_point;

pub(super) async fn open(url: &Url) -> Result<Backend, VaultError> {
    let bucket = bucket(url, "a bucket, as in s3://bucket/prefix")?;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if fail_point::impatient() {
        let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        builder = builder.with_config(timeout, "2s");
    }
    for (key, value) in url.query_pairs() {
        builder = match &*key {
            "endpoint" => builder
                .with_allow_http(value.starts_with("http://"))
                .with_endpoint(value.trim_end_matches('/')),
            "region" => builder.with_region(value),
            other => return Err(unknown(url, other, "endpoint and region")),
        };
    }
    let prefix = prefix(url)?;
    credentials::s3(url, |name| std::env::var(name).ok()).await?;
    let keys = [
        AmazonS3ConfigKey::S3Endpoint,
        AmazonS3ConfigKey::Endpoint,
        AmazonS3ConfigKey::Region,
        AmazonS3ConfigKey::Bucket,
    ];
    let place = place(
        "s3",
        keys.map(|key| builder.get_config_value(&key)),
        &prefix,
    );
    let store = builder.with_retry(retry()).build().map_err(refused(url))?;
    Ok(Backend {
        store: Arc::new(store),
        prefix,
        place,
    })
}
