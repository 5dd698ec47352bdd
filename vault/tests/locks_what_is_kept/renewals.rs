//! Dates are renewed in time, and made neither earlier nor weaker.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use object_store::path::Path;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use revkeep_vault::lock::{LockMode, Retention};
use revkeep_vault::retention::Progress;

use super::growing::{World, lock, prefix, rules, run};

#[tokio::test]
async fn what_kept_points_need_is_held_and_nothing_else_is() {
    let (mut set, mut let_go) = (0, 0);
    for seed in 0..16 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut world = World::new(seed).await;
        world.base().await;
        let lock = lock(LockMode::Governance, random.random_range(1..20));
        for _ in 0..8 {
            for _ in 0..random.random_range(1..6) {
                world.grow(random).await;
            }
            let before = world.shared.now();
            let locked = run(&world.timeline, &lock).await;
            assert_eq!(locked.failed, [], "seed {seed}");
            let (_, fresh) = world.dates.take();
            let needed = world.needed(&rules()).await;
            let held = world.held_until(before + lock.length / 2);
            let open: Vec<_> = needed.difference(&held).collect();
            assert!(open.is_empty(), "seed {seed}: not held: {open:?}");
            let idle: Vec<_> = fresh.difference(&needed).collect();
            assert!(idle.is_empty(), "seed {seed}: nobody needs {idle:?}");
            assert_eq!(
                (locked.set, locked.covered),
                (fresh.len(), needed.len() - fresh.len())
            );
            world.survives_whoever_deletes(&rules(), seed).await;
            set += fresh.len();

            // The same program asks for nothing again, another one for each date once; neither sets any.
            let again = run(&world.timeline, &lock).await;
            assert_eq!((again.set, again.covered), (0, needed.len()), "seed {seed}");
            assert_eq!(world.dates.take().0, 0, "seed {seed}");
            let other = run(&world.opened_again().await, &lock).await;
            assert_eq!((other.set, other.covered), (0, needed.len()), "seed {seed}");
            assert_eq!(
                world.dates.take(),
                (needed.len(), BTreeSet::new()),
                "seed {seed}"
            );

            let applied = world
                .timeline
                .cluster()
                .apply_retention(&rules(), &Utc)
                .await;
            let_go += usize::from(applied.unwrap() != Progress::NothingToDelete);
        }
    }
    assert!(
        set > 200 && let_go > 20,
        "{set} dates, {let_go} rounds: too few to mean anything"
    );
}

#[tokio::test]
async fn dates_are_renewed_and_a_shorter_policy_shortens_none() {
    let mut world = World::new(1).await;
    world.base().await;
    world.segment(9).await;
    let path = Path::from(format!("{}/FORMAT", prefix()));
    let long = lock(LockMode::Governance, 10);
    let first = run(&world.timeline, &long).await;
    assert!(first.set > 3 && first.bytes > 0, "{first:?}");
    world
        .shared
        .advance(TimeDelta::days(5) - TimeDelta::hours(1));
    assert_eq!(
        run(&world.timeline, &long).await.set,
        0,
        "half of it is left"
    );
    world.shared.advance(TimeDelta::hours(2));
    let renewed = run(&world.timeline, &long).await;
    assert_eq!(renewed.set, first.set, "less than half of it is left");
    let until = world.dates.of(&path).unwrap().until;
    assert!(until > first.until && until >= world.shared.now() + long.length - TimeDelta::hours(1));
    let short = run(&world.timeline, &lock(LockMode::Governance, 2)).await;
    assert_eq!(
        (short.set, world.dates.of(&path).unwrap().until),
        (0, until)
    );

    // A person held one longer, after this program had seen its date: it is not shortened when that is due.
    let far = Retention {
        mode: LockMode::Governance,
        until: until + TimeDelta::days(900),
    };
    world.dates.held.lock().unwrap().insert(path.clone(), far);
    world.shared.advance(TimeDelta::days(8));
    let after = run(&world.timeline, &long).await;
    assert_eq!((after.set, after.covered), (first.set - 1, 1));
    assert_eq!(world.dates.of(&path), Some(far));
}

#[tokio::test]
async fn a_stricter_policy_renews_what_it_may_not_make_stricter() {
    let mut world = World::new(2).await;
    world.base().await;
    let before = run(&world.timeline, &lock(LockMode::Governance, 4))
        .await
        .set;
    let strict = lock(LockMode::Compliance, 6);
    let locked = run(&world.timeline, &strict).await;
    assert_eq!(
        (locked.covered, locked.weaker),
        (before, before),
        "four of six days are left"
    );
    world.segment(5).await;
    let strict = lock(LockMode::Compliance, 60);
    let locked = run(&world.timeline, &strict).await;
    assert_eq!((locked.set, locked.weaker), (before + 1, before));
    locked.complete().unwrap();
    let held = world.dates.held.lock().unwrap();
    assert!(held.values().all(|held| held.until == locked.until));
    let compliance = held
        .iter()
        .filter(|(_, held)| held.mode == LockMode::Compliance);
    let compliance: Vec<_> = compliance.map(|(path, _)| path.to_string()).collect();
    assert!(
        compliance.len() == 1 && compliance[0].contains("/segments/"),
        "{compliance:?}"
    );
}
