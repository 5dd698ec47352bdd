//! What may change about a connection while the agent runs: certificates, user and password, patience.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, Identity, TlsOptions};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::AgentError;
use crate::base::HashPolicy;
use crate::config::Secret;

/// Files for TLS, in PEM. They are read at every connect, so that renewed certificates are taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authority that signed the server's certificate; the system's when absent.
    pub cacert: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// The client's private key.
    pub key: Option<PathBuf>,
    /// Takes whatever certificate the server shows: encrypted, but to nobody in particular.
    pub skip_verify: bool,
}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// Here.
    Given(Secret),
    /// In a file, read at every login; a line break at its end does not count.
    File(PathBuf),
}

/// Who the agent is to etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Password,
}

/// Everything about a connection but where it goes, and how what is asked of the source is kept small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// TLS, used for `https://` endpoints and for those without a scheme when a file is given.
    pub tls: Tls,
    /// Name and password.
    pub user: Option<User>,
    /// The longest time that a connect may take.
    pub dial_timeout: Duration,
    /// The longest time that a short request may take.
    pub command_timeout: Duration,
    /// The largest message of a watch that is taken, in bytes.
    pub max_decoding: usize,
    /// Whether and of whom HashKV is asked.
    pub hashkv: HashPolicy,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            tls: Tls::default(),
            user: None,
            dial_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(5),
            max_decoding: 1 << 30,
            hashkv: HashPolicy::Auto,
        }
    }
}

impl Access {
    /// Name and password, as they are now.
    pub(super) async fn login(&self) -> Result<Option<(String, String)>, AgentError> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let password = match &user.password {
            Password::Given(secret) => secret.reveal().to_owned(),
            Password::File(path) => {
                let text = String::from_utf8(read(path).await?);
                let text = text.map_err(|_| {
                    AgentError::Config(format!("--password-file: {} is no text", path.display()))
                })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        Ok(Some((user.name.clone(), password)))
    }

    /// Makes sure that every file is there and is what it has to be.
    ///
    /// # Errors
    /// [`AgentError::Config`] or [`AgentError::Io`] that names the file.
    pub(crate) async fn prove(&self) -> Result<(), AgentError> {
        self.login().await?;
        if let Some(path) = &self.tls.cacert {
            certificates(path, &read(path).await?)?;
        }
        self.tls.parsed_identity().await?;
        Ok(())
    }
}

impl Tls {
    pub(super) fn any(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some() || self.key.is_some() || self.skip_verify
    }

    pub(super) async fn options(&self) -> Result<TlsOptions, AgentError> {
        let mut options = TlsOptions::new();
        options = match &self.cacert {
            Some(path) => options.ca_certificate(Certificate::from_pem(read(path).await?)),
            None => options.with_native_roots(),
        };
        Ok(match self.identity().await? {
            Some((cert, key)) => options.identity(Identity::from_pem(cert, key)),
            None => options,
        })
    }

    /// The client's certificate and key.
    async fn identity(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>, AgentError> {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Ok(Some((read(cert).await?, read(key).await?))),
            (None, None) => Ok(None),
            _ => Err(AgentError::Config(
                "--cert and --key belong together: give both or neither".to_owned(),
            )),
        }
    }

    /// The same, read.
    pub(super) async fn parsed_identity(&self) -> Result<Option<Chain>, AgentError> {
        let (Some((cert, key)), Some(cert_path), Some(key_path)) =
            (self.identity().await?, &self.cert, &self.key)
        else {
            return Ok(None);
        };
        Ok(Some(chain((cert_path, &cert), (key_path, &key))?))
    }
}

/// Certificates and the key of the first.
pub(crate) type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads a certificate with those that sign it, and its key.
fn chain(
    (cert_path, cert): (&Path, &[u8]),
    (key_path, key): (&Path, &[u8]),
) -> Result<Chain, AgentError> {
    let chain = certificates(cert_path, cert)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let path = key_path.display();
        AgentError::Config(format!("{path} holds no private key in PEM: {error}"))
    })?;
    Ok((chain, key))
}

/// Reads certificates in PEM.
///
/// # Errors
/// [`AgentError::Config`] that names the file, if there is none in it.
pub(crate) fn certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, AgentError> {
    let path = path.display();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read =
        read.map_err(|error| AgentError::Config(format!("{path} is not in PEM: {error}")))?;
    if read.is_empty() {
        return Err(AgentError::Config(format!("{path} holds no certificate")));
    }
    Ok(read)
}

pub(crate) async fn read(path: &Path) -> Result<Vec<u8>, AgentError> {
    tokio::fs::read(path)
        .await
        .map_err(AgentError::io(format!("read {}", path.display())))
}
