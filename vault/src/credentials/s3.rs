//! S3's chain: keys, a workload identity, a container's or a machine's role.

use url::Url;

use super::{Environment, METADATA_ENDPOINT, machine_role, missing};
use crate::error::VaultError;

/// Makes sure that there are credentials to try: in the environment, of a workload identity, a container's or a
/// machine's role.
///
/// # Errors
/// `Config` when there are none, or only half of them; the message names the variables.
pub(crate) async fn s3(
    address: &Url,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), VaultError> {
    let environment = Environment(variable);
    let set = |name: &str| environment.is_set(name);
    let truth = |name: &str| environment.says_yes(name);
    let missing = |what: &str| Err(missing(address, what));
    if truth("AWS_SKIP_SIGNATURE") {
        return Ok(());
    }
    match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        (true, true) => return Ok(()),
        (true, false) => {
            return missing("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: set both");
        }
        (false, true) => {
            return missing("AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not: set both");
        }
        (false, false) => {}
    }
    let workload = set("AWS_WEB_IDENTITY_TOKEN_FILE") && set("AWS_ROLE_ARN");
    let pod =
        set("AWS_CONTAINER_CREDENTIALS_FULL_URI") && set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    if workload || pod || set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Ok(());
    }
    let advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN for \
                  a workload identity";
    if truth("AWS_EC2_METADATA_DISABLED") {
        return missing(&format!("there are no credentials: {advice}"));
    }
    let endpoint = environment.get("AWS_METADATA_ENDPOINT");
    let endpoint = endpoint.unwrap_or_else(|| METADATA_ENDPOINT.to_owned());
    machine_role(address, endpoint, advice).await
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::error::ErrorKind;

    async fn ask(variables: &[(&str, &str)]) -> Result<(), VaultError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let url = Url::parse("s3://bucket/x").unwrap();
        s3(&url, |name| {
            variables.get(name).map(|value| (*value).to_owned())
        })
        .await
    }

    #[tokio::test]
    async fn whatever_gives_credentials_is_enough() {
        let key = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let workload = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
            ("AWS_ROLE_ARN", "arn"),
        ];
        let task = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2")];
        let pod = [
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23",
            ),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/t"),
        ];
        for enough in [
            &key[..],
            &workload,
            &task,
            &pod,
            &[("AWS_SKIP_SIGNATURE", "true")],
        ] {
            ask(enough).await.unwrap();
        }
    }

    #[tokio::test]
    async fn half_a_key_names_the_other_half() {
        let halves = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        for (one, other) in [(halves[0], halves[1]), (halves[1], halves[0])] {
            let error = ask(&[(one, "x"), (other, "")]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                error.to_string().contains(&format!("{other} is not")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_machine_with_a_role_needs_no_variable_and_no_other_machine_hangs() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let metadata = [("AWS_METADATA_ENDPOINT", endpoint.as_str())];
        // It accepts and never says a word.
        let error = ask(&metadata).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error
                .to_string()
                .contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        );
        let disabled = [metadata[0], ("AWS_EC2_METADATA_DISABLED", "true")];
        ask(&disabled).await.unwrap_err();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _gone = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await;
            }
        });
        ask(&metadata).await.unwrap();
        serving.abort();
        let _ended = serving.await;
        ask(&metadata).await.unwrap_err();
    }
}
