//! etcdctl's connection flags. A flag comes first, then `REVKEEP_*`, then `ETCDCTL_*`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::AgentError;
use crate::source::{Connection, Tls};

/// How the source is reached.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Connection (as etcdctl; ETCDCTL_* variables count too)")]
pub struct ConnectionArguments {
    /// Members of the cluster; one is used at a time [default: 127.0.0.1:2379].
    #[arg(
        long,
        env = "REVKEEP_ENDPOINTS",
        value_delimiter = ',',
        value_name = "URL,…"
    )]
    pub endpoints: Vec<String>,
    /// The authority that signed the server's certificate.
    #[arg(long, env = "REVKEEP_CACERT", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// The client's certificate.
    #[arg(long, env = "REVKEEP_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The client's private key.
    #[arg(long, env = "REVKEEP_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Takes whatever certificate the server shows. For tests: it may be anybody's.
    #[arg(long, env = "REVKEEP_INSECURE_SKIP_TLS_VERIFY")]
    pub insecure_skip_tls_verify: bool,
    /// The user, or the user and the password after a colon.
    #[arg(
        long,
        env = "REVKEEP_USER",
        hide_env_values = true,
        value_name = "NAME[:PASSWORD]"
    )]
    pub user: Option<String>,
    /// The password, if it does not stand in --user.
    #[arg(long, env = "REVKEEP_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// How long a connect may take [default: 2s].
    #[arg(long, env = "REVKEEP_DIAL_TIMEOUT", value_parser = humantime::parse_duration)]
    pub dial_timeout: Option<Duration>,
    /// How long a short request may take [default: 5s].
    #[arg(long, env = "REVKEEP_COMMAND_TIMEOUT", value_parser = humantime::parse_duration)]
    pub command_timeout: Option<Duration>,
}

impl ConnectionArguments {
    /// Fills in what etcdctl's variables say, then the defaults.
    pub fn resolve(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Connection, AgentError> {
        let text = |given: Option<String>, name| given.or_else(|| variable(name));
        let path = |given: &Option<PathBuf>, name| {
            given.clone().or_else(|| variable(name).map(Into::into))
        };
        let duration = |given: Option<Duration>, name: &str, default| match (given, variable(name))
        {
            (Some(given), _) => Ok(given),
            (None, None) => Ok(default),
            (None, Some(text)) => humantime::parse_duration(&text)
                .map_err(|error| AgentError::Config(format!("{name}: {error}"))),
        };
        let switch = |name: &str| match variable(name).as_deref() {
            None | Some("") => Ok(false),
            Some(text) => text.parse::<bool>().map_err(|_| {
                AgentError::Config(format!("{name}: {text:?} is neither true nor false"))
            }),
        };
        let given = (!self.endpoints.is_empty()).then(|| self.endpoints.join(","));
        let endpoints = text(given, "ETCDCTL_ENDPOINTS").unwrap_or("127.0.0.1:2379".to_owned());
        Ok(Connection {
            endpoints: endpoints
                .split(',')
                .map(|one| one.trim().to_owned())
                .collect(),
            tls: Tls {
                cacert: path(&self.cacert, "ETCDCTL_CACERT"),
                cert: path(&self.cert, "ETCDCTL_CERT"),
                key: path(&self.key, "ETCDCTL_KEY"),
                skip_verify: self.insecure_skip_tls_verify
                    || switch("ETCDCTL_INSECURE_SKIP_TLS_VERIFY")?,
            },
            user: user(
                text(self.user.clone(), "ETCDCTL_USER"),
                text(self.password.clone(), "ETCDCTL_PASSWORD"),
            )?,
            dial_timeout: duration(
                self.dial_timeout,
                "ETCDCTL_DIAL_TIMEOUT",
                Duration::from_secs(2),
            )?,
            command_timeout: duration(
                self.command_timeout,
                "ETCDCTL_COMMAND_TIMEOUT",
                Duration::from_secs(5),
            )?,
        })
    }
}

fn user(
    user: Option<String>,
    password: Option<String>,
) -> Result<Option<(String, String)>, AgentError> {
    match (user, password) {
        (None, _) => Ok(None),
        (Some(name), Some(password)) => Ok(Some((name, password))),
        (Some(both), None) => match both.split_once(':') {
            Some((name, password)) => Ok(Some((name.to_owned(), password.to_owned()))),
            None => Err(AgentError::Config(
                "--user has no password: write name:password, or give --password".to_owned(),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_comes_before_etcdctls_variable() {
        let arguments = ConnectionArguments {
            endpoints: vec!["a:1".to_owned()],
            ..Default::default()
        };
        let variable = |name: &str| match name {
            "ETCDCTL_ENDPOINTS" => Some("b:1, c:1".to_owned()),
            "ETCDCTL_USER" => Some("root:se:cret".to_owned()),
            "ETCDCTL_DIAL_TIMEOUT" => Some("3s".to_owned()),
            _ => None,
        };
        let connection = arguments.resolve(variable).unwrap();
        assert_eq!(connection.endpoints, ["a:1"]);
        assert_eq!(
            connection.user,
            Some(("root".to_owned(), "se:cret".to_owned()))
        );
        assert_eq!(connection.dial_timeout, Duration::from_secs(3));
        let connection = ConnectionArguments::default().resolve(variable).unwrap();
        assert_eq!(connection.endpoints, ["b:1", "c:1"]);
    }

    #[test]
    fn a_password_is_never_printed() {
        let arguments = ConnectionArguments {
            user: Some("root:secret".to_owned()),
            ..Default::default()
        };
        let connection = arguments.resolve(|_| None).unwrap();
        assert!(!format!("{connection:?}").contains("secret"));
    }
}
