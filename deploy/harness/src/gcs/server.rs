//! The server, and the shim before it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use object_store::ClientOptions;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::shim::router;
use crate::dev::{dev_dir, missing};
use crate::http;
use crate::port::free_port;
use crate::process::Process;
use crate::product::VaultPlace;

const BUCKET: &str = "revkeep";
/// A service account that asks nobody for a token.
const ACCOUNT: &str =
    r#"{"private_key":"none","private_key_id":"none","client_email":"none","disable_oauth":true}"#;
/// It is usually ready at once.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running fake-gcs-server with one bucket, on 127.0.0.1, in memory.
#[derive(Debug)]
pub struct FakeGcs {
    endpoint: String,
    shim: AbortHandle,
    _process: Process,
    _folder: TempDir,
}

impl FakeGcs {
    /// Starts a server and creates the bucket. `None`, said by name, where the server is not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Option<Self>> {
        let program = Self::program();
        if !program.is_file() {
            missing("fake-gcs-server", false);
            return Ok(None);
        }
        let folder = TempDir::with_prefix("revkeep-gcs-")?;
        let port = free_port()?;
        let arguments = [
            "-scheme=http".to_owned(),
            "-host=127.0.0.1".to_owned(),
            format!("-port={port}"),
            "-backend=memory".to_owned(),
            "-log-level=error".to_owned(),
        ];
        let none: [(&str, &str); 0] = [];
        let log = folder.path().join("gcs.log");
        let mut process = Process::spawn(&program, arguments, none, &log)?;
        create_bucket(port, &mut process).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shim = tokio::spawn(async move {
            // It ends with the task alone.
            let _ = axum::serve(listener, router(port)).await;
        });
        Ok(Some(Self {
            endpoint,
            shim: shim.abort_handle(),
            _process: process,
            _folder: folder,
        }))
    }

    /// A vault under a prefix of the bucket.
    pub fn vault(&self, prefix: &str) -> VaultPlace {
        VaultPlace {
            url: format!("gs://{BUCKET}/{prefix}?endpoint={}", self.endpoint),
            environment: vec![("GOOGLE_SERVICE_ACCOUNT_KEY", ACCOUNT)],
        }
    }

    /// The bucket as an object store, for tests that need no environment.
    ///
    /// # Errors
    /// When the settings do not fit together.
    pub fn object_store(&self) -> Result<GoogleCloudStorage> {
        Ok(GoogleCloudStorageBuilder::new()
            .with_bucket_name(BUCKET)
            .with_base_url(&self.endpoint)
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_service_account_key(ACCOUNT)
            .build()?)
    }

    /// Where the server is expected.
    pub fn program() -> PathBuf {
        dev_dir().join("fake-gcs-server").join("fake-gcs-server")
    }
}

impl Drop for FakeGcs {
    fn drop(&mut self) {
        self.shim.abort();
    }
}

async fn create_bucket(port: u16, process: &mut Process) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    let body = format!("{{\"name\":\"{BUCKET}\"}}");
    let headers = [("Content-Type", "application/json")];
    loop {
        if let Some(status) = process.ended()? {
            bail!(
                "fake-gcs-server ended with {status}:\n{}",
                process.log_tail(25)
            );
        }
        let target = "/storage/v1/b?project=test";
        let answer = http::exchange("POST", port, target, &headers, body.as_bytes()).await;
        if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let log = process.log_tail(25);
            bail!("fake-gcs-server did not create the bucket ({answer:?}):\n{log}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
