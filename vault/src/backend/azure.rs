//! Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use url::Url;

use super::{Backend, bucket, place, prefix, refused, retry, unknown};
use crate::credentials;
use crate::error::VaultError;

/// `account` names the storage account unless the environment does; `endpoint` is the address of the account's blob
/// service where that is not `https://ACCOUNT.blob.core.windows.net`: an emulator's has the account in its path.
pub(super) async fn open(url: &Url) -> Result<Backend, VaultError> {
    let container = bucket(url, "a container, as in az://container/prefix?account=NAME")?;
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
    let mut account = None;
    for (key, value) in url.query_pairs() {
        builder = match &*key {
            "endpoint" => builder
                .with_allow_http(value.starts_with("http://"))
                .with_endpoint(value.trim_end_matches('/').to_owned()),
            "account" => {
                account = Some(value.to_string());
                builder.with_account(value)
            }
            other => return Err(unknown(url, other, "account and endpoint")),
        };
    }
    let prefix = prefix(url)?;
    credentials::azure(url, account, |name| std::env::var(name).ok()).await?;
    let keys = [
        AzureConfigKey::Endpoint,
        AzureConfigKey::AccountName,
        AzureConfigKey::ContainerName,
    ];
    let place = place(
        "az",
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
