//! Many rows in one statement.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;

use super::transaction::Transaction;
use super::value::Value;
use crate::error::VaultError;

/// Values in one statement; SQLite takes at most 32766, PostgreSQL 65535.
const MOST_VALUES: usize = 4_000;

/// A table and its columns.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
    /// What stands after the values, such as `ON CONFLICT DO NOTHING`.
    pub(crate) then: &'static str,
}

impl Table {
    /// Inserts rows of which the values stand one after the other, in the order of the columns.
    pub(crate) async fn insert(
        &self,
        tx: &mut Transaction,
        values: &[Value<'_>],
    ) -> Result<(), VaultError> {
        let width = self.columns.len();
        // A multiple of the width, so that rows stay whole; statements of the same length are prepared once.
        let most = (MOST_VALUES / width) * width;
        for part in values.chunks(most) {
            let sql = self.statement(part.len() / width);
            tx.execute(AssertSqlSafe(sql), part).await?;
        }
        Ok(())
    }

    fn statement(&self, rows: usize) -> String {
        let width = self.columns.len();
        let mut sql = format!(
            "INSERT INTO {} ({}) VALUES ",
            self.name,
            self.columns.join(", ")
        );
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..width {
                let comma = if column == 0 { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(sql, "{comma}${}", row * width + column + 1);
            }
            sql.push(')');
        }
        sql.push(' ');
        sql.push_str(self.then);
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_over_all_rows() {
        let table = Table {
            name: "t",
            columns: &["a", "b"],
            then: "ON CONFLICT DO NOTHING",
        };
        assert_eq!(
            table.statement(2),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
    }
}
