//! Where the credentials for S3 come from, found out before the first request.
//!
//! Without any, the client of the store would ask the address at which a cloud's machines find their role, and hang for
//! minutes where there is no such cloud. So that address is tried once, briefly, and only when nothing else is set.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::error::{ErrorKind, VaultError};

/// Where a machine in a cloud finds the credentials of its role.
const METADATA_ENDPOINT: &str = "http://169.254.169.254";
/// On such a machine it answers within milliseconds.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

/// Makes sure that there are credentials to try: in the environment, of a workload identity, a container's or a
/// machine's role.
///
/// # Errors
/// `Config` when there are none, or only half of them; the message names the variables.
pub(crate) async fn check(
    address: &Url,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), VaultError> {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let missing = |what: String| {
        let message = format!("vault {address}: {what}");
        Err(VaultError::new(ErrorKind::Config, message))
    };
    let truth = |name: &str| {
        variable(name).is_some_and(|value| matches!(&*value.to_lowercase(), "1" | "true"))
    };
    if truth("AWS_SKIP_SIGNATURE") {
        return Ok(());
    }
    match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        (true, true) => return Ok(()),
        (true, false) => {
            return missing(
                "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: set both".into(),
            );
        }
        (false, true) => {
            return missing(
                "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not: set both".into(),
            );
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
        return missing(format!("there are no credentials: {advice}"));
    }
    let endpoint =
        variable("AWS_METADATA_ENDPOINT").unwrap_or_else(|| METADATA_ENDPOINT.to_owned());
    if answers(&endpoint).await {
        return Ok(());
    }
    missing(format!(
        "there are no credentials: {advice}; this is no cloud machine with a role either, since nothing answers at \
         {endpoint}"
    ))
}

/// Whether an HTTP server answers there, whatever it says.
async fn answers(endpoint: &str) -> bool {
    let Ok(url) = Url::parse(endpoint) else {
        return false;
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let exchange = async {
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut start = [0; 5];
        stream.read_exact(&mut start).await?;
        std::io::Result::Ok(start == *b"HTTP/")
    };
    matches!(
        tokio::time::timeout(METADATA_PATIENCE, exchange).await,
        Ok(Ok(true))
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::net::TcpListener;

    use super::*;

    async fn ask(variables: &[(&str, &str)]) -> Result<(), VaultError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let url = Url::parse("s3://bucket/x").unwrap();
        check(&url, |name| {
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
