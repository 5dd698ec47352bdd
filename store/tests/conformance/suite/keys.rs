//! Certificates and keys, for servers that need them.

use anyhow::Result;
use rcgen::KeyPair;
use revkeep_harness::Certificates;
use std::path::PathBuf;
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// What stands in a group's flags for the folder of these files.
pub(crate) const KEYS: &str = "{keys}";

/// The secret of the file `secret`.
pub(crate) const SECRET: &[u8] = b"what only the members know";

/// A folder with `secret`, `private.pem` and `public.pem` (a pair on P-256), and the certificates of the harness.
#[derive(Debug)]
pub(crate) struct Keys {
    folder: TempDir,
    /// For a server on 127.0.0.1, and its client `test client`.
    pub(crate) certificates: Certificates,
}

impl Keys {
    /// Makes all of it.
    pub(crate) fn make() -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-keys-")?;
        let pair = KeyPair::generate()?;
        std::fs::write(folder.path().join("secret"), SECRET)?;
        std::fs::write(folder.path().join("private.pem"), pair.serialize_pem())?;
        std::fs::write(folder.path().join("public.pem"), pair.public_key_pem())?;
        Ok(Self {
            certificates: Certificates::make(folder.path())?,
            folder,
        })
    }

    /// One of the files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A flag with the folder put in.
    pub(crate) fn fill(&self, flag: &str) -> String {
        flag.replace(KEYS, &self.folder.path().display().to_string())
    }

    /// TLS of a client that trusts the server, and shows no certificate.
    pub(crate) fn nameless(&self) -> Result<ClientTlsConfig> {
        let authority = std::fs::read(self.file("ca.crt"))?;
        Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)))
    }

    /// The same with the certificate of `test client`, made by the authority of `issuer`.
    pub(crate) fn client(&self, issuer: &Self) -> Result<ClientTlsConfig> {
        let certificate = std::fs::read(issuer.file("client.crt"))?;
        let key = std::fs::read(issuer.file("client.key"))?;
        Ok(self
            .nameless()?
            .identity(Identity::from_pem(certificate, key)))
    }
}
