//! Values that are never shown: not in a log, an error, a metric or a printed configuration.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one request that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A user's name, with or without the password after a colon, as in etcdctl's `--user`.
#[derive(Clone, PartialEq, Eq)]
pub struct Login(String);

impl Login {
    /// All of it as a name.
    #[must_use]
    pub fn whole(&self) -> &str {
        &self.0
    }

    /// The name, and the password after the first colon.
    #[must_use]
    pub fn split(&self) -> (&str, Option<Secret>) {
        match self.0.split_once(':') {
            Some((name, password)) => (name, Some(Secret(password.to_owned()))),
            None => (&self.0, None),
        }
    }
}

impl FromStr for Login {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.split() {
            (name, Some(_)) => write!(f, "{name}:{HIDDEN}"),
            (name, None) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Login {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_shows_a_secret() {
        let login: Login = "root:se:cret".parse().unwrap();
        let secret = login.split().1.unwrap();
        assert_eq!(secret.reveal(), "se:cret");
        let shown = format!(
            "{login} {login:?} {secret} {secret:?} {} {}",
            serde_json::to_string(&login).unwrap(),
            serde_json::to_string(&secret).unwrap()
        );
        assert!(!shown.contains("cret"), "{shown}");
        assert!(shown.contains("root"), "{shown}");
    }
}
