//! When the certificates expire that the agent shows, trusts and is shown.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::source::{Connection, Tls};

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The client's own: of a chain, the first to expire.
    Client,
    /// The authorities that are trusted: of several, the last to expire, since they overlap while one replaces another.
    Authority,
    /// The member's, as it showed it.
    Server,
}

impl Usage {
    /// A constant word, for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Authority => "ca",
            Self::Server => "server",
        }
    }
}

/// A certificate and when it is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What it is used for.
    pub usage: Usage,
    /// The file, or the endpoint that showed it.
    pub place: String,
    /// When it expires, in milliseconds since 1970.
    pub unix_ms: i64,
}

/// Reads the files as they are now. One that cannot be read is left out: connecting tells of it.
pub(super) async fn in_files(tls: &Tls) -> Vec<Expiry> {
    let files = [
        (Usage::Client, tls.cert.as_ref()),
        (Usage::Authority, tls.cacert.as_ref()),
    ];
    let mut found = Vec::new();
    for (usage, file) in files {
        let Some(file) = file else { continue };
        if let Some(unix_ms) = file_end(usage, file).await {
            found.push(Expiry {
                usage,
                place: file.display().to_string(),
                unix_ms,
            });
        }
    }
    found
}

/// Asks the member for its own.
pub(super) async fn of_member(connection: &Connection, endpoint: &str) -> Option<Expiry> {
    let shown = connection.shown_by(endpoint).await?;
    Some(Expiry {
        usage: Usage::Server,
        place: endpoint.to_owned(),
        unix_ms: end(&shown)?,
    })
}

async fn file_end(usage: Usage, file: &Path) -> Option<i64> {
    let pem = tokio::fs::read(file).await.ok()?;
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let ends = certificates.filter_map(|certificate| end(&certificate));
    match usage {
        Usage::Client | Usage::Server => ends.min(),
        Usage::Authority => ends.max(),
    }
}

/// In milliseconds since 1970.
fn end(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let end = certificate.validity().not_after.timestamp();
    Some(end.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use revkeep_harness::Certificates;

    use super::*;

    #[tokio::test]
    async fn files_are_read_and_what_is_no_certificate_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let made = Certificates::make(folder.path()).unwrap();
        let tls = Tls {
            cert: Some(made.file("client.crt")),
            cacert: Some(made.file("ca.crt")),
            ..Tls::default()
        };
        let found = in_files(&tls).await;
        let usages: Vec<_> = found.iter().map(|one| one.usage).collect();
        assert_eq!(usages, [Usage::Client, Usage::Authority]);
        // As rcgen makes them: the year 4096.
        assert!(
            found.iter().all(|one| one.unix_ms == 67_090_118_400_000),
            "{found:?}"
        );
        let tls = Tls {
            cert: Some(made.file("client.key")),
            cacert: Some(made.file("absent")),
            ..Tls::default()
        };
        assert_eq!(in_files(&tls).await, []);
    }
}
