//! A server that speaks Azure's blob storage: Azurite.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::dev::{dev_dir, missing};
use crate::http;
use crate::port::free_port;
use crate::process::Process;
use crate::product::VaultPlace;

const CONTAINER: &str = "revkeep";
/// The account that every Azurite has, and its public key (Azurite's README).
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const VERSION: &str = "2021-08-06";
/// It is usually ready in two seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running Azurite with one container, on 127.0.0.1, in memory.
#[derive(Debug)]
pub struct Azurite {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl Azurite {
    /// Starts a server and creates the container. `None`, said by name, where the server is not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Option<Self>> {
        let program = Self::program();
        if !program.is_file() {
            missing("Azurite", false);
            return Ok(None);
        }
        let folder = TempDir::with_prefix("revkeep-azurite-")?;
        let port = free_port()?;
        let arguments = [
            "--blobHost".to_owned(),
            "127.0.0.1".to_owned(),
            "--blobPort".to_owned(),
            port.to_string(),
            "--inMemoryPersistence".to_owned(),
            "--silent".to_owned(),
            "--disableTelemetry".to_owned(),
            "--skipApiVersionCheck".to_owned(),
        ];
        let none: [(&str, &str); 0] = [];
        let log = folder.path().join("azurite.log");
        let process = Process::spawn(&program, arguments, none, &log)?;
        let mut server = Self {
            port,
            process,
            _folder: folder,
        };
        server.create_container().await?;
        Ok(Some(server))
    }

    async fn create_container(&mut self) -> Result<()> {
        let target = format!("/{ACCOUNT}/{CONTAINER}?restype=container");
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.ended()? {
                bail!(
                    "Azurite ended with {status}:\n{}",
                    self.process.log_tail(25)
                );
            }
            let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let authorization = authorize(&date)?;
            let headers = [
                ("x-ms-date", date.as_str()),
                ("x-ms-version", VERSION),
                ("Authorization", authorization.as_str()),
            ];
            let answer = http::exchange("PUT", self.port, &target, &headers, &[]).await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 201) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let log = self.process.log_tail(25);
                bail!("Azurite did not create the container ({answer:?}):\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A vault under a prefix of the container.
    pub fn vault(&self, prefix: &str) -> VaultPlace {
        VaultPlace {
            url: format!(
                "az://{CONTAINER}/{prefix}?account={ACCOUNT}&endpoint={}",
                self.endpoint()
            ),
            environment: vec![("AZURE_STORAGE_ACCOUNT_KEY", KEY)],
        }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    /// The container as an object store, for tests that need no environment.
    ///
    /// # Errors
    /// When the settings do not fit together.
    pub fn object_store(&self) -> Result<MicrosoftAzure> {
        Ok(MicrosoftAzureBuilder::new()
            .with_account(ACCOUNT)
            .with_access_key(KEY)
            .with_container_name(CONTAINER)
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .build()?)
    }

    /// Where the server is expected.
    pub fn program() -> PathBuf {
        dev_dir().join("azurite").join("azurite-blob")
    }
}

/// A shared key's signature of the one request that no client of a store offers (Azure, "Authorize with Shared Key").
fn authorize(date: &str) -> Result<String> {
    let text = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    );
    let signature = hmac_sha256(&BASE64_STANDARD.decode(KEY)?, text.as_bytes());
    Ok(format!(
        "SharedKey {ACCOUNT}:{}",
        BASE64_STANDARD.encode(signature)
    ))
}

/// HMAC with SHA-256 (RFC 2104) and a key of at most a block.
fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text);
    let outer = Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_that_of_the_standard() {
        let sum = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let hex = u128::from_str_radix("5bdcc146bf60754e6a042426089575c7", 16).unwrap();
        assert_eq!(sum[..16], hex.to_be_bytes());
        let hex = u128::from_str_radix("5a003f089d2739839dec58b964ec3843", 16).unwrap();
        assert_eq!(sum[16..], hex.to_be_bytes());
    }
}
