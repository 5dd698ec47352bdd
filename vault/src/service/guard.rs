//! Who is answered: everybody's probes; the rest for those who show the token, or a certificate where one is asked for.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest, Sha256};
use tonic::Status;

use crate::door::Caller;
use crate::error::{ErrorKind, VaultError};

/// What callers must show.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// The hash of the token; compared instead of it, so that the time it takes tells nothing.
    token: RwLock<Option<[u8; 32]>>,
    /// Whether a certificate is asked for.
    certificate: bool,
}

impl Guard {
    pub(super) fn new(certificate: bool) -> Self {
        Self {
            token: RwLock::default(),
            certificate,
        }
    }

    /// Reads the token.
    ///
    /// # Errors
    /// `Config` for a file that cannot be read or is empty.
    pub(super) fn read(&self, file: &Path) -> Result<(), VaultError> {
        let wrong = |what: String| {
            VaultError::new(
                ErrorKind::Config,
                format!("the token file {}: {what}", file.display()),
            )
        };
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        *self.token.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Sha256::digest(token).into());
        Ok(())
    }

    fn lets_in(&self, request: &Request, caller: Caller) -> bool {
        let path = request.uri().path();
        if matches!(path, "/livez" | "/readyz") || path.starts_with("/grpc.health.v1.Health/") {
            return true;
        }
        let token = *self.token.read().unwrap_or_else(PoisonError::into_inner);
        if token.is_none() && !self.certificate || self.certificate && caller.verified {
            return true;
        }
        let shown = request.headers().get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
        let shown: Option<[u8; 32]> = shown.map(|shown| Sha256::digest(shown.trim()).into());
        token.is_some() && shown == token
    }
}

/// Turns away who shows nothing.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if guard.lets_in(&request, caller) {
        return next.run(request).await;
    }
    tracing::debug!(address = %caller.address, "a caller showed neither token nor certificate");
    let why = "show the token, as 'authorization: Bearer TOKEN', or a certificate";
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Status::unauthenticated(why).into_http();
    }
    (StatusCode::UNAUTHORIZED, format!("{why}\n")).into_response()
}
