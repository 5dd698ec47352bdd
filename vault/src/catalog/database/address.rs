//! Where a catalog is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use url::Url;

use crate::error::{ErrorKind, VaultError};
use crate::state_folder::state_folder;

/// The shapes of an address.
const SHAPES: &str = "sqlite:///path or postgres://user@host/database";

/// The address of a catalog: `sqlite:///path`, with `?mode=ro` for reading alone, or `postgres://user@host/database` with the
/// settings that libpq knows. What it shows has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogUrl(pub(super) Place);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Sqlite { path: PathBuf, read_only: bool },
    Postgres(Url),
}

impl CatalogUrl {
    /// The SQLite file that is used for a vault when nothing else is said: in the [folder for what
    /// lasts](state_folder()), named by the vault's address.
    ///
    /// # Errors
    /// `Config` where no such folder is known.
    pub fn default_for(vault: &str) -> Result<Self, VaultError> {
        let folder = state_folder();
        let folder = folder.ok_or_else(|| {
            VaultError::new(
                ErrorKind::Config,
                "there is no place for a catalog, as HOME is not set. Try: --catalog sqlite:///path",
            )
        })?;
        let hash = Sha256::digest(vault.trim_end_matches('/'));
        let short = hash.first_chunk::<8>().copied().unwrap_or_default();
        let name = format!("{:016x}", u64::from_be_bytes(short));
        Ok(Self(Place::Sqlite {
            path: folder.join(format!("catalog-{name}.sqlite")),
            read_only: false,
        }))
    }

    /// Whether several programs on several machines can share it.
    pub const fn is_shared(&self) -> bool {
        matches!(self.0, Place::Postgres(_))
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Place::Sqlite { path, .. } => Some(path),
            Place::Postgres(_) => None,
        }
    }
}

impl FromStr for CatalogUrl {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self, VaultError> {
        // The text may hold a password, so no message repeats it.
        let wrong = |what: &str| {
            VaultError::new(ErrorKind::Config, format!("catalog: {what}: use {SHAPES}"))
        };
        let url = Url::parse(text).map_err(|error| wrong(&format!("no URL ({error})")))?;
        match url.scheme() {
            "sqlite" => {
                let mut read_only = false;
                for (name, value) in url.query_pairs() {
                    match (name.as_ref(), value.as_ref()) {
                        ("mode", "ro") => read_only = true,
                        ("mode", "rwc" | "rw") => {}
                        _ => return Err(wrong(&format!("{name:?} is no setting of SQLite here"))),
                    }
                }
                if url.host_str().is_some_and(|host| !host.is_empty()) {
                    return Err(wrong("a path begins with three slashes"));
                }
                let as_file = Url::parse(&format!("file://{}", url.path()));
                let path = as_file.ok().and_then(|url| url.to_file_path().ok());
                let path = path.filter(|path| path.file_name().is_some());
                Ok(Self(Place::Sqlite {
                    path: path.ok_or_else(|| wrong("it names no file"))?,
                    read_only,
                }))
            }
            "postgres" | "postgresql" => Ok(Self(Place::Postgres(url))),
            other => Err(wrong(&format!("no database is called {other:?}"))),
        }
    }
}

impl fmt::Display for CatalogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite { path, .. } => write!(f, "sqlite://{}", path.display()),
            Place::Postgres(url) => {
                let user = match url.username() {
                    "" => String::new(),
                    user => format!("{user}@"),
                };
                let port = url
                    .port()
                    .map_or_else(String::new, |port| format!(":{port}"));
                let host = url.host_str().unwrap_or_default();
                write!(f, "postgres://{user}{host}{port}{}", url.path())
            }
        }
    }
}

impl fmt::Debug for CatalogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password() {
        let text = "postgres://me:s3cret@db.example:5433/fleet?password=s3cret&sslmode=require";
        let url: CatalogUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "postgres://me@db.example:5433/fleet");
        assert_eq!(format!("{url:?}"), url.to_string());
        let file: CatalogUrl = "sqlite:///var/lib/re%20vkeep/c.sqlite".parse().unwrap();
        assert_eq!(
            file.file().unwrap().to_str(),
            Some("/var/lib/re vkeep/c.sqlite")
        );
        assert_eq!(file.to_string(), "sqlite:///var/lib/re vkeep/c.sqlite");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in [
            "",
            "/var/lib/c.sqlite",
            "mysql://me:s3cret@db/x",
            "sqlite://c.sqlite",
            "sqlite:///",
            "sqlite:///x?colour=s3cret",
            "postgres://me:s3cret@:x/",
        ] {
            let error = text.parse::<CatalogUrl>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
