//! HTTP/1.1 as a browser, a probe or a scraper would speak it.

use super::{Case, Context, Duration, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The header lines, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {self:?}"))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends one request to the client port of the first member.
pub(crate) async fn http(case: &Case, method: &str, path: &str, body: &str) -> Result<Answer> {
    http_at(case, case.port()?, method, path, body).await
}

/// The same to another port.
pub(crate) async fn http_at(
    case: &Case,
    port: u16,
    method: &str,
    path: &str,
    body: &str,
) -> Result<Answer> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    exchange(case, stream, method, path, body).await
}

/// The same through TLS, with the certificate of `test client`.
pub(crate) async fn https(case: &Case, method: &str, path: &str, body: &str) -> Result<Answer> {
    let keys = case.keys()?;
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_file(keys.file("ca.crt"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(keys.file("client.crt"))?],
            PrivateKeyDer::from_pem_file(keys.file("client.key"))?,
        )?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, case.port()?)).await?;
    let server = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let stream = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await?;
    exchange(case, stream, method, path, body).await
}

async fn exchange(
    case: &Case,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    body: &str,
) -> Result<Answer> {
    let token = case
        .token()
        .map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
    let port = case.port()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{token}\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // A server may go without TLS's good-bye.
        if let Err(error) = stream.read_to_end(&mut answer).await
            && error.kind() != std::io::ErrorKind::UnexpectedEof
        {
            return Err(error.into());
        }
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .with_context(|| format!("{method} {path}: no answer in time"))??;
    parse(&answer).with_context(|| format!("not an HTTP answer: {answer:?}"))
}

/// Posts to a call that streams, and returns its first lines; the stream itself does not end.
pub(crate) async fn http_lines(
    case: &Case,
    path: &str,
    body: &str,
    count: usize,
) -> Result<Vec<serde_json::Value>> {
    let port = case.port()?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer);
            let lines: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with('{'))
                .filter_map(|line| serde_json::from_str(line).ok())
                .take(count)
                .collect();
            if lines.len() == count {
                return anyhow::Ok(lines);
            }
            let read = stream.read_buf(&mut answer).await?;
            anyhow::ensure!(read > 0, "it ended: {}", String::from_utf8_lossy(&answer));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .with_context(|| format!("{path}: too few lines in time"))?
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked {
        join(body)?
    } else {
        body.to_owned()
    };
    Some(Answer {
        status,
        headers,
        body,
    })
}

fn join(mut chunks: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..size)?);
        chunks = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}
