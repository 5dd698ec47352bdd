//! What is wrong is told, without a password, and costs nothing.

use std::time::Duration;

use revkeep_vault::ErrorKind;
use revkeep_vault::catalog::{Catalog, CatalogUrl, SyncOptions};

use crate::databases::Database;
use crate::history::World;

async fn refused(url: &str) -> revkeep_vault::VaultError {
    let url: CatalogUrl = url.parse().unwrap();
    let error = Catalog::open(&url).await.unwrap_err();
    assert!(!error.to_string().contains("s3cret"), "{error}");
    error
}

#[tokio::test]
async fn a_file_that_is_no_catalog_or_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.sqlite");
    let url = format!("sqlite://{}", file.display());
    // There is none yet.
    let parsed: CatalogUrl = url.parse().unwrap();
    let error = Catalog::read_only(&parsed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("catalog sync"), "{error}");
    assert!(!file.exists());
    // Something else.
    std::fs::write(
        &file,
        "this is no database, but a text of some length".repeat(40),
    )
    .unwrap();
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    std::fs::remove_file(&file).unwrap();
    // For reading alone.
    let mut world = World::new(1).await;
    let timeline = world.timeline("prod").await;
    world.base(&timeline, 0, 5).await;
    let catalog = Catalog::open(&parsed).await.unwrap();
    catalog
        .sync(&world.vault, &SyncOptions::default(), world.now())
        .await
        .unwrap();
    catalog.close().await;
    let read_only: CatalogUrl = format!("{url}?mode=ro").parse().unwrap();
    let catalog = Catalog::read_only(&read_only).await.unwrap();
    let options = SyncOptions::default();
    assert_eq!(catalog.largest(9).await.unwrap().len(), 1);
    // What another one writes from now on is seen.
    let writer = Catalog::open(&parsed).await.unwrap();
    world.timeline("other").await;
    writer
        .sync(&world.vault, &options, world.now())
        .await
        .unwrap();
    assert_eq!(catalog.largest(9).await.unwrap().len(), 2);
    writer.close().await;
    let error = catalog
        .rebuild(&world.vault, &options, world.now())
        .await
        .map(|_| ());
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("cannot be written"), "{error}");
    // No such folder, and none can be made.
    let error = refused("sqlite:///proc/nowhere/c.sqlite").await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn the_catalog_of_another_vault() {
    for database in Database::all().await {
        let catalog = database.catalog("other").await;
        let (one, other) = (World::new(1).await, World::new(2).await);
        catalog
            .sync(&one.vault, &SyncOptions::default(), one.now())
            .await
            .unwrap();
        let error = catalog
            .sync(&other.vault, &SyncOptions::default(), one.now())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    }
}

#[tokio::test]
async fn tables_of_a_newer_version() {
    for database in Database::all().await {
        let url = database.url("newer").await;
        let catalog = Catalog::open(&url).await.unwrap();
        let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                      VALUES (9999, 'of tomorrow', true, '', 0)";
        match &database {
            Database::Postgres(server) => {
                server.sql("newer", insert).await.unwrap();
            }
            Database::Sqlite(_) => {
                let file = catalog.url().file().unwrap().to_owned();
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
                let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
                sqlx::query(insert).execute(&pool).await.unwrap();
                pool.close().await;
            }
        }
        catalog.close().await;
        for error in [
            Catalog::open(&url).await.map(|_| ()),
            Catalog::read_only(&url).await.map(|_| ()),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains("newer Revkeep"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_or_is_away() {
    let Some(mut server) = revkeep_harness::Postgres::start().await.unwrap() else {
        return;
    };
    let error = refused(&server.url_with("revkeep", "s3cret", "postgres")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("password"), "{error}");
    let error = refused(&server.url_with("stranger", "s3cret", "postgres")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = refused(&server.url("nowhere")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("createdb"), "{error}");
    let url = server.create_database("away").await.unwrap();
    let catalog = Catalog::open(&url.parse().unwrap()).await.unwrap();
    server.kill().unwrap();
    let error = catalog.largest(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

#[tokio::test]
async fn a_file_that_another_program_holds() {
    let folder = tempfile::tempdir().unwrap();
    let url: CatalogUrl = format!("sqlite://{}/c.sqlite", folder.path().display())
        .parse()
        .unwrap();
    let world = World::new(1).await;
    let options = SyncOptions::default();
    let (holder, waiter) = (
        Catalog::open(&url).await.unwrap(),
        Catalog::open(&url).await.unwrap(),
    );
    holder
        .sync(&world.vault, &options, world.now())
        .await
        .unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(url.file().unwrap());
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let held = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // Readers are not held up.
    waiter.largest(1).await.unwrap();
    let waiting = {
        let (waiter, vault, now) = (waiter.clone(), world.vault.clone(), world.now());
        tokio::spawn(async move { waiter.rebuild(&vault, &SyncOptions::default(), now).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    held.rollback().await.unwrap();
    waiting.await.unwrap().unwrap();
}
