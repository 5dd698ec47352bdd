//! Statements, one after the other, within one transaction.

use futures::TryStreamExt as _;
use sqlx::{Postgres, SqlSafeStr, Sqlite};

use super::error::database;
use super::row::Row;
use super::value::{Value, bound};
use crate::error::VaultError;

/// A transaction. Dropped without [`Transaction::commit`] it has done nothing.
pub(crate) enum Transaction {
    /// Of SQLite.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// Of PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    /// Runs a statement; how many rows it has changed.
    pub(crate) async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<u64, VaultError> {
        let sql = sql.into_sql_str();
        let done = match self {
            Self::Sqlite(tx) => bound!(sqlx::query(sql), values)
                .execute(&mut **tx)
                .await
                .map(|done| done.rows_affected()),
            Self::Postgres(tx) => bound!(sqlx::query(sql), values)
                .execute(&mut **tx)
                .await
                .map(|done| done.rows_affected()),
        };
        done.map_err(database("write"))
    }

    /// All rows of a query. Only for what is bounded.
    pub(crate) async fn all(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, VaultError> {
        let mut rows = Vec::new();
        self.each(sql, values, |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// The rows of a query, one after the other.
    pub(crate) async fn each(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
        mut take: impl FnMut(Row) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let sql = sql.into_sql_str();
        let asked = || database("ask");
        match self {
            Self::Sqlite(tx) => {
                let mut rows = bound!(sqlx::query(sql), values).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(asked())? {
                    take(Row::Sqlite(row))?;
                }
            }
            Self::Postgres(tx) => {
                let mut rows = bound!(sqlx::query(sql), values).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(asked())? {
                    take(Row::Postgres(row))?;
                }
            }
        }
        Ok(())
    }

    /// The first row of a query.
    pub(crate) async fn one(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, VaultError> {
        let sql = sql.into_sql_str();
        let row = match self {
            Self::Sqlite(tx) => bound!(sqlx::query(sql), values)
                .fetch_optional(&mut **tx)
                .await
                .map(|row| row.map(Row::Sqlite)),
            Self::Postgres(tx) => bound!(sqlx::query(sql), values)
                .fetch_optional(&mut **tx)
                .await
                .map(|row| row.map(Row::Postgres)),
        };
        row.map_err(database("ask"))
    }

    /// Makes what it did count.
    pub(crate) async fn commit(self) -> Result<(), VaultError> {
        let done = match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        };
        done.map_err(database("commit"))
    }
}
