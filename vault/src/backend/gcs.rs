//! Google Cloud Storage.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientConfigKey, gcp::GoogleConfigKey};
use url::Url;

use super::{Backend, bucket, place, prefix, refused, retry, unknown};
use crate::credentials;
use crate::error::VaultError;

/// `endpoint` is the address of an emulator, or of the service by a private way.
pub(super) async fn open(url: &Url) -> Result<Backend, VaultError> {
    let bucket = bucket(url, "a bucket, as in gs://bucket/prefix")?;
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    for (key, value) in url.query_pairs() {
        builder = match &*key {
            "endpoint" => {
                let http = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
                builder
                    .with_config(http, value.starts_with("http://").to_string())
                    .with_base_url(value.trim_end_matches('/'))
            }
            other => return Err(unknown(url, other, "endpoint")),
        };
    }
    let prefix = prefix(url)?;
    let variable = |name: &str| std::env::var(name).ok();
    credentials::gcs(url, well_known(), variable).await?;
    let keys = [GoogleConfigKey::BaseUrl, GoogleConfigKey::Bucket];
    let place = place(
        "gs",
        keys.map(|key| builder.get_config_value(&key)),
        &prefix,
    );
    let store = builder.with_retry(retry()).build().map_err(refused(url))?;
    Ok(Backend {
        store: Arc::new(store),
        prefix,
        place,
        dates: None,
    })
}

/// The file in which `gcloud auth application-default login` leaves a user's credentials.
fn well_known() -> Option<PathBuf> {
    let home = std::env::var_os("HOME")?;
    let file = PathBuf::from(home).join(".config/gcloud/application_default_credentials.json");
    file.is_file().then_some(file)
}
