//! Certificates, by file.

use std::path::PathBuf;

use crate::error::StoreError;

/// The files of one side: `--cert-file`, `--key-file`, `--trusted-ca-file`, `--client-cert-auth`, or their `--peer-…`
/// sisters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain shown to the other side, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Whom to trust, PEM. Where it is given, the other side must show a certificate that it vouches for (so in etcd).
    pub trusted_ca: Option<PathBuf>,
    /// Whether the common name of a client's certificate names a user.
    pub client_cert_auth: bool,
    /// The common names that a peer's certificate may carry; empty for any.
    pub allowed_names: Vec<String>,
}

impl TlsFiles {
    /// Puts the flags of one side together; `prefix` is how they begin, `--peer-` say.
    pub fn from_flags(
        prefix: &str,
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
        trusted_ca: Option<PathBuf>,
        client_cert_auth: bool,
        allowed_names: Vec<String>,
    ) -> Result<Option<Self>, StoreError> {
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) if trusted_ca.is_none() && !client_cert_auth => return Ok(None),
            _ => {
                return Err(StoreError::Config(format!(
                    "TLS needs both {prefix}cert-file and {prefix}key-file"
                )));
            }
        };
        if client_cert_auth && trusted_ca.is_none() {
            return Err(StoreError::Config(format!(
                "{prefix}client-cert-auth needs {prefix}trusted-ca-file: whom should it trust?"
            )));
        }
        Ok(Some(Self {
            cert,
            key,
            trusted_ca,
            client_cert_auth,
            allowed_names,
        }))
    }
}
