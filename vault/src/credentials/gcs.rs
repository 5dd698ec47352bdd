//! Google's chain: a service account's file or key, application default credentials, a machine's or pod's role.

use std::path::PathBuf;

use url::Url;

use super::{Environment, METADATA_ENDPOINT, machine_role, missing};
use crate::error::VaultError;

/// Makes sure that there are credentials to try. `well_known` is the file of a logged-in user's default credentials, if
/// there is one.
///
/// # Errors
/// `Config` when there are none, or a file that is named is not there; the message names the variables.
pub(crate) async fn gcs(
    address: &Url,
    well_known: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), VaultError> {
    let environment = Environment(variable);
    if environment.says_yes("GOOGLE_SKIP_SIGNATURE")
        || environment.any(&["GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN"])
    {
        return Ok(());
    }
    for name in [
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "SERVICE_ACCOUNT",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ] {
        match environment.get(name).map(PathBuf::from) {
            Some(file) if file.is_file() => return Ok(()),
            Some(file) => {
                return Err(missing(
                    address,
                    format_args!("{name} names {}, which is no file", file.display()),
                ));
            }
            None => {}
        }
    }
    if well_known.is_some() {
        return Ok(());
    }
    let advice = "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to a file of credentials, or log in with \
                  `gcloud auth application-default login`";
    let named = ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"];
    let host = named.iter().find_map(|name| environment.get(name));
    let endpoint = host.map_or_else(
        || METADATA_ENDPOINT.to_owned(),
        |host| format!("http://{host}"),
    );
    machine_role(address, endpoint, advice).await
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::error::ErrorKind;

    async fn ask(file: Option<PathBuf>, variables: &[(&str, &str)]) -> Result<(), VaultError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let url = Url::parse("gs://bucket/x").unwrap();
        gcs(&url, file, |name| {
            variables.get(name).map(|value| (*value).to_owned())
        })
        .await
    }

    #[tokio::test]
    async fn whatever_gives_credentials_is_enough_and_a_file_must_be_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        ask(None, &[("GOOGLE_SERVICE_ACCOUNT_KEY", "{}")])
            .await
            .unwrap();
        ask(None, &[("GOOGLE_SKIP_SIGNATURE", "true")])
            .await
            .unwrap();
        ask(None, &[("GOOGLE_APPLICATION_CREDENTIALS", path)])
            .await
            .unwrap();
        ask(Some(file.path().to_path_buf()), &[]).await.unwrap();
        let error = ask(None, &[("GOOGLE_SERVICE_ACCOUNT", "/not/there")])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("/not/there"), "{error}");
    }

    #[tokio::test]
    async fn nothing_names_what_to_set() {
        let error = ask(None, &[("GCE_METADATA_HOST", "127.0.0.1:1")])
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("GOOGLE_APPLICATION_CREDENTIALS"),
            "{error}"
        );
    }
}
