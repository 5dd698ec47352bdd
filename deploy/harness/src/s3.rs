//! A real S3 server: SeaweedFS.

use crate::dev::{dev_dir, missing};
use crate::http;
use crate::port::free_port;
use crate::process::Process;
use anyhow::{Context, Result, bail, ensure};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::signer::{HeaderName, HeaderValue, SignedUrlOptions, Signer};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BUCKET: &str = "revkeep";
const REGION: &str = "us-east-1";
const ACCESS_KEY: &str = "revkeep-test";
const SECRET_KEY: &str = "not-a-secret-loopback-only";

/// It is usually ready in four seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running SeaweedFS with one bucket, on 127.0.0.1, in a folder that goes with it.
#[derive(Debug)]
pub struct SeaweedFs {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl SeaweedFs {
    /// Starts a server and creates the bucket. `None`, said by name, where the server is not installed.
    ///
    /// # Panics
    /// With `CI=true` where it is not installed.
    pub async fn start() -> Result<Option<Self>> {
        let weed = Self::program();
        if !weed.is_file() {
            missing("SeaweedFS", true);
            return Ok(None);
        }
        let folder = TempDir::with_prefix("revkeep-s3-")?;
        let identities = serde_json::json!({"identities": [{
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        let config = folder.path().join("s3.json");
        std::fs::write(&config, identities.to_string())?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let port = free_port()?;
        let arguments = [
            "server".to_owned(),
            format!("-dir={}", data.display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-master.port={}", free_port()?),
            format!("-volume.port={}", free_port()?),
            format!("-filer.port={}", free_port()?),
            "-s3".to_owned(),
            format!("-s3.port={port}"),
            format!("-s3.config={}", config.display()),
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            "-master.telemetry=false".to_owned(),
            "-volume.max=80".to_owned(),
            "-master.volumeSizeLimitMB=64".to_owned(),
        ];
        let none: [(&str, &str); 0] = [];
        let process = Process::spawn(&weed, arguments, none, &folder.path().join("weed.log"))?;
        let mut server = Self {
            port,
            process,
            _folder: folder,
        };
        server.create_bucket().await?;
        Ok(Some(server))
    }

    /// Creates the bucket by a signed PUT of its bare name, tried until the server is up.
    async fn create_bucket(&mut self) -> Result<()> {
        let method = "PUT".parse().context("a method's name")?;
        let valid = Duration::from_secs(600);
        let url = self
            .object_store()?
            .signed_url(method, &ObjectPath::default(), valid)
            .await?;
        let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.ended()? {
                bail!(
                    "SeaweedFS ended with {status}:\n{}",
                    self.process.log_tail(25)
                );
            }
            let answer = http::request("PUT", self.port, &target).await;
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let log = self.process.log_tail(25);
                bail!("SeaweedFS did not create the bucket ({answer:?}):\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Creates another bucket, whose objects can be locked: it keeps versions.
    ///
    /// # Errors
    /// When the server does not create it.
    pub async fn create_locking_bucket(&self, bucket: &str) -> Result<()> {
        let lock = ("x-amz-bucket-object-lock-enabled", "true");
        let answer = self.signed("PUT", bucket, "", &[], &[lock], &[]).await?;
        ensure!(answer.status == 200, "bucket {bucket}: {answer:?}");
        Ok(())
    }

    /// The vault URL of a prefix in another bucket.
    pub fn url_in(&self, bucket: &str, prefix: &str) -> String {
        format!(
            "s3://{bucket}/{prefix}?endpoint={}&region={REGION}",
            self.endpoint()
        )
    }

    /// Sends a signed request of the plain S3 API, for what an object store has no call for.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn signed(
        &self,
        method: &str,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<http::Answer> {
        let mut options = SignedUrlOptions::default().with_query(query.iter().copied());
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)?;
            options = options.with_signed_header(HeaderName::from_static(name), value);
        }
        let valid = Duration::from_secs(60);
        let path = ObjectPath::parse(key)?;
        let url = self
            .object_store_of(bucket)?
            .signed_url_opts(
                method.parse().context("a method's name")?,
                &path,
                valid,
                &options,
            )
            .await?;
        let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        http::exchange(method, self.port, &target, headers, body).await
    }

    /// The vault URL of a prefix in the bucket: `s3://bucket/prefix?endpoint=http://127.0.0.1:PORT&region=us-east-1`.
    pub fn url(&self, prefix: &str) -> String {
        format!(
            "s3://{BUCKET}/{prefix}?endpoint={}&region={REGION}",
            self.endpoint()
        )
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The vault URL of a prefix in the bucket, reached by another port: that of a gate before it.
    pub fn url_by(&self, port: u16, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{port}&region={REGION}")
    }

    /// The server's address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The credentials, as the environment variables of a child process.
    pub fn credentials(&self) -> [(&'static str, &'static str); 2] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ]
    }

    /// The bucket as an object store, for tests that need no environment.
    pub fn object_store(&self) -> Result<AmazonS3> {
        self.object_store_of(BUCKET)
    }

    /// Another bucket as an object store.
    pub fn object_store_of(&self, bucket: &str) -> Result<AmazonS3> {
        Ok(AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_region(REGION)
            .with_bucket_name(bucket)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_allow_http(true)
            .build()?)
    }

    /// Where the server's binary is expected.
    pub fn program() -> PathBuf {
        dev_dir().join("seaweedfs").join("weed")
    }
}
