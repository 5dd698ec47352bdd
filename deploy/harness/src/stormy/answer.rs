//! S3's answers.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use object_store::{ListResult, ObjectMeta};

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// An error as S3 tells it.
pub(super) fn error(status: StatusCode, code: &str) -> Response<Body> {
    xml(
        status,
        format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"),
    )
}

fn xml(status: StatusCode, body: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/xml");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// What a put or a get says of the object.
pub(super) fn describe(
    mut answer: Response<Body>,
    etag: Option<&str>,
    meta: Option<&ObjectMeta>,
) -> Response<Body> {
    let headers = answer.headers_mut();
    let mut insert = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    insert(header::ETAG, &format!("\"{}\"", etag.unwrap_or("none")));
    if let Some(meta) = meta {
        let modified = meta.last_modified.to_rfc2822().replace("+0000", "GMT");
        insert(header::LAST_MODIFIED, &modified);
    }
    answer
}

/// The bytes of an object, or of a part of it.
pub(super) fn content(
    bytes: Bytes,
    part: Option<std::ops::Range<u64>>,
    meta: &ObjectMeta,
) -> Response<Body> {
    let length = bytes.len();
    let mut answer = Response::new(Body::from(bytes));
    if let Some(part) = part {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = part.end.saturating_sub(1);
        let range = format!("bytes {}-{last}/{}", part.start, meta.size);
        if let Ok(range) = HeaderValue::from_str(&range) {
            answer.headers_mut().insert(header::CONTENT_RANGE, range);
        }
    }
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    describe(answer, meta.e_tag.as_deref(), Some(meta))
}

/// A listing, whole: it fits in one page.
pub(super) fn listing(listed: &ListResult) -> Response<Body> {
    let objects = listed.objects.iter().map(|meta| {
        format!(
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
            meta.location,
            meta.last_modified.to_rfc3339(),
            meta.e_tag.as_deref().unwrap_or("none"),
            meta.size
        )
    });
    let folders = listed
        .common_prefixes
        .iter()
        .map(|folder| format!("<CommonPrefixes><Prefix>{folder}/</Prefix></CommonPrefixes>"));
    let all: String = objects.chain(folders).collect();
    xml(
        StatusCode::OK,
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{all}</ListBucketResult>"),
    )
}
