//! The flag `--auth-token`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Result, StoreError};

/// How tokens are made: the value of `--auth-token` (etcd, `server/auth/store.go`, `decomposeOpts`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOptions {
    /// `simple`: random tokens that the members remember.
    Simple,
    /// `jwt,sign-method=…[,pub-key=FILE][,priv-key=FILE][,ttl=DURATION]`: signed tokens.
    Jwt(JwtOptions),
    /// An empty value: no tokens at all; users come by client certificate only.
    None,
}

/// What follows `jwt` in `--auth-token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtOptions {
    /// `sign-method`, such as `RS256`.
    pub sign_method: String,
    /// `pub-key`: the file of the public key or a certificate, PEM.
    pub public_key: Option<String>,
    /// `priv-key`: the file of the private key, PEM; of the secret, whatever bytes, for the HMAC methods.
    pub private_key: Option<String>,
    /// `ttl`: how long a token is valid.
    pub ttl: Duration,
}

impl JwtOptions {
    /// The time of a token when none is given.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(300);
}

impl TokenOptions {
    /// Reads the flag's value.
    ///
    /// # Errors
    /// [`StoreError::Config`] that says which part is wrong.
    pub fn parse(value: &str) -> Result<Self> {
        let mut parts = value.split(',');
        let kind = parts.next().unwrap_or_default();
        let mut settings = BTreeMap::new();
        for part in parts {
            let pair: Vec<_> = part.split('=').collect();
            let [name, setting] = pair[..] else {
                return Err(invalid(value, format!("{part:?} is not name=value")));
            };
            if settings.insert(name, setting).is_some() {
                return Err(invalid(value, format!("{name} is given twice")));
            }
        }
        match kind {
            "simple" => Ok(Self::Simple),
            "" => Ok(Self::None),
            "jwt" => Ok(Self::Jwt(jwt(value, &mut settings)?)),
            _ => Err(invalid(
                value,
                format!("{kind:?} is no kind of token: use simple or jwt"),
            )),
        }
    }
}

fn jwt(value: &str, settings: &mut BTreeMap<&str, &str>) -> Result<JwtOptions> {
    let mut take = |name| settings.remove(name).filter(|text| !text.is_empty());
    let ttl = match take("ttl") {
        None => JwtOptions::DEFAULT_TTL,
        Some(text) => {
            duration(text).ok_or_else(|| invalid(value, format!("ttl={text} is no duration")))?
        }
    };
    let options = JwtOptions {
        sign_method: take("sign-method")
            .ok_or_else(|| invalid(value, "sign-method is missing"))?
            .to_owned(),
        public_key: take("pub-key").map(str::to_owned),
        private_key: take("priv-key").map(str::to_owned),
        ttl,
    };
    if !settings.is_empty() {
        let unknown: Vec<_> = settings.keys().copied().collect();
        tracing::warn!(options = unknown.join(","), "unknown JWT options");
    }
    Ok(options)
}

fn invalid(value: &str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Config(format!("--auth-token={value}: {reason}"))
}

/// A duration as Go spells it: `300s`, `1h30m`, `1.5h`. Negative ones make no sense here.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * seconds;
        total = total.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_etcd_reads() {
        assert_eq!(TokenOptions::parse("simple").unwrap(), TokenOptions::Simple);
        assert_eq!(TokenOptions::parse("").unwrap(), TokenOptions::None);
        let text = "jwt,pub-key=/a.pub,priv-key=/a.key,sign-method=RS256,ttl=10m";
        assert_eq!(
            TokenOptions::parse(text).unwrap(),
            TokenOptions::Jwt(JwtOptions {
                sign_method: "RS256".to_owned(),
                public_key: Some("/a.pub".to_owned()),
                private_key: Some("/a.key".to_owned()),
                ttl: Duration::from_secs(600),
            })
        );
        let TokenOptions::Jwt(options) = TokenOptions::parse("jwt,sign-method=HS256").unwrap()
        else {
            panic!("not jwt");
        };
        assert_eq!(options.ttl, JwtOptions::DEFAULT_TTL);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, word) in [
            ("paseto", "no kind"),
            ("jwt", "sign-method"),
            ("jwt,sign-method", "name=value"),
            ("jwt,sign-method=a=b", "name=value"),
            ("jwt,sign-method=RS256,sign-method=RS256", "twice"),
            ("jwt,sign-method=RS256,ttl=soon", "duration"),
        ] {
            let error = TokenOptions::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("300s", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("2m0.5s", Some(120_500)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("5x", None),
            ("-5s", None),
            ("s", None),
        ] {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }
}
