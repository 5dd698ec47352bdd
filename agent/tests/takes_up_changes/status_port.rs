//! The status port by TLS: who may ask what, and a certificate that is replaced.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revkeep_harness::{Certificates, Etcd, base_etcd, binary};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;

use crate::world::{WITHIN, World};

/// Asks for a path as the kubelet does: by TLS, without a certificate.
async fn get(port: u16, authority: &Path, path: &str) -> Result<String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(ServerName::try_from("127.0.0.1")?, stream)
        .await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    // A server may close without a farewell.
    let _ = stream.read_to_string(&mut answer).await;
    Ok(answer)
}

/// Asks a running agent as an operator does.
async fn ask(words: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(binary("revkeep-agent")?)
        .args(words)
        .kill_on_drop(true)
        .output()
        .await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_by_tls_is_for_those_with_a_certificate_and_for_probes() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let folder = world.path("status");
    let made = Certificates::make(&folder)?;
    let etcd = Etcd::start(&version).await?;
    let text = |name: &str| world.text(&format!("status/{name}"));
    let (cert, key, ca) = (text("server.crt")?, text("server.key")?, text("ca.crt")?);
    let flags = [
        "--status-cert",
        &cert,
        "--status-key",
        &key,
        "--status-cacert",
        &ca,
    ];
    let mut agent = world.agent(&etcd.endpoints(), &flags)?;
    agent.agent.wait_for_log("base is durable").await?;

    let url = format!("https://127.0.0.1:{}", agent.port);
    let (mine, my_key) = (text("client.crt")?, text("client.key")?);
    let known = [
        "--agent",
        &url,
        "--agent-cacert",
        &ca,
        "--agent-cert",
        &mine,
        "--agent-key",
        &my_key,
    ];
    for command in ["status", "flush", "snapshot"] {
        let (ok, said) = ask(&[&[command], &known[..]].concat()).await?;
        ensure!(ok, "{command}: {said}");
    }
    for command in ["status", "flush", "snapshot"] {
        let (ok, said) = ask(&[command, "--agent", &url, "--agent-cacert", &ca]).await?;
        ensure!(
            !ok && said.contains("show a certificate"),
            "{command}: {said}"
        );
    }
    // Others are not even talked to: by plain HTTP, or as someone else's authority would have them.
    let plain = format!("http://127.0.0.1:{}", agent.port);
    ensure!(!ask(&["status", "--agent", &plain]).await?.0);
    let authority = made.file("ca.crt");
    for (path, status) in [
        ("/livez", "200"),
        ("/readyz", "200"),
        ("/metrics", "403"),
        ("/", "403"),
    ] {
        let answer = get(agent.port, &authority, path).await?;
        ensure!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
    }
    let strangers = Certificates::make(&world.path("strangers"))?;
    let refused = get(agent.port, &strangers.file("ca.crt"), "/livez").await;
    ensure!(refused.is_err(), "{refused:?}");

    // A new authority and its certificates are taken up.
    Certificates::make(&folder)?;
    let deadline = Instant::now() + WITHIN;
    loop {
        let (ok, said) = ask(&[&["status"], &known[..]].concat()).await?;
        if ok {
            break;
        }
        ensure!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    agent
        .agent
        .wait_for_log("callers are shown a new certificate")
        .await?;
    std::fs::write(&cert, "nothing").context("the certificate")?;
    agent.agent.stop().await
}
