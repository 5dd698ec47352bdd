//! Bits, lengths, names: whatever is done to whichever object.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::everything_in_it::Place;

/// A name of the same kind that nothing stands at.
fn another_name(name: &str, random: &mut StdRng) -> Option<String> {
    let (folder, file) = name.rsplit_once('/')?;
    let uid = format!("{:016x}", random.random::<u64>());
    Some(match folder.split('/').nth(2)? {
        "chunks" => {
            let hash = format!("{uid}{uid}{uid}{uid}");
            format!("clusters/prod/chunks/{}/{hash}", &hash[..2])
        }
        "pins" => format!("{folder}/other"),
        "writing" => format!("{}-{uid}", name.rsplit_once('-')?.0),
        "deletions" => format!("clusters/prod/deletions/0000000099/{file}"),
        _ if file == "timeline" => "clusters/prod/0009/timeline".to_owned(),
        _ => format!("{}-{uid}", name.rsplit_once('-')?.0),
    })
}

/// Does one thing to the vault, and says which objects are wrong now.
fn injure(
    place: &Place,
    objects: &BTreeMap<String, Vec<u8>>,
    random: &mut StdRng,
) -> (String, Vec<String>) {
    let names: Vec<_> = objects.keys().collect();
    let name = names[random.random_range(0..names.len())].clone();
    let bytes = &objects[&name];
    match random.random_range(0..6) {
        0 => {
            let mut damaged = bytes.clone();
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= 1 << random.random_range(0..8);
            place.write(&name, &damaged);
            (format!("a bit of byte {at} of {name}"), vec![name])
        }
        1 => {
            let len = random.random_range(0..bytes.len());
            place.write(&name, &bytes[..len]);
            (format!("{name} cut to {len}"), vec![name])
        }
        2 => {
            place.remove(&name);
            // A person may take a pin back or remove a receipt, and intents go with their bases.
            let silent = ["/pins/", "/writing/", "/receipts/"];
            let silent = silent.iter().any(|folder| name.contains(folder));
            let found = if silent { vec![] } else { vec![name.clone()] };
            (format!("{name} removed"), found)
        }
        3 => {
            let other = names[random.random_range(0..names.len())].clone();
            place.write(&name, &objects[&other]);
            place.write(&other, bytes);
            let mut both = vec![name.clone(), other.clone()];
            both.sort();
            if name == other {
                both.clear();
            }
            (format!("{name} and {other} swapped"), both)
        }
        4 => {
            place.write("clusters/prod/head", &place.old_head);
            (
                "an old head".to_owned(),
                vec!["clusters/prod/head".to_owned()],
            )
        }
        _ => match another_name(&name, random) {
            Some(copy) => {
                place.write(&copy, bytes);
                (format!("{name} copied to {copy}"), vec![copy])
            }
            None => ("nothing".to_owned(), vec![]),
        },
    }
}

fn mend(place: &Place, objects: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in place.objects() {
        match objects.get(&name) {
            None => place.remove(&name),
            Some(right) if *right != bytes => place.write(&name, right),
            Some(_) => {}
        }
    }
    for (name, bytes) in objects {
        if !place.root().join(name).exists() {
            place.write(name, bytes);
        }
    }
}

#[tokio::test]
async fn every_injection_is_named_once_and_nothing_else() {
    let cases: u32 = std::env::var("REVKEEP_CASES").map_or(200, |cases| cases.parse().unwrap());
    let seed =
        std::env::var("REVKEEP_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("REVKEEP_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::new().await;
    let mut first = place.ledger();
    let sound = place.verify(&mut first).await;
    assert_eq!(sound.findings, [], "nothing is wrong yet");
    assert!(sound.bases >= 3 && sound.segments >= 5 && sound.read_objects == sound.objects);
    first.save().unwrap();
    let objects = place.objects();
    assert!(
        objects.keys().any(|name| name.ends_with("/swept")),
        "something was deleted"
    );
    for case in 0..cases {
        let (what, wrong) = injure(&place, &objects, &mut random);
        let found = place.verify(&mut place.ledger()).await;
        let named: Vec<_> = found.findings.iter().map(|it| it.object.clone()).collect();
        assert_eq!(named, wrong, "case {case}: {what}: {found:#?}");
        mend(&place, &objects);
    }
    assert_eq!(place.verify(&mut place.ledger()).await.findings, []);
}
