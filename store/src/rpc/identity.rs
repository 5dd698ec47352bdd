//! Who sent a request.

use std::sync::Arc;

use tonic::metadata::MetadataMap;

use super::engine::{Caller, Engine};
use crate::error::{Result, StoreError};

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

    /// Those of a request that is taken apart, and its message.
    pub fn split<T>(request: tonic::Request<T>) -> (Self, T) {
        let (metadata, mut extensions, message) = request.into_parts();
        let certificate = extensions.remove();
        let credentials = Self {
            metadata,
            certificate,
        };
        (credentials, message)
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

    /// The same where the answer may be wanted more than once, or only after something else.
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
        let token = TOKENS.iter().find_map(|name| metadata.get(*name));
        match (token, certificate) {
            (Some(token), _) => {
                // Whoever sends a token wants to be known by it: one that is not even text is a wrong one.
                let token = token.to_str().map_err(|_| StoreError::InvalidAuthToken)?;
                auth.recognise(token).await
            }
            (None, Some(name)) => Ok(auth.recognise_certificate(&name.0)),
            (None, None) => Ok(None),
        }
    }
}
