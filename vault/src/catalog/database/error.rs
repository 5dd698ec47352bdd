//! What the database says, as this crate's error.

use sqlx::Error as SqlError;

use crate::error::{ErrorKind, VaultError};

/// Names what was done when the database failed; made for `map_err`. No message holds an address or a password.
pub(crate) fn database(what: impl std::fmt::Display) -> impl FnOnce(SqlError) -> VaultError {
    move |error| {
        let (kind, advice) = meaning(&error);
        VaultError::new(kind, format!("catalog: {what}: {advice}")).with_source(error)
    }
}

fn meaning(error: &SqlError) -> (ErrorKind, &'static str) {
    match error {
        SqlError::Io(_) | SqlError::PoolClosed | SqlError::WorkerCrashed => (
            ErrorKind::Retry,
            "the database cannot be reached; try again",
        ),
        SqlError::PoolTimedOut => (
            ErrorKind::Retry,
            "the database was too busy to answer in time; try again",
        ),
        SqlError::Tls(_) => (
            ErrorKind::Config,
            "TLS with the database fails: see sslmode and sslrootcert in the address",
        ),
        SqlError::Configuration(_) => (ErrorKind::Config, "the address is not right"),
        SqlError::Database(error) => by_code(error.code().as_deref().unwrap_or_default()),
        _ => (ErrorKind::Internal, "report this"),
    }
}

/// SQLSTATE has five characters (PostgreSQL, appendix A); SQLite's codes are numbers, of which the last byte tells the
/// kind (sqlite3.h).
fn by_code(code: &str) -> (ErrorKind, &'static str) {
    if code.len() == 5 {
        return match code {
            "28P01" | "28000" => (
                ErrorKind::Config,
                "the database refuses user or password; give them by PGUSER and PGPASSWORD or in the address",
            ),
            "3D000" => (
                ErrorKind::Config,
                "there is no such database on the server; make it by `createdb`",
            ),
            "42501" | "25006" => (
                ErrorKind::Config,
                "the database does not let this user write; grant it, or give another user",
            ),
            "42P01" => (
                ErrorKind::Retry,
                "a table is gone; `revkeep catalog rebuild` makes it again",
            ),
            _ if code.starts_with("53") || code.starts_with("57") || code.starts_with("08") => {
                (ErrorKind::Retry, "the database cannot do it now; try again")
            }
            _ if code.starts_with("40") => {
                (ErrorKind::Retry, "another program was faster; try again")
            }
            _ => (ErrorKind::Internal, "report this"),
        };
    }
    let code = code.parse::<u32>().unwrap_or_default() & 0xff;
    match code {
        5 | 6 => (
            ErrorKind::Retry,
            "another program has locked the file; try again",
        ),
        8 => (
            ErrorKind::Config,
            "the file cannot be written: mend its permissions, or give another by --catalog",
        ),
        10 | 13 => (
            ErrorKind::Retry,
            "the disk is full or does not answer; free space there and try again",
        ),
        11 | 26 => (
            ErrorKind::Corrupt,
            "the file is damaged or no catalog: remove it and run `revkeep catalog rebuild`",
        ),
        14 => (
            ErrorKind::Config,
            "the file cannot be opened: is its folder there, and may this user read and write it?",
        ),
        _ => (ErrorKind::Internal, "report this"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_the_caller_can_do() {
        for (code, kind) in [
            ("28P01", ErrorKind::Config),
            ("3D000", ErrorKind::Config),
            ("57P03", ErrorKind::Retry),
            ("40001", ErrorKind::Retry),
            ("5", ErrorKind::Retry),
            ("517", ErrorKind::Retry),
            ("8", ErrorKind::Config),
            ("1032", ErrorKind::Config),
            ("26", ErrorKind::Corrupt),
            ("99", ErrorKind::Internal),
        ] {
            assert_eq!(by_code(code).0, kind, "{code}");
        }
    }
}
