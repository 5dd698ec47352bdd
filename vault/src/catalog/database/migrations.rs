//! The tables, as `schemas/migrations/` says.
//!
//! The files are embedded by `include_str!` and not by sqlx's macro, which would have every dependency of the databases
//! compiled a second time, for the compiler's own process.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// All migrations: number, what it is, for SQLite, for PostgreSQL.
const ALL: [(i64, &str, &str, &str); 1] = [(
    1,
    "catalog",
    include_str!("../../../../schemas/migrations/sqlite/0001_catalog.sql"),
    include_str!("../../../../schemas/migrations/postgres/0001_catalog.sql"),
)];

/// The number of the newest migration that this program knows.
pub(super) fn newest() -> i64 {
    ALL.last().map_or(0, |migration| migration.0)
}

pub(super) fn migrator(postgres: bool) -> Migrator {
    let migrations = ALL.iter().map(|(version, what, for_sqlite, for_postgres)| {
        let sql: &'static str = if postgres { for_postgres } else { for_sqlite };
        Migration::new(
            *version,
            Cow::Borrowed(*what),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of a migration and their columns, without types.
    fn tables(sql: &str) -> Vec<(String, Vec<String>)> {
        let mut tables: Vec<(String, Vec<String>)> = Vec::new();
        for line in sql.lines() {
            if let Some(name) = line.strip_prefix("CREATE TABLE ") {
                tables.push((name.trim_end_matches(" (").to_owned(), Vec::new()));
            } else if let Some(column) = line.strip_prefix("    ")
                && !column.starts_with("--")
            {
                let column = column.split(' ').next().unwrap_or_default().to_owned();
                tables.last_mut().unwrap().1.push(column);
            }
        }
        tables
    }

    #[test]
    fn both_databases_have_the_same_tables_and_columns() {
        for (at, (version, _, for_sqlite, for_postgres)) in ALL.iter().enumerate() {
            assert_eq!(*version, i64::try_from(at).unwrap() + 1);
            assert_eq!(tables(for_sqlite), tables(for_postgres));
        }
        assert!(tables(ALL[0].2).len() > 15);
    }
}
