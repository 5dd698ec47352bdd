//! Every parser of outside bytes, over the seeds of the fuzz targets and thousands of mutations of them. The fuzzer
//! searches further: see `deploy/dev/fuzz`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test panics where it fails, and the lints of test functions leave the functions around them out"
)]

#[path = "../fuzz/src/lib.rs"]
#[allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "the root of another crate, shared"
)]
mod targets;

use std::{fs, path::Path};

/// Tries so many mutations of each seed.
const MUTATIONS: u32 = 100;
/// Tries at most so many mutations of a seed that is cut after each of its first bytes.
const CUTS: usize = 300;

/// SplitMix64: the same mutations on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).unwrap() % bound
    }
}

fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} has no seeds", folder.display());
    let mut dice = Dice(1);
    target(&[]);
    for seed in seeds {
        let bytes = fs::read(&seed).unwrap();
        target(&bytes);
        for cut in (0..bytes.len()).step_by(bytes.len().div_ceil(CUTS).max(1)) {
            target(&bytes[..cut]);
        }
        for _ in 0..MUTATIONS {
            target(&mutate(&bytes, &mut dice));
        }
    }
}

/// Flips a bit, sets a byte to an extreme, repeats or drops a piece; one to four times.
fn mutate(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        // Half of the time near the start, where the headers are.
        let reach = if dice.below(2) == 0 {
            bytes.len().min(256)
        } else {
            bytes.len()
        };
        let at = dice.below(reach);
        let len = dice.below(64).min(bytes.len() - at);
        match dice.below(5) {
            0 | 1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            3 => bytes
                .splice(at..at, bytes[at..at + len].to_vec())
                .for_each(drop),
            _ => bytes.drain(at..at + len).for_each(drop),
        }
    }
    bytes
}

macro_rules! targets {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), targets::$name);
        }
    )*};
}

targets! { rows key_value kubernetes key_filter boltdb wal snap segment envelope manifest chunk }
