//! What is gone is missed, with all that cannot be brought back without it, and is told once.

use std::fs;

use revkeep_vault::TimelineId;
use revkeep_vault::verify::{Ledger, VerifyOptions, Wrong};

use super::everything_in_it::{Place, lost, named};

#[tokio::test]
async fn what_is_lost_with_a_segment_is_said() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    place.verify(&mut ledger).await;
    let objects = place.objects();
    let name = objects
        .keys()
        .find(|name| name.contains("0002/segments/0/") && name.contains("241-"))
        .unwrap();
    place.remove(name);
    let found = place.verify(&mut ledger).await;
    assert_eq!(found.findings[0].wrong, Wrong::Missing);
    assert_eq!(lost(&found), [(2, 241, 260)]);
    // Without a memory of it, the head tells on it.
    let blank = place.dir.path().join("blank");
    let mut blank = Ledger::open(&blank, place.cluster.vault(), place.cluster.name()).unwrap();
    let found = place.verify(&mut blank).await;
    assert_eq!(found.findings.len(), 1);
    assert_eq!(found.findings[0].wrong, Wrong::Contradiction);
    // Once accepted, what is missing is told no more, and neither is what follows from it.
    let options = VerifyOptions {
        accept_missing: true,
        ..VerifyOptions::default()
    };
    let accepting = place.cluster.verify(&options, &mut ledger, &|_| {});
    assert_eq!(accepting.await.unwrap().findings.len(), 1);
    ledger.save().unwrap();
    let second = place.cluster.timeline(TimelineId(2)).await.unwrap();
    let bases = second.inventory().await.unwrap().bases;
    let chunk = bases[0].manifest.chunks.last().unwrap();
    let chunk = place.cluster.chunk_object(chunk);
    place.remove(&chunk);
    let mut ledger = place.ledger();
    let found = place.verify(&mut ledger).await;
    assert_eq!(named(&found), [&chunk]);
    let accepting = place.cluster.verify(&options, &mut ledger, &|_| {});
    assert_eq!(accepting.await.unwrap().findings.len(), 1);
    let found = place.verify(&mut ledger).await;
    assert_eq!(found.findings, []);
    // It cannot be brought back all the same: a base without a chunk is none, and nothing leads on from it.
    assert_eq!(lost(&found), [(2, 1, 260)]);
    assert_eq!(found.accepted, [chunk.as_str(), name.as_str()].sorted());
    assert!(found.unusable().any(|object| object == chunk));
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl<const N: usize> Sorted for [&str; N] {
    fn sorted(mut self) -> Self {
        self.sort_unstable();
        self
    }
}

#[tokio::test]
async fn a_cluster_that_is_gone_altogether_is_missed() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    place.verify(&mut ledger).await;
    ledger.save().unwrap();
    let objects = place.objects();
    fs::remove_dir_all(place.root().join("clusters")).unwrap();
    let vault = place.cluster.vault();
    assert_eq!(vault.clusters().await.unwrap(), []);
    let known = Ledger::clusters(&place.dir.path().join("ledger"), vault).unwrap();
    assert_eq!(known, [place.cluster.name().clone()]);
    let found = place.verify(&mut place.ledger()).await;
    let silent = ["/pins/", "/writing/", "/receipts/"];
    let silent = |name: &String| silent.iter().any(|folder| name.contains(folder));
    let expected: Vec<_> = objects.keys().filter(|name| !silent(name)).collect();
    assert_eq!(named(&found), expected, "each once");
    assert!(found.findings.iter().all(|it| it.wrong == Wrong::Missing));
    assert!(lost(&found).contains(&(2, 220, 260)), "{:?}", found.lost);
    assert!(!found.is_anything_there());
}

#[tokio::test]
async fn a_timeline_that_is_gone_altogether_is_named_once_with_what_is_lost() {
    let place = Place::new().await;
    let mut ledger = place.ledger();
    place.verify(&mut ledger).await;
    let gone: Vec<_> = place.objects().into_keys().collect();
    let gone: Vec<_> = gone.iter().filter(|name| name.contains("/0002/")).collect();
    for name in &gone {
        place.remove(name);
    }
    let found = place.verify(&mut ledger).await;
    assert_eq!(named(&found), gone, "the head tells nothing more");
    assert_eq!(lost(&found), [(2, 220, 260)]);
}

#[tokio::test]
async fn a_hole_is_named_as_far_as_nobody_explains_it() {
    let place = Place::new().await;
    for name in place.objects().keys() {
        // Beside a recorded gap, and beside what retention deleted.
        if name.contains("0001/segments/0/") && name.contains("121-") {
            place.remove(name);
        }
    }
    let folder = place.dir.path().join("none");
    let mut blank = Ledger::open(&folder, place.cluster.vault(), place.cluster.name()).unwrap();
    let found = place.verify(&mut blank).await;
    assert_eq!(
        named(&found),
        ["clusters/prod/0001: revisions 131 to 150"],
        "{found:#?}"
    );
}
