//! An S3 vault without credentials is an error at once that says what to set, never a wait.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use revkeep_harness::binary;

/// Far less than the client of the store would try; starting a process on a busy machine takes its time, too.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_bucket_without_credentials_is_refused_with_the_variables_to_set() -> Result<()> {
    let program = binary("revkeep-vault")?;
    // Accepts connections and never answers, as a firewall that swallows packets would seem to.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let metadata = format!("http://{}", silent.local_addr()?);
    let started = Instant::now();
    let output = std::process::Command::new(program)
        .args([
            "probe",
            "--vault",
            "s3://bucket/x?endpoint=http://127.0.0.1:1",
        ])
        .env_clear()
        .env("AWS_METADATA_ENDPOINT", metadata)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(started.elapsed() < SOON, "it took {:?}", started.elapsed());
    ensure!(output.status.code() == Some(3), "{output:?}");
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ] {
        ensure!(said.contains(name), "{said}");
    }
    Ok(())
}
