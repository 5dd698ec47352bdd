//! Connections to the database.

use std::path::Path;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, PgPool, SqlitePool};

use super::address::{CatalogUrl, Place};
use super::error::database;
use super::migrations::{migrator, newest};
use super::transaction::Transaction;
use crate::error::{ErrorKind, VaultError};

/// Connections at once.
const CONNECTIONS: u32 = 8;
/// How long a connection may take, and how long a write waits for another program's.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where somebody waits at a terminal.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a file that is refused at once is tried again, and after what pause.
const BEGIN: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

/// What is to be done with a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only read: one that is not there is not made.
    Read,
    /// Read and written; made where there is none.
    Write,
}

/// Connections to one database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

impl Pool {
    /// Connects, and brings the tables to this program's version where it may write.
    pub(crate) async fn open(url: &CatalogUrl, access: Access) -> Result<Self, VaultError> {
        let pool = match &url.0 {
            Place::Sqlite { path, read_only } => file(path, *read_only, access).await,
            Place::Postgres(url) => server(url.as_str()).await,
        };
        let pool = pool.map_err(|error| error.about(url))?;
        let ready = match access {
            Access::Write => pool.migrate().await,
            Access::Read => pool.known_version().await,
        };
        ready.map_err(|error| error.about(url))?;
        Ok(pool)
    }

    /// Brings the tables to this program's version.
    pub(crate) async fn migrate(&self) -> Result<(), VaultError> {
        self.known_version()
            .await
            .or_else(|error| match error.kind() {
                ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        let mut tries = 0;
        loop {
            let done = match self {
                Self::Sqlite(pool) => migrator(false).run(pool).await,
                Self::Postgres(pool) => migrator(true).run(pool).await,
            };
            tries += 1;
            match done {
                Ok(()) => return Ok(()),
                // Another program makes the same tables just now.
                Err(_) if tries < 5 => {
                    if self.known_version().await.is_ok() {
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(50 * tries)).await;
                }
                Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                    return Err(database("make the tables")(error));
                }
                Err(error) => {
                    return Err(VaultError::new(
                        ErrorKind::Config,
                        "catalog: its tables are not those of this program; give another one, or remove it: nothing is lost by that",
                    )
                    .with_source(error));
                }
            }
        }
    }

    /// Whether the tables are of just this program's version.
    async fn known_version(&self) -> Result<(), VaultError> {
        let absent = || {
            VaultError::new(
                ErrorKind::NotFound,
                "there is no catalog yet. Try: revkeep catalog sync",
            )
        };
        let mut reading = self.read().await?;
        let there = match self {
            Self::Sqlite(_) => "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
            Self::Postgres(_) => {
                "SELECT COUNT(*) FROM pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = current_schema()"
            }
        };
        let there = reading.one(there, &[]).await?;
        if there.map_or(Ok(0), |row| row.int(0))? == 0 {
            return Err(absent());
        }
        let found = "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM _sqlx_migrations";
        let found = reading.one(found, &[]).await?;
        match found.map_or(Ok(0), |row| row.int(0))? {
            version if version == newest() => Ok(()),
            version if version > newest() => Err(VaultError::new(
                ErrorKind::Config,
                format!(
                    "catalog: it is of version {version}, this program knows {} and older ones: use a newer Revkeep, or another \
                     catalog",
                    newest()
                ),
            )),
            _ => Err(absent()),
        }
    }

    /// A transaction that sees one moment and writes nothing.
    pub(crate) async fn read(&self) -> Result<Transaction, VaultError> {
        let begun = match self {
            Self::Sqlite(pool) => pool.begin_with("BEGIN").await.map(Transaction::Sqlite),
            Self::Postgres(pool) => pool
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                .await
                .map(Transaction::Postgres),
        };
        begun.map_err(database("begin to read"))
    }

    /// A transaction that writes. Of SQLite there is one at a time.
    pub(crate) async fn write(&self) -> Result<Transaction, VaultError> {
        let begun = match self {
            Self::Sqlite(pool) => pool
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map(Transaction::Sqlite),
            Self::Postgres(pool) => pool.begin().await.map(Transaction::Postgres),
        };
        begun.map_err(database("begin to write"))
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

async fn file(path: &Path, read_only: bool, access: Access) -> Result<Pool, VaultError> {
    let writes = access == Access::Write;
    if !writes && !path.exists() {
        return Err(VaultError::new(
            ErrorKind::NotFound,
            "there is no catalog yet. Try: revkeep catalog sync",
        ));
    }
    if writes
        && !read_only
        && let Some(folder) = path.parent()
    {
        std::fs::create_dir_all(folder).map_err(|error| {
            VaultError::new(
                ErrorKind::Config,
                format!("catalog: the folder {} cannot be made", folder.display()),
            )
            .with_source(error)
        })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(writes && !read_only)
        .read_only(read_only)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .pragma("cache_size", "-16384")
        .disable_statement_logging();
    let options = if read_only {
        // To read beside those who write, SQLite makes files of its own in the folder. Where none can be made, the file counts
        // as one that nobody changes, unless somebody does just now.
        let log = path.with_file_name(format!(
            "{}-wal",
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        options.immutable(!can_write(path.parent()) && !log.exists())
    } else {
        // All of it can be made again, so a power cut may cost the last changes, never the file.
        options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
    };
    let begun = Instant::now();
    loop {
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone())
            .await;
        match pool.map_err(database("open the file")) {
            // SQLite does not wait where several programs begin the log of a new file at once.
            Err(error) if error.kind() == ErrorKind::Retry && begun.elapsed() < BEGIN => {
                tokio::time::sleep(AGAIN).await;
            }
            pool => return pool.map(Pool::Sqlite),
        }
    }
}

/// Whether this program may make files in a folder.
fn can_write(folder: Option<&Path>) -> bool {
    folder.is_some_and(|folder| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok())
}

async fn server(url: &str) -> Result<Pool, VaultError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        // What the parser says may repeat a part of the address.
        VaultError::new(
            ErrorKind::Config,
            "catalog: the address of the server is not right: use postgres://user@host:port/database?sslmode=…",
        )
    })?;
    let options = options
        .application_name("revkeep")
        // All of it can be made again.
        .options([("synchronous_commit", "off")])
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(CONNECT)
        .connect_with(options)
        .await;
    pool.map(Pool::Postgres)
        .map_err(database("connect to the server"))
}
