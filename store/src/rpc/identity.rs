//! Who sent a request.

use std::sync::Arc;

use tonic::metadata::MetadataMap;

use super::engine::{Caller, Engine};
use crate::error::Result;

/// The metadata with a token: what clients of etcd send, and what the JSON gateway passes on
/// (etcd, `api/v3rpc/rpctypes/metadatafields.go`).
const TOKENS: [&str; 2] = ["token", "authorization"];

/// The common name in the certificate of a connection's client. Only there where `--client-cert-auth` says that it names a
/// user.
#[derive(Clone, Debug)]
pub struct CertificateName(pub Arc<str>);

/// What a stream's first request says of who sends it. Rights change while a stream is open, so it is looked at again for
/// every request on it.
#[derive(Clone, Debug)]
pub struct Credentials {
    metadata: MetadataMap,
    certificate: Option<CertificateName>,
}

impl Credentials {
    /// Those of a request.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        Self {
            metadata: request.metadata().clone(),
            certificate: request.extensions().get().cloned(),
        }
    }
}

impl Engine {
    /// Who sent a request: by its token, else by the connection's certificate.
    pub async fn caller<T>(&self, request: &tonic::Request<T>) -> Result<Caller> {
        if !self.shared().auth.is_enabled() {
            return Ok(None);
        }
        let certificate = request.extensions().get();
        self.recognise(request.metadata(), certificate).await
    }

    /// The same for a request on a stream.
    pub async fn caller_of(&self, credentials: &Credentials) -> Result<Caller> {
        if !self.shared().auth.is_enabled() {
            return Ok(None);
        }
        let certificate = credentials.certificate.as_ref();
        self.recognise(&credentials.metadata, certificate).await
    }

    async fn recognise(
        &self,
        metadata: &MetadataMap,
        certificate: Option<&CertificateName>,
    ) -> Result<Caller> {
        let auth = &self.shared().auth;
        let token = TOKENS
            .iter()
            .find_map(|name| metadata.get(*name))
            .and_then(|token| token.to_str().ok());
        match (token, certificate) {
            (Some(token), _) => auth.recognise(token).await,
            (None, Some(name)) => Ok(auth.recognise_certificate(&name.0)),
            (None, None) => Ok(None),
        }
    }
}
