//! What cannot be locked is named, and keeps nothing else from being locked; what is wrong with all ends it.

use chrono::Utc;
use revkeep_vault::lock::LockMode;
use revkeep_vault::{ErrorKind, Head, Vault};

use super::growing::{World, lock, prefix, rules, run};

#[tokio::test]
async fn what_cannot_be_locked_is_named_and_the_rest_is_locked() {
    let mut world = World::new(3).await;
    world.base().await;
    world.segment(5).await;
    let head = Head::default();
    world.timeline.cluster().put_head(&head).await.unwrap();
    *world.dates.refuses.lock().unwrap() = Some(("/segments/", ErrorKind::Refused));
    let locked = run(&world.timeline, &lock(LockMode::Governance, 4)).await;
    assert_eq!(locked.failed.len(), 1, "{locked:?}");
    assert!(
        locked.failed[0].name.contains("/segments/")
            && locked.failed[0].reason.contains("not this one")
    );
    let error = locked.complete().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("nothing is deleted in this run"),
        "{error}"
    );
    assert_eq!(locked.set, world.needed(&rules()).await.len() - 1);
    assert!(
        world
            .dates
            .held
            .lock()
            .unwrap()
            .keys()
            .all(|path| !path.as_ref().ends_with("/head"))
    );

    let plain = Vault::with_store(world.view.clone(), prefix())
        .await
        .unwrap();
    let cluster = plain.cluster(&"prod".parse().unwrap());
    let error = cluster
        .lock_kept(&lock(LockMode::Governance, 4), &rules(), &Utc)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .to_string()
            .contains("object lock dates are supported on S3 only"),
        "{error}"
    );
}

/// However reading or setting fails of some objects: all others are renewed, and these once it fails no more.
#[tokio::test]
async fn a_date_that_fails_keeps_no_other_from_being_renewed() {
    let lock = lock(LockMode::Governance, 4);
    for kind in [ErrorKind::Refused, ErrorKind::Retry] {
        for reading in [true, false] {
            let mut world = World::new(4).await;
            world.base().await;
            for _ in 0..3 {
                world.segment(5).await;
            }
            let fails = if reading {
                &world.dates.unreadable
            } else {
                &world.dates.refuses
            };
            *fails.lock().unwrap() = Some(("/segments/", kind));
            let all = world.needed(&rules()).await;
            let locked = run(&world.timeline, &lock).await;
            let named = locked.failed.iter().map(|damage| damage.name.as_str());
            assert_eq!(named.clone().count(), 3, "{kind:?} {reading}: {locked:?}");
            assert!(named.clone().all(|name| name.contains("/segments/")));
            assert_eq!(locked.set, all.len() - 3, "{kind:?} {reading}");
            let incomplete = locked.complete().unwrap_err();
            assert_eq!(incomplete.kind(), ErrorKind::Refused, "{incomplete}");
            let (survey, planned) = world.planned(&rules()).await;
            let cluster = world.timeline.cluster();
            let planned = cluster.plan_lock(&lock, &survey, &planned).await.unwrap();
            assert_eq!(planned.complete().is_err(), reading);

            *fails.lock().unwrap() = None;
            let locked = run(&world.timeline, &lock).await;
            assert_eq!((locked.set, locked.failed.len()), (3, 0));
            let held = world.held_until(world.shared.now() + lock.length / 2);
            assert_eq!(held, all);
        }
    }
}

/// What is wrong with all of them is one error, at once; and a store that does not answer is not asked for each.
#[tokio::test]
async fn what_is_wrong_with_all_ends_it() {
    let mut world = World::new(5).await;
    world.base().await;
    for _ in 0..150 {
        world.segment(1).await;
    }
    let cluster = world.timeline.cluster();
    let all = world.needed(&rules()).await.len();
    for (kind, most) in [(ErrorKind::Config, 40), (ErrorKind::Retry, 100)] {
        *world.dates.unreadable.lock().unwrap() = Some(("", kind));
        world.dates.take();
        let lock = lock(LockMode::Governance, 4);
        let error = cluster.lock_kept(&lock, &rules(), &Utc).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let (asked, set) = world.dates.take();
        assert!(asked < most && most < all, "{asked} of {all}");
        assert!(set.is_empty());
    }
}
