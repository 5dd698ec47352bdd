//! Where the status is served.

use std::fmt;
use std::io::ErrorKind;
use std::str::FromStr;

use tokio::net::TcpListener;

use crate::AgentError;

/// Where the status is served when nobody says: next to etcd's own ports, for this machine only.
pub const DEFAULT: &str = "127.0.0.1:2389";

/// Where the status is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// At the default address, if it is free: a second agent on one machine must not fail for it.
    #[default]
    Default,
    /// At this host and port, or not at all.
    At(String),
    /// Nowhere.
    Off,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(DEFAULT),
            Self::At(address) => f.write_str(address),
            Self::Off => f.write_str("off"),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Reads `HOST:PORT`, the same with `http://` before it, or `off`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.strip_prefix("http://").unwrap_or(text);
        let address = address.trim_end_matches('/');
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::At(address.to_owned()))
            }
            _ => Err("use HOST:PORT, such as 0.0.0.0:2389, or off".to_owned()),
        }
    }
}

impl Listen {
    /// Takes the port; `None` where nothing is served.
    ///
    /// # Errors
    /// [`AgentError::Config`] when an address that was given cannot be taken.
    pub(super) async fn bind(&self) -> Result<Option<TcpListener>, AgentError> {
        let address = match self {
            Self::Off => return Ok(None),
            Self::Default => DEFAULT,
            Self::At(address) => address,
        };
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if *self == Self::Default && error.kind() == ErrorKind::AddrInUse => {
                tracing::warn!(
                    address,
                    "the status is not served, something else listens there: give --listen-status another address"
                );
                Ok(None)
            }
            Err(error) => Err(AgentError::Config(format!(
                "--listen-status: cannot listen on {address}: {error}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_operators_write() {
        let at = |address: &str| Ok(Listen::At(address.to_owned()));
        assert_eq!("127.0.0.1:0".parse::<Listen>(), at("127.0.0.1:0"));
        assert_eq!("http://[::1]:99/".parse::<Listen>(), at("[::1]:99"));
        assert_eq!("off".parse::<Listen>(), Ok(Listen::Off));
        for wrong in ["", "on", ":2389", "host", "host:99999", "host:port"] {
            let read = wrong.parse::<Listen>();
            assert!(read.is_err(), "{wrong}: {read:?}");
        }
    }

    #[tokio::test]
    async fn only_the_default_gives_way() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = Listen::At(address.clone()).bind().await.unwrap_err();
        assert!(error.to_string().contains(&address), "{error}");
        assert!(Listen::Off.bind().await.unwrap().is_none());
    }
}
