//! The URLs that members listen on and advertise.

use std::fmt;
use std::str::FromStr;

use crate::error::StoreError;

/// `http://host:port` or `https://host:port`, kept as it was written: a member's id is made from the text of its peer
/// URLs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerUrl {
    text: String,
    tls: bool,
}

impl ServerUrl {
    /// Whether it is `https`.
    pub const fn tls(&self) -> bool {
        self.tls
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        self.text
            .split_once("://")
            .map_or(self.text.as_str(), |(_, rest)| rest)
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self
            .authority()
            .rsplit_once(':')
            .map_or(self.authority(), |(host, _)| host);
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.authority()
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or_default()
    }

    /// The same with another port: where port 0 asked for any free one.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        let text = self
            .text
            .rsplit_once(':')
            .map_or_else(|| self.text.clone(), |(rest, _)| format!("{rest}:{port}"));
        Self {
            text,
            tls: self.tls,
        }
    }

    /// Parses a list as the flags give it: separated by commas, not empty.
    pub fn list(text: &str) -> Result<Vec<Self>, StoreError> {
        text.split(',').map(str::parse).collect()
    }
}

impl FromStr for ServerUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let text = text.trim();
        let bad = |why: &str| StoreError::Config(format!("{text:?} is no URL of a member: {why}"));
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err(bad("it must begin with http:// or https://"));
        };
        let (host, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| bad("it needs a port, as in http://127.0.0.1:2379"))?;
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(bad("it needs a host"));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(bad("an IPv6 address goes in brackets"));
        }
        if port.contains('/') {
            return Err(bad("it must not have a path"));
        }
        port.parse::<u16>()
            .map_err(|_| bad("its port must be a number up to 65535"))?;
        Ok(Self {
            text: text.to_owned(),
            tls,
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url_are_found() {
        let url: ServerUrl = "https://[::1]:2379".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.tls()), ("::1", 2379, true));
        let url: ServerUrl = " http://localhost:0 ".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.tls()), ("localhost", 0, false));
        assert_eq!(url.with_port(7).as_str(), "http://localhost:7");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in [
            "",
            "127.0.0.1:2379",
            "http://127.0.0.1",
            "http://:2379",
            "http://::1:2379",
            "http://h:2379/path",
            "http://h:99999",
        ] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
    }
}
