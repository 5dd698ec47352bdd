//! While nobody knows what is needed in the place of what is damaged, nothing that is there is left without a date.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use revkeep_vault::lock::LockMode;

use super::growing::{World, lock, prefix, rules, run};

/// Everything in the vault that something kept may need: what is put over, or is there for deletions alone, is not.
async fn all(world: &World) -> BTreeSet<Path> {
    let all: Vec<_> = world
        .view
        .list(Some(&prefix()))
        .try_collect()
        .await
        .unwrap();
    let passing = ["/head", "/writing/", "/deletions/", "/probe/"];
    let paths = all.into_iter().map(|meta| meta.location);
    paths
        .filter(|path| !passing.iter().any(|part| path.as_ref().contains(part)))
        .collect()
}

/// What is done to an object.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Lost,
    Garbage,
}

#[tokio::test]
async fn whatever_is_damaged_all_that_is_left_is_held() {
    let lock = lock(LockMode::Governance, 4);
    let mut world = World::new(7).await;
    // The oldest path is what the rules let go, and its own chunks.
    for _ in 0..4 {
        world.base().await;
        for _ in 0..3 {
            world.segment(20).await;
        }
        world.shared.advance(TimeDelta::days(9));
    }
    world.base().await;
    world.pin(200, None).await;
    let bases = world.timeline.inventory().await.unwrap().bases;
    let (before, newest) = (&bases[bases.len() - 2], &bases[bases.len() - 1]);
    let mut own = newest.manifest.chunks.iter();
    let own = own.rfind(|chunk| !before.manifest.chunks.contains(chunk));
    let chunk = world.timeline.cluster().chunk_object(own.unwrap());
    for (name, harm) in [
        (chunk.as_str(), Harm::Lost),
        (newest.name.as_str(), Harm::Garbage),
        ("clusters/prod/pins/pin-1", Harm::Garbage),
        ("clusters/prod/0001/timeline", Harm::Garbage),
    ] {
        // All dates have passed by now.
        world.shared.advance(TimeDelta::days(60));
        let sound = run(&world.timeline, &lock).await;
        let planned = world.needed(&rules()).await;
        assert_eq!(world.held_until(sound.until), planned, "before {name}");
        let everything = all(&world).await;
        assert!(planned.len() + 5 < everything.len(), "much is let go");

        world.shared.advance(TimeDelta::days(60));
        let path = Path::from(format!("{}/{name}", prefix()));
        let content = world.view.get(&path).await.unwrap();
        let content = content.bytes().await.unwrap();
        match harm {
            Harm::Lost => world.view.delete(&path).await.unwrap(),
            Harm::Garbage => {
                let garbage = b"nothing".as_slice();
                world.view.put(&path, garbage.into()).await.unwrap();
            }
        }
        let there = all(&world).await;
        let locked = run(&world.timeline, &lock).await;
        locked.complete().unwrap();
        assert_eq!(locked.set + locked.covered, there.len(), "{name} {harm:?}");
        assert_eq!(world.held_until(locked.until), there, "{name} {harm:?}");
        let (survey, planned) = world.planned(&rules()).await;
        assert_eq!(survey.damaged.len(), 1);
        let cluster = world.timeline.cluster();
        let planned = cluster.plan_lock(&lock, &survey, &planned).await.unwrap();
        assert_eq!((planned.objects(), planned.covered), (0, there.len()));

        world.view.put(&path, content.into()).await.unwrap();
    }
}
