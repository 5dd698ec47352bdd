//! What a query gives.

use std::fmt::Write as _;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, ValueRef as _};

use super::error::database;
use crate::error::VaultError;

/// One row; columns are counted from 0.
pub(crate) enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

macro_rules! got {
    ($row:expr, $column:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get($column),
            Row::Postgres(row) => row.try_get($column),
        }
        .map_err(database("read the catalog's answer"))
    };
}

impl Row {
    pub(crate) fn int(&self, column: usize) -> Result<i64, VaultError> {
        got!(self, column)
    }

    /// A number that was written from one without a sign.
    pub(crate) fn count(&self, column: usize) -> Result<u64, VaultError> {
        Ok(u64::try_from(self.int(column)?).unwrap_or_default())
    }

    pub(crate) fn maybe_int(&self, column: usize) -> Result<Option<i64>, VaultError> {
        got!(self, column)
    }

    pub(crate) fn flag(&self, column: usize) -> Result<bool, VaultError> {
        Ok(self.int(column)? != 0)
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, VaultError> {
        got!(self, column)
    }

    pub(crate) fn maybe_text(&self, column: usize) -> Result<Option<String>, VaultError> {
        got!(self, column)
    }

    pub(crate) fn maybe_bytes(&self, column: usize) -> Result<Option<Vec<u8>>, VaultError> {
        got!(self, column)
    }

    /// The columns for a dump: each of whatever type it is.
    pub(crate) fn shown(&self) -> Result<Vec<serde_json::Value>, VaultError> {
        let columns = match self {
            Self::Sqlite(row) => row.len(),
            Self::Postgres(row) => row.len(),
        };
        (0..columns).map(|column| self.shown_at(column)).collect()
    }

    fn shown_at(&self, column: usize) -> Result<serde_json::Value, VaultError> {
        let empty = match self {
            Self::Sqlite(row) => row.try_get_raw(column).map(|value| value.is_null()),
            Self::Postgres(row) => row.try_get_raw(column).map(|value| value.is_null()),
        };
        if empty.map_err(database("read the catalog's answer"))? {
            return Ok(serde_json::Value::Null);
        }
        if let Ok(number) = self.int(column) {
            return Ok(number.into());
        }
        if let Ok(text) = self.text(column) {
            return Ok(text.into());
        }
        let bytes = self.maybe_bytes(column)?.unwrap_or_default();
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Ok(hex.into())
    }
}
