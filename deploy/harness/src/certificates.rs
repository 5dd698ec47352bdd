//! Certificates for one test: an authority, a server on 127.0.0.1, and a client.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// PEM files in one folder.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`; those that lie there already are replaced, with another authority.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make(folder: &Path) -> Result<Self> {
        Self::make_until(folder, 4096)
    }

    /// The same, to expire at the beginning of a year.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make_until(folder: &Path, year: i32) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        std::fs::write(folder.join("ca.crt"), authority.pem())?;
        for (name, addresses) in [("server", vec!["127.0.0.1".to_owned()]), ("client", vec![])] {
            let mut params = CertificateParams::new(addresses)?;
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params
                .distinguished_name
                .push(DnType::CommonName, format!("test {name}"));
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?;
            std::fs::write(folder.join(format!("{name}.crt")), certificate.pem())?;
            std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// `ca.crt`, `server.crt`, `server.key`, `client.crt` or `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
