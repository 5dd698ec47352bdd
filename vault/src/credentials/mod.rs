//! Where the credentials of a store come from, found out before the first request.
//!
//! Without any, the client of a store would ask the address at which a cloud's machines find their role, and hang for
//! minutes where there is no such cloud. So that address is tried once, briefly, and only when nothing else is set.

mod azure;
mod gcs;
mod s3;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::error::{ErrorKind, VaultError};

pub(crate) use azure::azure;
pub(crate) use gcs::gcs;
pub(crate) use s3::s3;

/// Where a machine in a cloud finds the credentials of its role; the same address in all of them.
const METADATA_ENDPOINT: &str = "http://169.254.169.254";
/// On such a machine it answers within milliseconds.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

/// What the environment says.
struct Environment<F>(F);

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is_set(name))
    }

    fn says_yes(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| matches!(&*value.to_lowercase(), "1" | "true"))
    }
}

fn missing(address: &Url, what: impl std::fmt::Display) -> VaultError {
    VaultError::new(ErrorKind::Config, format!("vault {address}: {what}"))
}

/// The last resort: this machine's role.
async fn machine_role(address: &Url, endpoint: String, advice: &str) -> Result<(), VaultError> {
    if answers(&endpoint).await {
        return Ok(());
    }
    Err(missing(
        address,
        format_args!(
            "there are no credentials: {advice}; this is no cloud machine with a role either, since nothing answers at \
             {endpoint}"
        ),
    ))
}

/// Whether an HTTP server answers there, whatever it says.
async fn answers(endpoint: &str) -> bool {
    let Ok(url) = Url::parse(endpoint) else {
        return false;
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let exchange = async {
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut start = [0; 5];
        stream.read_exact(&mut start).await?;
        std::io::Result::Ok(start == *b"HTTP/")
    };
    matches!(
        tokio::time::timeout(METADATA_PATIENCE, exchange).await,
        Ok(Ok(true))
    )
}
