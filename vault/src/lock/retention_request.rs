//! Amazon S3's `PutObjectRetention` and `GetObjectRetention`: the bodies that go and come, and what their answers mean.
//!
//! Both are requests of `/{key}?retention`. The body of one, and of the other's answer:
//!
//! ```xml
//! <Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
//!   <Mode>GOVERNANCE</Mode><RetainUntilDate>2026-03-15T12:00:01Z</RetainUntilDate>
//! </Retention>
//! ```
//!
//! A body that goes needs a `Content-MD5`. Source: Amazon S3 API Reference, both operations, "Error responses".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use md5::{Digest as _, Md5};

use super::rule::{LockMode, Retention};
use crate::error::{ErrorKind, VaultError};

/// An answer, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// The body of a `PutObjectRetention`.
pub(super) fn body(retention: Retention) -> String {
    let until = retention.until.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mode = retention.mode.word();
    format!(
        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
         <RetainUntilDate>{until}</RetainUntilDate></Retention>"
    )
}

/// The value of `Content-MD5` for a body (RFC 1864).
pub(super) fn content_md5(body: &str) -> String {
    STANDARD.encode(Md5::digest(body.as_bytes()))
}

impl Answer {
    /// The content of the first element of a name. What is read this way holds neither elements nor attributes.
    fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        let (content, _) = rest.split_once(&format!("</{name}>"))?;
        Some(content.trim())
    }

    fn code(&self) -> &str {
        self.element("Code").unwrap_or_default()
    }

    /// What the store says, for people.
    fn said(&self) -> String {
        let message = self.element("Message").unwrap_or_default();
        match self.code() {
            "" => format!("HTTP {}", self.status),
            code => format!("HTTP {}, {code}: {message}", self.status),
        }
    }

    /// Whether the store was busy, and the same request may go through later.
    pub(super) fn is_passing(&self) -> bool {
        self.status >= 500 && self.status != 501 || [408, 429].contains(&self.status)
            // Amazon S3: OperationAborted, "try again".
            || self.status == 409
    }

    /// Whether it is the credentials that the store does not accept, whatever the object. Source: Amazon S3 API Reference,
    /// "Error responses".
    fn is_of_credentials(&self) -> bool {
        let codes = [
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "RequestTimeTooSkewed",
            "ExpiredToken",
            "InvalidToken",
        ];
        self.status == 401 || codes.contains(&self.code())
    }

    /// What `GetObjectRetention` of an object found.
    pub(super) fn found(&self, object: &str) -> Result<Option<Retention>, VaultError> {
        match (self.status, self.code()) {
            (200, _) => self.retention().map(Some).ok_or_else(|| {
                VaultError::new(
                    ErrorKind::Retry,
                    format!("lock {object}: the store's answer holds no date that can be read; try again"),
                )
            }),
            // The second is what SeaweedFS 4 answers for the first.
            (404, "NoSuchObjectLockConfiguration" | "ObjectLockConfigurationNotFoundError") => {
                Ok(None)
            }
            // Without the right to read a date none can be seen to be there, so none may be set. It may be of this object
            // alone: rights are granted by prefix and by tag.
            (403, _) if !self.is_of_credentials() => Err(VaultError::new(
                ErrorKind::Refused,
                format!(
                    "lock {object}: the store does not let its date be read: grant s3:GetObjectRetention and \
                     s3:PutObjectRetention ({})",
                    self.said()
                ),
            )),
            _ => Err(self.wrong(object)),
        }
    }

    /// Whether `PutObjectRetention` of an object did it.
    pub(super) fn done(&self, object: &str) -> Result<(), VaultError> {
        match self.status {
            200..=299 => Ok(()),
            403 if !self.is_of_credentials() => Err(VaultError::new(
                ErrorKind::Refused,
                format!(
                    "lock {object}: the store does not let this date be set: grant s3:PutObjectRetention, or see which lock \
                     stands there ({})",
                    self.said()
                ),
            )),
            _ => Err(self.wrong(object)),
        }
    }

    fn retention(&self) -> Option<Retention> {
        let mode = match self.element("Mode")? {
            "GOVERNANCE" => LockMode::Governance,
            "COMPLIANCE" => LockMode::Compliance,
            _ => return None,
        };
        let until = DateTime::parse_from_rfc3339(self.element("RetainUntilDate")?).ok()?;
        Some(Retention {
            mode,
            until: until.with_timezone(&Utc),
        })
    }

    fn wrong(&self, object: &str) -> VaultError {
        let said = self.said();
        match (self.status, self.code()) {
            // The second: of an object before which a delete marker stands.
            (404, "NoSuchBucket") => VaultError::new(
                ErrorKind::Config,
                format!("lock {object}: there is no such bucket ({said})"),
            ),
            (404 | 405, "NoSuchKey" | "NoSuchVersion" | "MethodNotAllowed" | "") => {
                VaultError::new(
                    ErrorKind::NotFound,
                    format!("lock {object}: it is not in the store ({said})"),
                )
            }
            (400, "InvalidRequest") | (404, "ObjectLockConfigurationNotFoundError") | (501, _) => {
                VaultError::new(
                    ErrorKind::Config,
                    format!(
                        "the bucket has no object lock: create it with object lock enabled, or remove lock from the policy \
                         (asked about {object}; {said})"
                    ),
                )
            }
            (status, _) if (300..=399).contains(&status) || self.is_of_credentials() => {
                VaultError::new(
                    ErrorKind::Config,
                    format!(
                        "lock {object}: the store wants another address, region or credentials ({said})"
                    ),
                )
            }
            _ if self.is_passing() => VaultError::new(
                ErrorKind::Retry,
                format!("lock {object}: the store failed; try again ({said})"),
            ),
            _ => VaultError::new(
                ErrorKind::Refused,
                format!("lock {object}: the store refuses ({said})"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.to_owned(),
        }
    }

    fn error(status: u16, code: &str) -> Answer {
        answer(
            status,
            &format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>So it is.</Message></Error>"
            ),
        )
    }

    fn date() -> Retention {
        Retention {
            mode: LockMode::Compliance,
            until: "2026-03-15T12:00:01Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_goes_out_is_what_comes_back() {
        let sent = body(date());
        assert_eq!(
            sent,
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>COMPLIANCE</Mode>\
             <RetainUntilDate>2026-03-15T12:00:01Z</RetainUntilDate></Retention>"
        );
        assert_eq!(answer(200, &sent).found("x").unwrap(), Some(date()));
        // With fractions and lines, as Amazon S3 writes it.
        let theirs = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Retention>\n<Mode>COMPLIANCE</Mode>\n\
                      <RetainUntilDate>\n2026-03-15T12:00:01.000Z</RetainUntilDate></Retention>";
        assert_eq!(answer(200, theirs).found("x").unwrap(), Some(date()));
        // RFC 1864's kind of value: md5 of "hello", by `openssl md5 -binary | base64`.
        assert_eq!(content_md5("hello"), "XUFAKrxLKna5cZ2REBfFkg==");
    }

    #[test]
    fn an_answer_says_by_its_kind_what_is_wrong() {
        let found = |answer: Answer| answer.found("a/b").unwrap_err();
        let done = |answer: Answer| answer.done("a/b").unwrap_err();
        assert_eq!(
            error(404, "NoSuchObjectLockConfiguration")
                .found("x")
                .unwrap(),
            None
        );
        for code in ["InvalidRequest", "NotImplemented"] {
            let status = if code == "InvalidRequest" { 400 } else { 501 };
            for wrong in [found(error(status, code)), done(error(status, code))] {
                assert_eq!(wrong.kind(), ErrorKind::Config);
                let text = wrong.to_string();
                assert!(text.starts_with("the bucket has no object lock: create it with object lock enabled, or remove \
                                          lock from the policy"), "{text}");
                assert!(text.contains("a/b") && text.contains(code), "{text}");
            }
        }
        assert_eq!(done(error(404, "NoSuchKey")).kind(), ErrorKind::NotFound);
        assert_eq!(found(answer(404, "")).kind(), ErrorKind::NotFound);
        assert_eq!(done(error(403, "AccessDenied")).kind(), ErrorKind::Refused);
        assert_eq!(found(error(403, "AccessDenied")).kind(), ErrorKind::Refused);
        for (status, code) in [
            (401, "Unauthorized"),
            (403, "SignatureDoesNotMatch"),
            (400, "ExpiredToken"),
            (404, "NoSuchBucket"),
        ] {
            for wrong in [found(error(status, code)), done(error(status, code))] {
                assert_eq!(wrong.kind(), ErrorKind::Config, "{wrong}");
            }
        }
        assert_eq!(
            done(error(400, "InvalidArgument")).kind(),
            ErrorKind::Refused
        );
        for status in [429, 500, 503, 409] {
            assert!(error(status, "SlowDown").is_passing());
            assert_eq!(done(error(status, "SlowDown")).kind(), ErrorKind::Retry);
        }
        assert!(!error(501, "NotImplemented").is_passing());
        assert_eq!(found(answer(200, "<html>")).kind(), ErrorKind::Retry);
        assert_eq!(
            found(answer(200, "<Mode>FOREVER</Mode>")).kind(),
            ErrorKind::Retry
        );
    }
}
