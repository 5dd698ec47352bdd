//! Answers and errors in the form that grpc-gateway gives them.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The error of a unary call.
#[derive(Serialize)]
struct CallError<'a> {
    error: &'a str,
    code: i32,
    message: &'a str,
}

/// The error that ends a stream.
#[derive(Serialize)]
struct StreamError<'a> {
    grpc_code: i32,
    http_code: u16,
    message: &'a str,
    http_status: &'a str,
}

/// A JSON body.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The error of a unary call, or of a stream that could not be opened.
pub(super) fn call_error(status: &Status) -> Response<Body> {
    let body = serde_json::to_vec(&CallError {
        error: status.message(),
        code: status.code().into(),
        message: status.message(),
    });
    json(http_status(status.code()), body.unwrap_or_default())
}

/// One line of a stream.
pub(super) fn result_line(message: &[u8]) -> Vec<u8> {
    [br#"{"result":"#, message, b"}\n"].concat()
}

/// The last line of a stream that failed.
pub(super) fn error_line(status: &Status) -> Vec<u8> {
    let http = http_status(status.code());
    let error = serde_json::to_vec(&StreamError {
        grpc_code: status.code().into(),
        http_code: http.as_u16(),
        message: status.message(),
        http_status: http.canonical_reason().unwrap_or_default(),
    });
    [br#"{"error":"#, error.unwrap_or_default().as_slice(), b"}"].concat()
}

/// grpc-gateway's table (`runtime/errors.go`, version 1).
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
