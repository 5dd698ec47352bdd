//! The tables, as `schemas/migrations/` says.
//!
//! The files are embedded by `include_str!` and not by sqlx's macro, which would have every dependency of the databases
//! compiled a second time, for the compiler's own process.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// All migrations: number, what it is, for SQLite, for PostgreSQL.
const ALL: [(i64, &str, &str, &str); 3] = [
    (
        1,
        "catalog",
        include_str!("../../../../schemas/migrations/sqlite/0001_catalog.sql"),
        include_str!("../../../../schemas/migrations/postgres/0001_catalog.sql"),
    ),
    (
        2,
        "waiting",
        include_str!("../../../../schemas/migrations/sqlite/0002_waiting.sql"),
        include_str!("../../../../schemas/migrations/postgres/0002_waiting.sql"),
    ),
    (
        3,
        "usage",
        include_str!("../../../../schemas/migrations/sqlite/0003_usage.sql"),
        include_str!("../../../../schemas/migrations/postgres/0003_usage.sql"),
    ),
];

/// The number of the newest migration that this program knows.
pub(super) fn newest() -> i64 {
    ALL.last().map_or(0, |migration| migration.0)
}

pub(super) fn migrator(postgres: bool) -> Migrator {
    up_to(newest(), postgres)
}

/// The migrations up to a version.
fn up_to(version: i64, postgres: bool) -> Migrator {
    let known = ALL.iter().filter(|migration| migration.0 <= version);
    let migrations = known.map(|(version, what, for_sqlite, for_postgres)| {
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
            } else if let Some(change) = line.strip_prefix("ALTER TABLE ") {
                let (table, column) = change.split_once(" ADD COLUMN ").unwrap();
                let column = column.split(' ').next().unwrap_or_default().to_owned();
                tables.push((table.to_owned(), vec![column]));
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

    /// A file of the first version is emptied and brought up to date when it is opened to be written; until then it counts
    /// as none.
    #[tokio::test]
    async fn a_catalog_of_an_older_version_is_filled_again() {
        use crate::catalog::database::{Access, Pool};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true);
        let old = sqlx::SqlitePool::connect_with(options).await.unwrap();
        up_to(1, false).run(&old).await.unwrap();
        let rows = "INSERT INTO clusters (name, version, lost, thinned, missing, damaged, objects, bytes) \
                    VALUES ('a', 1, 0, 0, 0, 0, 0, 0); \
                    INSERT INTO heads VALUES (1, 1, 1, 1, 1, 1, 1, 'a', 1, 1)";
        sqlx::raw_sql(rows).execute(&old).await.unwrap();
        old.close().await;
        let url = format!("sqlite://{}", file.display()).parse().unwrap();
        let error = Pool::open(&url, Access::Read).await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
        let pool = Pool::open(&url, Access::Write).await.unwrap();
        for table in ["clusters", "heads", "spans"] {
            let sql = format!("SELECT COUNT(*) FROM {table}");
            let mut tx = pool.read().await.unwrap();
            let row = tx.one(sqlx::AssertSqlSafe(sql), &[]).await.unwrap();
            assert_eq!(row.unwrap().int(0).unwrap(), 0, "{table}");
        }
        Pool::open(&url, Access::Read).await.unwrap();
    }
}
