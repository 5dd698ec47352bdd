//! Certificates: those that are given, and those that members show.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Report;
use crate::source::{Connection, certificates, read_file};

/// So early the end of a certificate is told.
const NOTICE_DAYS: i64 = 30;

/// Looks at the files that are given.
pub(super) async fn files(connection: &Connection, report: &mut Report) {
    let access = connection.access();
    if let Err(error) = access.prove().await {
        report.error(
            "certificates",
            &error,
            "give the right file, readable for the agent's user",
        );
        return;
    }
    let tls = &access.tls;
    for (what, path) in [
        ("the authority", &tls.cacert),
        ("the client's certificate", &tls.cert),
    ] {
        if let Some(path) = path {
            file(what, path, report).await;
        }
    }
    if tls.skip_verify {
        report.warn(
            "certificates",
            "the member's certificate is not checked: it may be anybody's",
            "give --cacert in the place of --insecure-skip-tls-verify",
        );
    }
}

async fn file(what: &str, path: &Path, report: &mut Report) {
    let Ok(pem) = read_file(path).await else {
        return;
    };
    let Ok(chain) = certificates(path, &pem) else {
        return;
    };
    let place = path.display().to_string();
    for certificate in &chain {
        judge(what, &place, certificate, Utc::now(), report);
    }
}

/// Looks at what a member shows.
pub(super) async fn shown(connection: &Connection, endpoint: &str, report: &mut Report) {
    if !connection.wants_tls(endpoint) {
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let local = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        if !local {
            report.warn(
                "tls",
                format!("{endpoint} is reached without TLS: whoever is on the way reads all keys and values"),
                "serve clients of etcd by https, and give --cacert",
            );
        }
        return;
    }
    let Some(handshake) = connection.shakes_hands(endpoint).await else {
        return;
    };
    report.ok("tls", format!("{endpoint} speaks {}", handshake.protocol));
    judge(
        "the member's certificate",
        endpoint,
        &handshake.certificate,
        Utc::now(),
        report,
    );
}

fn judge(
    what: &str,
    place: &str,
    certificate: &CertificateDer<'_>,
    now: DateTime<Utc>,
    report: &mut Report,
) {
    let about = "certificates";
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        report.fail(
            about,
            format!("{what}, {place}, cannot be read"),
            "issue another one",
        );
        return;
    };
    let validity = parsed.validity();
    let from = DateTime::from_timestamp(validity.not_before.timestamp(), 0).unwrap_or_default();
    let until = DateTime::from_timestamp(validity.not_after.timestamp(), 0)
        .unwrap_or(DateTime::<Utc>::MAX_UTC);
    let names = names(&parsed);
    let text = format!("{what}, {place}{names}");
    let (day, days) = (until.format("%Y-%m-%d"), (until - now).num_days());
    if now < from {
        report.fail(
            about,
            format!("{text} is not valid before {from}"),
            "see whether the clocks are right",
        );
    } else if now >= until {
        report.fail(about, format!("{text} has expired on {day}"), "renew it");
    } else if until - now < TimeDelta::days(NOTICE_DAYS) {
        report.warn(
            about,
            format!("{text} expires on {day}, in {days} days"),
            "renew it",
        );
    } else {
        report.ok(
            about,
            format!("{text} is valid until {day}, for {days} days"),
        );
    }
}

/// For whom it is: the common name, and the names and addresses of a server.
fn names(certificate: &X509Certificate<'_>) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in certificate.subject().iter_common_name() {
        names.extend(name.as_str().map(str::to_owned));
    }
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        let listed = alternative.value.general_names.iter();
        names.extend(listed.filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
            x509_parser::extensions::GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        }));
    }
    if names.is_empty() {
        return String::new();
    }
    format!(" (for {})", names.join(", "))
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}

#[cfg(test)]
mod tests {
    use revkeep_harness::Certificates;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_told_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let made = Certificates::make_until(folder.path(), 2050).unwrap();
        let pem = std::fs::read(made.file("server.crt")).unwrap();
        let chain = certificates(&made.file("server.crt"), &pem).unwrap();
        let verdict = |now: &str| {
            let mut report = Report::default();
            judge("it", "here", &chain[0], now.parse().unwrap(), &mut report);
            let found = report.findings[0].found.clone();
            assert!(
                found.contains("127.0.0.1") && found.contains("test server"),
                "{found}"
            );
            report.verdict()
        };
        assert_eq!(verdict("2049-11-01T00:00:00Z"), Verdict::Ok);
        assert_eq!(verdict("2049-12-10T00:00:00Z"), Verdict::Warn);
        assert_eq!(verdict("2050-01-01T00:00:01Z"), Verdict::Fail);
        assert_eq!(verdict("1950-01-01T00:00:00Z"), Verdict::Fail);
    }
}
