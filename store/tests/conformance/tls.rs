//! Connections that only somebody with a certificate gets.

use crate::suite::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        group!(
            "tls",
            [
                with_a_certificate,
                without_a_certificate,
                with_a_strangers_certificate,
                without_tls,
                as_json,
                a_watch,
                the_members_tell_it,
                the_port_for_metrics_is_for_nothing_else,
            ]
        )
        .tls(),
    ]
}

async fn with_a_certificate(case: &mut Case) -> Result<()> {
    let expected = PutResponse {
        header: case.header(1),
        prev_kv: None,
    };
    assert_eq!(case.put(put("k", "v")).await?, expected);
    assert_eq!(case.range(get("k")).await?.count, 1);
    Ok(())
}

/// What is refused in the handshake has no answer: the library tells of a broken connection.
async fn unserved(case: &Case) -> Result<()> {
    let outcome = tokio::time::timeout(Duration::from_secs(20), case.range(get("k"))).await?;
    let status = outcome.err().context("it was served")?;
    ensure!(
        matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled
        ),
        "{status:?}"
    );
    ensure!(!status.message().contains("etcdserver"), "{status:?}");
    Ok(())
}

async fn without_a_certificate(case: &mut Case) -> Result<()> {
    unserved(&case.showing(case.keys()?.nameless()?)?).await
}

async fn with_a_strangers_certificate(case: &mut Case) -> Result<()> {
    let stranger = Keys::make()?;
    unserved(&case.showing(case.keys()?.client(&stranger)?)?).await
}

async fn without_tls(case: &mut Case) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", case.port()?)).await?;
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    // A connection that is cut is as good as one that is closed.
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    let _ = read.await.context("it was kept open")?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(
        !answer.contains("200 OK") && !answer.contains("health\""),
        "{answer}"
    );
    Ok(())
}

async fn as_json(case: &mut Case) -> Result<()> {
    case.put(put("foo", "bar")).await?;
    let answer = https(case, "POST", "/v3/kv/range", r#"{"key":"Zm9v"}"#).await?;
    assert_eq!(answer.json()?["kvs"][0]["value"], "YmFy");
    let answer = https(case, "GET", "/health", "").await?;
    assert_eq!(answer.status, 200);
    Ok(())
}

async fn a_watch(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    case.put(put("k", "v")).await?;
    let at = case.start + 1;
    let event = written(kv("k", "v", (at, at, 1)));
    assert_eq!(stream.next().await?.events, [event]);
    Ok(())
}

async fn the_members_tell_it(case: &mut Case) -> Result<()> {
    let list = case.member_list(MemberListRequest::default()).await?;
    let url = case.endpoint()?;
    ensure!(url.starts_with("https://"), "{url}");
    assert_eq!(list.members[0].client_ur_ls, [url]);
    Ok(())
}

/// Where the first member serves metrics, without TLS.
fn metrics_port(case: &Case) -> Result<u16> {
    let log = case.members[0].log();
    let told = log.lines().find(|line| line.contains("serving metrics"));
    let told = told.context("the log does not tell of a port for metrics")?;
    let (_, port) = told.split_once("http://127.0.0.1:").context("no URL")?;
    let end = port.find(|digit: char| !digit.is_ascii_digit());
    Ok(port
        .get(..end.unwrap_or(port.len()))
        .context("no port")?
        .parse()?)
}

async fn the_port_for_metrics_is_for_nothing_else(case: &mut Case) -> Result<()> {
    let port = metrics_port(case)?;
    for path in ["/metrics", "/health"] {
        assert_eq!(
            http_at(case, port, "GET", path, "").await?.status,
            200,
            "{path}"
        );
    }
    for (method, path, body) in [
        ("POST", "/v3/kv/range", r#"{"key":"aw=="}"#),
        ("POST", "/v3/kv/put", r#"{"key":"aw=="}"#),
        ("GET", "/version", ""),
    ] {
        let answer = http_at(case, port, method, path, body).await?;
        assert_eq!(answer.status, 404, "{path}");
    }
    let stranger = case.unsafely_at(port)?;
    let read = tokio::time::timeout(Duration::from_secs(20), stranger.range(get("k"))).await?;
    ensure!(read.is_err(), "it was served: {read:?}");
    let written = tokio::time::timeout(Duration::from_secs(20), stranger.put(put("k", ""))).await?;
    ensure!(written.is_err(), "it was served: {written:?}");
    case.made(0).await
}
