//! Azure's chain: a key, a shared access signature, a service principal, a workload identity, the CLI, a machine's identity.

use url::Url;

use super::{Environment, METADATA_ENDPOINT, machine_role, missing};
use crate::error::VaultError;

/// Makes sure that there is an account, named in the URL or the environment, and credentials to try.
///
/// # Errors
/// `Config` when there are none, or only a part of them; the message names the variables.
pub(crate) async fn azure(
    address: &Url,
    account: Option<String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), VaultError> {
    let environment = Environment(variable);
    if account.is_none() && !environment.is_set("AZURE_STORAGE_ACCOUNT_NAME") {
        return Err(missing(
            address,
            "which storage account? Add ?account=NAME, or set AZURE_STORAGE_ACCOUNT_NAME",
        ));
    }
    let set = [
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_FEDERATED_TOKEN_FILE",
        // Where a managed identity of an app service is asked for.
        "IDENTITY_ENDPOINT",
    ];
    if environment.any(&set)
        || environment.says_yes("AZURE_SKIP_SIGNATURE")
        || environment.says_yes("AZURE_USE_AZURE_CLI")
    {
        return Ok(());
    }
    let either = |name: &str| {
        let long = format!("AZURE_STORAGE_{name}");
        environment.is_set(&long) || environment.is_set(&format!("AZURE_{name}"))
    };
    // An id alone is that of a machine's own identity.
    let principal = ["CLIENT_ID", "CLIENT_SECRET", "TENANT_ID"];
    if either("CLIENT_SECRET") {
        if let Some(absent) = principal.into_iter().find(|name| !either(name)) {
            return Err(missing(
                address,
                format_args!(
                    "AZURE_STORAGE_CLIENT_SECRET is set and AZURE_STORAGE_{absent} is not: set all three of \
                     AZURE_STORAGE_CLIENT_ID, _CLIENT_SECRET and _TENANT_ID"
                ),
            ));
        }
        return Ok(());
    }
    let advice = "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, a service principal by AZURE_STORAGE_CLIENT_ID, \
                  _CLIENT_SECRET and _TENANT_ID, or AZURE_FEDERATED_TOKEN_FILE for a workload identity";
    let endpoint = environment.get("AZURE_MSI_ENDPOINT");
    let endpoint = endpoint.unwrap_or_else(|| METADATA_ENDPOINT.to_owned());
    machine_role(address, endpoint, advice).await
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::error::ErrorKind;

    async fn ask(account: Option<&str>, variables: &[(&str, &str)]) -> Result<(), VaultError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let url = Url::parse("az://container/x").unwrap();
        azure(&url, account.map(str::to_owned), |name| {
            variables.get(name).map(|value| (*value).to_owned())
        })
        .await
    }

    #[tokio::test]
    async fn an_account_and_whatever_gives_credentials_is_enough() {
        let principal = [
            ("AZURE_STORAGE_CLIENT_ID", "a"),
            ("AZURE_CLIENT_SECRET", "b"),
            ("AZURE_STORAGE_TENANT_ID", "c"),
        ];
        for enough in [
            &[("AZURE_STORAGE_ACCOUNT_KEY", "k")][..],
            &[("AZURE_STORAGE_SAS_TOKEN", "s")],
            &[("AZURE_FEDERATED_TOKEN_FILE", "/t")],
            &[("AZURE_SKIP_SIGNATURE", "true")],
            &principal,
        ] {
            ask(Some("account"), enough).await.unwrap();
            let error = ask(None, enough).await.unwrap_err();
            assert!(error.to_string().contains("?account=NAME"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_part_of_a_principal_names_the_rest_and_nothing_names_all() {
        let part = [
            ("AZURE_STORAGE_CLIENT_ID", "a"),
            ("AZURE_STORAGE_CLIENT_SECRET", "b"),
        ];
        let error = ask(Some("account"), &part).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("AZURE_STORAGE_TENANT_ID is not"),
            "{error}"
        );
        let nowhere = [("AZURE_MSI_ENDPOINT", "http://127.0.0.1:1")];
        let error = ask(Some("account"), &nowhere).await.unwrap_err();
        assert!(
            error.to_string().contains("AZURE_STORAGE_ACCOUNT_KEY"),
            "{error}"
        );
    }
}
