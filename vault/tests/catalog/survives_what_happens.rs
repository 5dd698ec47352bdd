//! Lost, filled by several at once, with a damaged object or a store that fails: the catalog is right afterwards.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use revkeep_harness::{Fault, FaultyStore, Request};
use revkeep_schemas::Revision;
use revkeep_vault::Vault;
use revkeep_vault::catalog::query::Scope;
use revkeep_vault::catalog::{Catalog, SyncOptions};

use crate::databases::{Database, dump};
use crate::history::World;

fn options() -> SyncOptions {
    SyncOptions::default()
}

async fn grown(seed: u64) -> World {
    let mut world = World::new(seed).await;
    for _ in 0..120 {
        world.step(6).await;
    }
    world
}

/// What a catalog of its own, filled at once, says.
async fn truth(database: &Database, world: &World, name: &str) -> String {
    let catalog = database.filled(name, world).await;
    dump(&catalog).await
}

#[tokio::test]
async fn several_that_fill_it_at_once() {
    for database in Database::all().await {
        let mut world = grown(21).await;
        let url = database.url("several").await;
        for round in 0..3 {
            for _ in 0..15 {
                world.step(6).await;
            }
            let mut running = tokio::task::JoinSet::new();
            for anew in [false, false, false, true] {
                let (url, vault, now) = (url.clone(), world.vault.clone(), world.now());
                // Each with connections of its own, as other processes have.
                running.spawn(async move {
                    let catalog = Catalog::open(&url).await.unwrap();
                    if anew {
                        catalog.rebuild(&vault, &options(), now).await.unwrap()
                    } else {
                        catalog.sync(&vault, &options(), now).await.unwrap()
                    }
                });
            }
            while let Some(report) = running.join_next().await {
                let report = report.unwrap();
                assert!(report.failed.is_empty(), "{report:?}");
            }
            let catalog = Catalog::open(&url).await.unwrap();
            assert_eq!(
                dump(&catalog).await,
                truth(&database, &world, &format!("truth{round}")).await
            );
        }
    }
}

#[tokio::test]
async fn removed_while_it_is_in_use() {
    for database in Database::all().await {
        let mut world = grown(22).await;
        let catalog = database.filled("removed", &world).await;
        match &database {
            Database::Sqlite(_) => std::fs::remove_file(catalog.url().file().unwrap()).unwrap(),
            Database::Postgres(server) => {
                let drop = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
                server.sql("removed", drop).await.unwrap();
            }
        }
        for _ in 0..10 {
            world.step(6).await;
        }
        world.fill(&catalog).await;
        assert_eq!(
            dump(&catalog).await,
            truth(&database, &world, "truth").await
        );
        // It is there for others, too.
        let other = Catalog::read_only(catalog.url()).await.unwrap();
        assert_eq!(dump(&other).await, dump(&catalog).await);
    }
}

#[tokio::test]
async fn a_damaged_object_is_named_and_stops_no_other() {
    for database in Database::all().await {
        let mut world = World::new(23).await;
        for name in ["a", "b"] {
            let timeline = world.timeline(name).await;
            world.base(&timeline, 0, 5).await;
            world.segment(&timeline, 0, 6, 9).await;
            world.base(&timeline, 0, 9).await;
        }
        let mut hit = Vec::new();
        for path in world.objects("a").await {
            if path.as_ref().contains("/chunks/") || path.as_ref().contains("/writing/") {
                continue;
            }
            world.store.put(&path, "garbage".into()).await.unwrap();
            hit.push(path.as_ref().strip_prefix("p/").unwrap().to_owned());
        }
        let catalog = database.catalog("damage").await;
        let report = world.fill(&catalog).await;
        assert!(report.failed.is_empty(), "{report:?}");
        let damaged = catalog.damaged(None).await.unwrap();
        let named: Vec<_> = damaged.iter().map(|one| one.name.clone()).collect();
        hit.sort();
        assert_eq!(named, hit);
        assert!(
            damaged
                .iter()
                .all(|one| one.cluster == "a" && !one.reason.is_empty())
        );
        let fine = Scope::newest("b".parse().unwrap());
        let fine = catalog.coverage(&fine).await.unwrap();
        assert_eq!(fine.maximum, Some(Revision(9)));
        // Mended, it is not named any more.
        let timeline = world.timeline("b").await;
        drop(timeline);
        for path in world.objects("a").await {
            if path.as_ref().contains("/bases/") {
                world.store.delete(&path).await.unwrap();
            }
        }
        world.fill(&catalog).await;
        let damaged = catalog.damaged(None).await.unwrap();
        assert!(damaged.iter().all(|one| one.kind != "base"), "{damaged:?}");
    }
}

/// In steady state a cluster costs one get, and one listing for what is new.
#[tokio::test]
async fn heads_save_listings() {
    let by_heads = SyncOptions {
        relist: Duration::from_secs(86_400),
        ..options()
    };
    let mut world = World::new(24).await;
    let names: Vec<String> = (0..20).map(|at| format!("c{at}")).collect();
    for name in &names {
        let timeline = world.timeline(name).await;
        world.base(&timeline, 0, 5).await;
        world.segment(&timeline, 0, 6, 9).await;
        world.put_head(name).await;
    }
    let database = Database::Sqlite(tempfile::tempdir().unwrap());
    let catalog = database.catalog("heads").await;
    catalog
        .sync(&world.vault, &by_heads, world.now())
        .await
        .unwrap();
    world.asked.take();
    for name in &names {
        world.put_head(name).await;
    }
    let report = catalog
        .sync(&world.vault, &by_heads, world.now())
        .await
        .unwrap();
    assert_eq!(
        (report.listed, report.changed, report.objects_read),
        (0, 0, 0)
    );
    // The one listing is that of the clusters.
    assert_eq!(world.asked.take(), (1, 20));

    let timeline = world.timeline("c3").await;
    world.segment(&timeline, 0, 10, 12).await;
    world.put_head("c3").await;
    world.asked.take();
    let report = catalog
        .sync(&world.vault, &by_heads, world.now())
        .await
        .unwrap();
    assert_eq!(
        (report.listed, report.changed, report.objects_read),
        (0, 1, 1)
    );
    assert_eq!(world.asked.take(), (2, 21));
    let scope = Scope::newest("c3".parse().unwrap());
    assert_eq!(
        catalog.coverage(&scope).await.unwrap().maximum,
        Some(Revision(12))
    );

    // What no head tells of is found when all is listed, after a day at the latest.
    timeline
        .put_gap(Revision(20), Revision(21), "lost")
        .await
        .unwrap();
    catalog
        .sync(&world.vault, &by_heads, world.now())
        .await
        .unwrap();
    assert!(catalog.gaps(&scope).await.unwrap().is_empty());
    let later = world.now() + chrono::TimeDelta::days(1);
    let report = catalog.sync(&world.vault, &by_heads, later).await.unwrap();
    assert_eq!((report.listed, report.objects_read), (20, 1));
    assert_eq!(catalog.gaps(&scope).await.unwrap().len(), 1);
}

/// The vault, of which nobody can list cluster `a`.
async fn a_cannot_be_listed(world: &World) -> Vault {
    let inner: Arc<dyn ObjectStore> = world.store.clone();
    let failing = FaultyStore::new(inner, |request, path| {
        let hit = request == Request::List && path.as_ref().contains("clusters/a");
        hit.then_some(Fault::Refused)
    });
    let vault = Vault::with_store(Arc::new(failing), Path::from("p")).await;
    vault.unwrap()
}

#[tokio::test]
async fn a_cluster_that_cannot_be_looked_at_stays_as_it_was_known() {
    for database in Database::all().await {
        let mut world = World::new(25).await;
        for name in ["a", "b"] {
            let timeline = world.timeline(name).await;
            world.base(&timeline, 0, 5).await;
        }
        let catalog = database.filled("faults", &world).await;
        let before = dump(&catalog).await;
        let vault = a_cannot_be_listed(&world).await;
        let report = catalog.sync(&vault, &options(), world.now()).await.unwrap();
        assert_eq!(report.failed.len(), 1, "{report:?}");
        assert_eq!(report.failed[0].cluster, "a");
        assert_eq!(report.clusters, 1);
        assert_eq!(dump(&catalog).await, before);
        let expectations = revkeep_vault::catalog::query::Expectations::default();
        let scope = Scope::newest("a".parse().unwrap());
        let now = world.now().timestamp_millis();
        let status = catalog.status_of(&scope, &expectations, now).await.unwrap();
        assert_eq!(status.condition.word(), "damaged");
        world.fill(&catalog).await;
        let status = catalog.status_of(&scope, &expectations, now).await.unwrap();
        assert_eq!(status.condition.word(), "silent");
    }
}

/// One that could not be looked at even once is seen all the same, and is no cluster that holds nothing.
#[tokio::test]
async fn a_cluster_that_was_never_looked_at_is_a_problem() {
    for database in Database::all().await {
        let mut world = World::new(26).await;
        for name in ["a", "b"] {
            let timeline = world.timeline(name).await;
            world.base(&timeline, 0, 5).await;
            world.put_head(name).await;
        }
        let catalog = database.catalog("never").await;
        let vault = a_cannot_be_listed(&world).await;
        let expectations = revkeep_vault::catalog::query::Expectations::default();
        let now = world.now().timestamp_millis();
        for _ in 0..2 {
            let report = catalog.sync(&vault, &options(), world.now()).await.unwrap();
            assert_eq!(report.failed.len(), 1, "{report:?}");
            let page = catalog
                .status(&expectations, now, None, (0, 9))
                .await
                .unwrap();
            assert_eq!((page.total, page.problems), (2, 1));
            assert_eq!(page.clusters[0].facts.cluster, "a");
            let told = page.clusters[0]
                .reasons
                .iter()
                .any(|why| why.contains("broke off"));
            assert!(told, "{page:?}");
            let scope = Scope::newest("a".parse().unwrap());
            let error = catalog.coverage(&scope).await.unwrap_err();
            assert_eq!(error.kind(), revkeep_vault::ErrorKind::Retry, "{error}");
        }
        world.fill(&catalog).await;
        assert_eq!(
            dump(&catalog).await,
            truth(&database, &world, "truth").await
        );
    }
}

/// A store that has listed the clusters, and keeps the answer until it is let go on.
#[derive(Debug)]
struct LateAnswer {
    inner: Arc<dyn ObjectStore>,
    listed: tokio::sync::Semaphore,
    go_on: tokio::sync::Semaphore,
}

impl std::fmt::Display for LateAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LateAnswer")
    }
}

mod late {
    use futures::stream::BoxStream;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };

    #[async_trait::async_trait]
    impl ObjectStore for super::LateAnswer {
        async fn put_opts(
            &self,
            to: &Path,
            body: PutPayload,
            how: PutOptions,
        ) -> Result<PutResult> {
            self.inner.put_opts(to, body, how).await
        }

        async fn put_multipart_opts(
            &self,
            to: &Path,
            how: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(to, how).await
        }

        async fn get_opts(&self, from: &Path, how: GetOptions) -> Result<GetResult> {
            self.inner.get_opts(from, how).await
        }

        fn delete_stream(
            &self,
            all: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.inner.delete_stream(all)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            let listed = self.inner.list_with_delimiter(prefix).await;
            if prefix.is_some_and(|prefix| prefix.as_ref().ends_with("clusters")) {
                self.listed.add_permits(1);
                let _go_on = self.go_on.acquire().await;
            }
            listed
        }

        async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
            self.inner.copy_opts(from, to, how).await
        }
    }
}

/// What another program adds to vault and catalog while one fills it is not taken for gone.
#[tokio::test]
async fn a_cluster_that_is_added_meanwhile_stays() {
    for database in Database::all().await {
        let mut world = World::new(27).await;
        world.timeline("a").await;
        let catalog = database.catalog("meanwhile").await;
        let store = Arc::new(LateAnswer {
            inner: world.store.clone(),
            listed: tokio::sync::Semaphore::new(0),
            go_on: tokio::sync::Semaphore::new(0),
        });
        let vault = Vault::with_store(store.clone(), Path::from("p")).await;
        let vault = vault.unwrap();
        let (slow, now) = (catalog.clone(), world.now());
        let slow = tokio::spawn(async move { slow.sync(&vault, &options(), now).await.unwrap() });
        let _listed = store.listed.acquire().await.unwrap();
        world.timeline("b").await;
        world.fill(&catalog).await;
        store.go_on.add_permits(9);
        let report = slow.await.unwrap();
        assert_eq!(report.clusters_gone, 0, "{report:?}");
        let added = Scope::newest("b".parse().unwrap());
        catalog.coverage(&added).await.unwrap();
    }
}

/// Once it is known which segments are not trusted, what is new is added as ever, and nothing else is gone through again.
#[tokio::test]
async fn a_warning_is_worked_in_once() {
    let mut world = World::new(28).await;
    let timeline = world.timeline("prod").await;
    world.base(&timeline, 0, 5).await;
    world.segment(&timeline, 0, 6, 9).await;
    let put = timeline.put_distrust(Revision(8), Revision(14), "another member said otherwise");
    put.await.unwrap();
    let database = Database::Sqlite(tempfile::tempdir().unwrap());
    let catalog = database.filled("warned", &world).await;
    // A run that no segment holds stays, unless all of them are gone through again.
    let file = catalog.url().file().unwrap().to_owned();
    let sqlite = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let pool = sqlx::SqlitePool::connect_with(sqlite).await.unwrap();
    let plant =
        "INSERT INTO runs (cluster_id, timeline, first, last) SELECT id, 1, 900, 901 FROM clusters";
    sqlx::query(plant).execute(&pool).await.unwrap();
    world.segment(&timeline, 0, 10, 12).await;
    world.segment(&timeline, 0, 15, 17).await;
    world.fill(&catalog).await;
    let planted = "SELECT COUNT(*) FROM runs WHERE first = 900";
    let planted: i64 = sqlx::query_scalar(planted).fetch_one(&pool).await.unwrap();
    assert_eq!(planted, 1);
    let unplant = "DELETE FROM runs WHERE first = 900";
    sqlx::query(unplant).execute(&pool).await.unwrap();
    assert_eq!(catalog.damaged(None).await.unwrap().len(), 2);
    assert_eq!(
        dump(&catalog).await,
        truth(&database, &world, "truth").await
    );
}
