//! From the XML API to the JSON API (Google, "XML API" and "JSON API" references of Cloud Storage).

use std::fmt::Write as _;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use object_store::path::Path;
use serde_json::Value;

use crate::http::{Answer, exchange};

/// A request is never larger.
const LARGEST_BYTES: usize = 256 << 20;
const GENERATION: &str = "x-goog-generation";
const IF_GENERATION: &str = "x-goog-if-generation-match";

/// Answers the XML API before a server on `port` that speaks the JSON API.
pub(super) fn router(port: u16) -> Router {
    Router::new().fallback(move |request: Request| async move {
        answer(port, request)
            .await
            .unwrap_or_else(|error| plain(StatusCode::BAD_GATEWAY, &format!("{error:#}")))
    })
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text.to_owned()));
    *answer.status_mut() = status;
    answer
}

async fn answer(port: u16, request: Request) -> anyhow::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BYTES).await?;
    let path = parts.uri.path().trim_start_matches('/');
    let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
    let name = Path::from_url_path(name)?.to_string();
    let one = format!("/storage/v1/b/{bucket}/o/{}", escape(&name));
    match parts.method {
        Method::PUT => put(port, bucket, &name, &parts.headers, &body).await,
        Method::GET if name.is_empty() => list(port, bucket, &parts.uri).await,
        Method::GET => get(port, &one, &parts.headers).await,
        Method::HEAD => head(port, &one).await,
        Method::DELETE => {
            let done = exchange("DELETE", port, &one, &[], &[]).await?;
            Ok(plain(passed_on(&done), ""))
        }
        other => Ok(plain(StatusCode::NOT_IMPLEMENTED, other.as_str())),
    }
}

fn escape(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut escaped = String::new();
    for byte in name.bytes() {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn passed_on(answer: &Answer) -> StatusCode {
    StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY)
}

fn with(mut answer: Response<Body>, headers: &[(&'static str, &str)]) -> Response<Body> {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(*name, value);
        }
    }
    answer
}

/// The server looks at conditions only where an upload comes in parts: its description, then its bytes.
async fn put(
    port: u16,
    bucket: &str,
    name: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> anyhow::Result<Response<Body>> {
    const BOUNDARY: &str = "revkeep-7d1f5f3a-boundary";
    let condition = headers
        .get(IF_GENERATION)
        .and_then(|value| value.to_str().ok())
        .map_or_else(String::new, |value| format!("&ifGenerationMatch={value}"));
    let target = format!(
        "/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={}{condition}",
        escape(name)
    );
    let about = serde_json::json!({ "name": name });
    let mut parts = format!(
        "--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{about}\r\n--{BOUNDARY}\r\nContent-Type: \
         application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    parts.extend_from_slice(body);
    parts.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let kind = format!("multipart/related; boundary={BOUNDARY}");
    let done = exchange("POST", port, &target, &[("Content-Type", &kind)], &parts).await?;
    let about: Value = serde_json::from_slice(&done.body).unwrap_or_default();
    let answer = plain(passed_on(&done), "");
    Ok(with(
        answer,
        &[
            ("etag", &format!("\"{}\"", text(&about, "etag"))),
            (GENERATION, text(&about, "generation")),
        ],
    ))
}

fn text<'a>(about: &'a Value, field: &str) -> &'a str {
    about.get(field).and_then(Value::as_str).unwrap_or_default()
}

async fn get(port: u16, one: &str, headers: &HeaderMap) -> anyhow::Result<Response<Body>> {
    let range = headers.get("range").and_then(|value| value.to_str().ok());
    let asked: Vec<_> = range.iter().map(|range| ("Range", *range)).collect();
    let got = exchange("GET", port, &format!("{one}?alt=media"), &asked, &[]).await?;
    let status = passed_on(&got);
    let mut answer = Response::new(Body::from(got.body.clone()));
    *answer.status_mut() = status;
    let names = ["etag", "last-modified", "content-range", GENERATION];
    let kept: Vec<_> = names
        .into_iter()
        .filter_map(|name| Some((name, got.header(name)?)))
        .collect();
    Ok(with(answer, &kept))
}

async fn head(port: u16, one: &str) -> anyhow::Result<Response<Body>> {
    // It is read whole for its length: objects are small here, and the server says it in no header.
    let got = exchange("GET", port, &format!("{one}?alt=media"), &[], &[]).await?;
    let length = got.body.len().to_string();
    let names = ["etag", "last-modified", GENERATION];
    let mut kept: Vec<_> = names
        .into_iter()
        .filter_map(|name| Some((name, got.header(name)?)))
        .collect();
    kept.push(("content-length", &length));
    Ok(with(plain(passed_on(&got), ""), &kept))
}

async fn list(port: u16, bucket: &str, uri: &Uri) -> anyhow::Result<Response<Body>> {
    let query = uri.query().unwrap_or_default();
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| pair.starts_with("prefix=") || pair.starts_with("delimiter="))
        .collect();
    let mut objects = String::new();
    let mut page = String::new();
    loop {
        let target = format!("/storage/v1/b/{bucket}/o?{}{page}", kept.join("&"));
        let got = exchange("GET", port, &target, &[], &[]).await?;
        if got.status != 200 {
            return Ok(plain(passed_on(&got), ""));
        }
        let listed: Value = serde_json::from_slice(&got.body)?;
        let all = |field| listed.get(field).and_then(Value::as_array);
        for item in all("items").into_iter().flatten() {
            let _ = write!(
                objects,
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
                text(item, "name"),
                text(item, "updated"),
                text(item, "etag"),
                text(item, "size")
            );
        }
        for folder in all("prefixes").into_iter().flatten() {
            let folder = folder.as_str().unwrap_or_default();
            let _ = write!(
                objects,
                "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"
            );
        }
        match text(&listed, "nextPageToken") {
            "" => break,
            token => page = format!("&pageToken={}", escape(token)),
        }
    }
    let body =
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>");
    Ok(with(
        plain(StatusCode::OK, &body),
        &[("content-type", "application/xml")],
    ))
}
