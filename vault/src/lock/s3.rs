//! Dates on S3 and what speaks it: requests that the client of the store has no call for, signed with its credentials and sent
//! on its connections.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{
    HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};
use object_store::path::Path;
use object_store::signer::{HeaderValue, Method, Signer};
use object_store::{ClientOptions, RetryConfig};

use super::retention_request::{Answer, body, content_md5};
use super::rule::Retention;
use super::store::RetentionDates;
use crate::error::{ErrorKind, VaultError};

/// What an address is made for is sent at once.
const SOON: Duration = Duration::from_secs(60);

/// Makes the client of a store and keeps a handle on it, so that what is sent here goes by the same proxy, with the same
/// certificates and time limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptClient(Arc<Mutex<Option<HttpClient>>>);

impl KeptClient {
    /// The client that was made last. A builder makes those that fetch credentials before that of the store.
    pub(crate) fn client(&self) -> Option<HttpClient> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl HttpConnector for KeptClient {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }
}

/// The dates of the objects of one bucket.
pub(crate) struct S3Dates {
    pub(crate) store: Arc<AmazonS3>,
    pub(crate) client: HttpClient,
    pub(crate) region: String,
    pub(crate) retry: RetryConfig,
}

impl fmt::Debug for S3Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Dates({})", self.store)
    }
}

impl S3Dates {
    /// Sends a request until the store answers it, as often as the store's own requests are.
    async fn ask(
        &self,
        method: Method,
        object: &Path,
        body: Option<&str>,
    ) -> Result<Answer, VaultError> {
        let mut wait = self.retry.backoff.init_backoff;
        let mut left = self.retry.max_retries;
        loop {
            let answer = self.once(method.clone(), object, body).await;
            let passing = match &answer {
                Ok(answer) => answer.is_passing(),
                Err(error) => error.kind() == ErrorKind::Retry,
            };
            if !passing || left == 0 {
                return answer;
            }
            left -= 1;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(self.retry.backoff.max_backoff);
        }
    }

    async fn once(
        &self,
        method: Method,
        object: &Path,
        body: Option<&str>,
    ) -> Result<Answer, VaultError> {
        let request = self.signed(method, object, body).await?;
        let failed = |error: object_store::client::HttpError| {
            VaultError::new(
                ErrorKind::Retry,
                format!("lock {object}: the store failed; try again"),
            )
            .with_source(error)
        };
        let answer = self.client.execute(request).await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().bytes().await.map_err(failed)?;
        Ok(Answer {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// A request of an object's retention, signed by AWS Signature Version 4.
    async fn signed(
        &self,
        method: Method,
        object: &Path,
        body: Option<&str>,
    ) -> Result<HttpRequest, VaultError> {
        let wrong = || VaultError::store(format!("lock {object}"));
        // Only the store knows how its addresses are made; the signature in this one is not used.
        let address = self.store.signed_url(method.clone(), object, SOON).await;
        let mut address = address.map_err(wrong())?;
        address.set_query(Some("retention"));
        let unfit = |what: &str| {
            VaultError::new(
                ErrorKind::Internal,
                format!("lock {object}: its {what} cannot be sent; report this"),
            )
        };
        let content = body.map_or_else(HttpRequestBody::empty, |body| body.to_owned().into());
        let mut request = HttpRequest::new(content);
        *request.method_mut() = method;
        *request.uri_mut() = address.as_str().parse().map_err(|_| unfit("address"))?;
        if let Some(body) = body {
            let digest = HeaderValue::from_str(&content_md5(body)).map_err(|_| unfit("digest"))?;
            let headers = request.headers_mut();
            headers.insert("content-md5", digest);
            headers.insert("content-type", HeaderValue::from_static("application/xml"));
        }
        let credential = self.store.credentials().get_credential().await;
        let credential = credential.map_err(wrong())?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(wrong())?;
        Ok(request)
    }
}

impl RetentionDates for S3Dates {
    fn get<'a>(&'a self, object: &'a Path) -> BoxFuture<'a, Result<Option<Retention>, VaultError>> {
        async move {
            let answer = self.ask(Method::GET, object, None).await?;
            answer.found(object.as_ref())
        }
        .boxed()
    }

    fn set<'a>(
        &'a self,
        object: &'a Path,
        retention: Retention,
    ) -> BoxFuture<'a, Result<(), VaultError>> {
        async move {
            let body = body(retention);
            let answer = self.ask(Method::PUT, object, Some(&body)).await?;
            answer.done(object.as_ref())
        }
        .boxed()
    }
}
