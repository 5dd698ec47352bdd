//! S3, and what speaks it.

use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use url::Url;

use super::{Backend, bucket, place, prefix, refused, retry, unknown};
use crate::credentials;
use crate::error::VaultError;
use crate::fail_point;
use crate::lock::{KeptClient, RetentionDates, S3Dates};

/// The region where none is named, as the client has it.
const DEFAULT_REGION: &str = "us-east-1";

pub(super) async fn open(url: &Url) -> Result<Backend, VaultError> {
    let bucket = bucket(url, "a bucket, as in s3://bucket/prefix")?;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if fail_point::impatient() {
        let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        builder = builder.with_config(timeout, "2s");
    }
    let mut plain = false;
    for (key, value) in url.query_pairs() {
        builder = match &*key {
            "endpoint" => {
                plain = value.starts_with("http://");
                builder
                    .with_allow_http(plain)
                    .with_endpoint(value.trim_end_matches('/'))
            }
            "region" => builder.with_region(value),
            other => return Err(unknown(url, other, "endpoint and region")),
        };
    }
    if plain
        && builder
            .get_config_value(&AmazonS3ConfigKey::AccessKeyId)
            .is_some()
    {
        // Nobody is asked by TLS, unless the endpoint redirects there, which README rules out; and reading the system's
        // certificates takes as long as an answer of a store nearby.
        let none = AmazonS3ConfigKey::Client(ClientConfigKey::NoSystemCertificates);
        builder = builder.with_config(none, "true");
    }
    let prefix = prefix(url)?;
    credentials::s3(url, |name| std::env::var(name).ok()).await?;
    build(url, builder, prefix)
}

fn build(url: &Url, builder: AmazonS3Builder, prefix: Path) -> Result<Backend, VaultError> {
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
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
    let kept = KeptClient::default();
    let store = builder
        .with_retry(retry())
        .with_http_connector(kept.clone())
        // One at a time as well in bulk, and only so is an object that the store does not let go of told from a failure.
        .with_disable_bulk_delete(true)
        .build()
        .map_err(refused(url))?;
    let store = Arc::new(store);
    let dates = kept.client().map(|client| {
        let dates: Arc<dyn RetentionDates> = Arc::new(S3Dates {
            store: Arc::clone(&store),
            client,
            region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            retry: retry(),
        });
        dates
    });
    Ok(Backend {
        store,
        prefix,
        place,
        dates,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use chrono::Utc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::error::ErrorKind;
    use crate::lock::{LockMode, Retention};
    use crate::objects::Objects;

    /// One request after another: what came, and an answer to it.
    struct Stub {
        url: Url,
        requests: Arc<Mutex<Vec<String>>>,
        serving: tokio::task::JoinHandle<()>,
    }

    impl Stub {
        /// Answers each request with the next of these, and the last one from then on.
        async fn answering(answers: &'static [(u16, &'static str)]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let requests = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&requests);
            let serving = tokio::spawn(async move {
                let mut answers = answers.iter();
                let mut answer = answers.next().unwrap();
                while let Ok((mut stream, _)) = listener.accept().await {
                    let request = read(&mut stream).await;
                    seen.lock().unwrap().push(request);
                    let (status, body) = answer;
                    answer = answers.next().unwrap_or(answer);
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _gone = stream.write_all(head.as_bytes()).await;
                }
            });
            let url = format!("s3://bucket/some/where?endpoint=http://{address}");
            Self {
                url: Url::parse(&url).unwrap(),
                requests,
                serving,
            }
        }

        fn backend(&self) -> Backend {
            let endpoint = self.url.query_pairs().next().unwrap().1.into_owned();
            let builder = AmazonS3Builder::new()
                .with_bucket_name("bucket")
                .with_region("eu-x")
                .with_allow_http(true)
                .with_endpoint(endpoint)
                .with_access_key_id("key")
                .with_secret_access_key("secret")
                .with_token("session");
            build(&self.url, builder, prefix(&self.url).unwrap()).unwrap()
        }

        async fn seen(self) -> Vec<String> {
            self.serving.abort();
            let _ended = self.serving.await;
            std::mem::take(&mut *self.requests.lock().unwrap())
        }
    }

    async fn read(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.parse().unwrap())
                });
                if body.len() >= length.unwrap_or(0_usize) {
                    return text;
                }
            }
            let mut more = [0; 4096];
            let count = stream.read(&mut more).await.unwrap();
            if count == 0 {
                return text;
            }
            request.extend_from_slice(&more[..count]);
        }
    }

    fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
        request.lines().find_map(|line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    #[tokio::test]
    async fn a_date_is_set_by_a_signed_request_with_a_digest_and_no_bypass() {
        let stub =
            Stub::answering(&[(503, "<Error><Code>SlowDown</Code></Error>"), (200, "")]).await;
        let backend = stub.backend();
        let path = Path::from("some/where/a b+c");
        let retention = Retention {
            mode: LockMode::Governance,
            until: "2026-03-15T12:00:01Z".parse().unwrap(),
        };
        backend.dates.unwrap().set(&path, retention).await.unwrap();
        let seen = stub.seen().await;
        assert_eq!(
            seen.len(),
            2,
            "a store that is busy is asked again: {seen:?}"
        );
        let request = &seen[1];
        let target = "PUT /bucket/some/where/a%20b%2Bc?retention HTTP/1.1";
        assert!(request.starts_with(target), "{request}");
        let body = request.split_once("\r\n\r\n").unwrap().1;
        assert!(
            body.contains("<Mode>GOVERNANCE</Mode><RetainUntilDate>2026-03-15T12:00:01Z<"),
            "{body}"
        );
        // By `openssl md5 -binary` and `sha256sum` of that body.
        assert_eq!(header(request, "content-md5"), Some(MD5), "{body}");
        assert_eq!(header(request, "x-amz-content-sha256"), Some(SHA256));
        assert_eq!(header(request, "x-amz-security-token"), Some("session"));
        let signed = header(request, "authorization").unwrap();
        let scope = format!(
            "Credential=key/{}/eu-x/s3/aws4_request",
            Utc::now().format("%Y%m%d")
        );
        assert!(
            signed.starts_with("AWS4-HMAC-SHA256 ") && signed.contains(&scope),
            "{signed}"
        );
        for name in ["content-md5", "host", "x-amz-content-sha256", "x-amz-date"] {
            assert!(signed.contains(name), "{name} is not signed: {signed}");
        }
        assert!(!request.contains("bypass"), "{request}");
    }

    const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>locked</Message></Error>";
    const MD5: &str = "fvAvEaeBqy1ua395aiLYzw==";
    const SHA256: &str = "86ff627208de8708100ebf0f4e555b6cea0e746340fbe4b905ee67b98006d26b";

    #[tokio::test]
    async fn what_the_store_does_not_let_go_of_is_told_from_a_failure() {
        let stub = Stub::answering(&[(403, DENIED)]).await;
        let backend = stub.backend();
        let error = Objects::new(backend.store, backend.prefix)
            .remove("x")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let seen = stub.seen().await;
        assert!(
            seen[0].starts_with("DELETE /bucket/some/where/x HTTP/1.1"),
            "{seen:?}"
        );
    }
}
