//! A binary fuse filter with three places and fingerprints of 16 bits: 18 bits for each entry, and one false "perhaps" in
//! 65,536 (T. M. Graf and D. Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor Filters", 2022).
//!
//! Each entry has three places in three neighbouring windows of an array, and the XOR of what stands there is its
//! fingerprint. Building finds an order in which each entry has a place of its own, and fills the array backwards.

use bytes::Bytes;

use crate::FormatError;

/// The kind of filter, the first byte of what is stored.
const KIND: u8 = 1;
/// Bytes before the fingerprints.
const HEADER_LEN: usize = 16;
/// The largest window, as a power of two.
const MAX_WINDOW_BITS: u32 = 18;
/// Seeds that are tried; each fails with a small probability.
const MOST_SEEDS: u64 = 100;

/// The filter: its bytes as they are stored, and what its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fuse {
    seed: u64,
    shape: Shape,
    /// Little-endian numbers of 16 bits.
    fingerprints: Bytes,
}

/// Where the places of an entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    window_bits: u32,
    /// Windows in which the first place can be; two more follow.
    windows: u32,
}

impl Shape {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "sizes of pieces are far below 2^31 entries"
    )]
    fn of(entries: usize) -> Self {
        let n = entries.max(2) as f64;
        let bits = (n.ln() / 3.33_f64.ln() + 2.25).floor() as u32;
        let window_bits = bits.min(MAX_WINDOW_BITS);
        let factor = (0.875 + 0.25 * 1e6_f64.ln() / n.ln()).max(1.125);
        let capacity = (n * factor).round() as u32;
        let windows = capacity.div_ceil(1 << window_bits).saturating_sub(2).max(1);
        Self {
            window_bits,
            windows,
        }
    }

    fn places(self) -> usize {
        (self.windows as usize + 2) << self.window_bits
    }

    fn places_of(self, hash: u64) -> [usize; 3] {
        let range = u128::from(self.windows) << self.window_bits;
        let first = (u128::from(hash) * range) >> 64;
        let first = usize::try_from(first).unwrap_or(0);
        let mask = (1_u64 << self.window_bits) - 1;
        let window = 1_usize << self.window_bits;
        let low = |bits: u64| usize::try_from(bits & mask).unwrap_or(0);
        [
            first,
            (first + window) ^ low(hash >> 18),
            (first + 2 * window) ^ low(hash),
        ]
    }
}

/// What a hash is with one seed: the finisher of MurmurHash3, which permutes.
fn mix(hash: u64, seed: u64) -> u64 {
    let mut h = hash.wrapping_add(seed);
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

fn fingerprint(hash: u64) -> u16 {
    let folded = (hash ^ (hash >> 32)).to_le_bytes();
    u16::from_le_bytes([folded[0], folded[1]])
}

impl Fuse {
    /// The filter of hashes that all differ; `None` in the case, never seen, that no seed fits.
    pub(super) fn build(hashes: &[u64]) -> Option<Self> {
        let shape = Shape::of(hashes.len());
        (0..MOST_SEEDS).find_map(|attempt| {
            // Any constant will do; filters of the same rows are equal.
            let seed = mix(attempt, 0x9e37_79b9_7f4a_7c15);
            let fingerprints = fill(shape, hashes.iter().map(|hash| mix(*hash, seed)))?;
            Some(Self {
                seed,
                shape,
                fingerprints,
            })
        })
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        let hash = mix(hash, self.seed);
        let places = self.shape.places_of(hash);
        let found = places.iter().fold(0, |found, at| found ^ self.at(*at));
        found == fingerprint(hash)
    }

    fn at(&self, place: usize) -> u16 {
        let bytes = self.fingerprints.get(2 * place..2 * place + 2);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u16::from_le_bytes)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.fingerprints.len());
        let bits = self.shape.window_bits.to_le_bytes();
        out.extend_from_slice(&[KIND, bits[0], 0, 0]);
        out.extend_from_slice(&self.shape.windows.to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
        out.extend_from_slice(&self.fingerprints);
        out
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Option<Self>, FormatError> {
        let wrong = |expected: String, found: String| {
            Err(FormatError::corrupt("key filter", 0, expected, found))
        };
        let Some((header, _)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return wrong(
                format!("a header of {HEADER_LEN} bytes"),
                format!("{} bytes", bytes.len()),
            );
        };
        let [kind, bits, _, _, w0, w1, w2, w3, seed @ ..] = *header;
        if kind != KIND {
            return Ok(None);
        }
        let shape = Shape {
            window_bits: u32::from(bits),
            windows: u32::from_le_bytes([w0, w1, w2, w3]),
        };
        if shape.window_bits > MAX_WINDOW_BITS || shape.windows == 0 {
            return wrong("a window of at most 2^18".to_owned(), format!("{shape:?}"));
        }
        let fingerprints = bytes.slice(HEADER_LEN..);
        if fingerprints.len() != 2 * shape.places() {
            return wrong(
                format!("{} fingerprints", shape.places()),
                format!("{} bytes", fingerprints.len()),
            );
        }
        Ok(Some(Self {
            seed: u64::from_le_bytes(seed),
            shape,
            fingerprints,
        }))
    }
}

/// What is known of one place while the filter is built.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The XOR of the entries that have it.
    entries: u64,
    count: u32,
}

/// The fingerprints, or `None` when some entries share all their places.
fn fill(shape: Shape, entries: impl Iterator<Item = u64>) -> Option<Bytes> {
    let mut places = vec![Place::default(); shape.places()];
    let mut left = 0_usize;
    for entry in entries {
        for at in shape.places_of(entry) {
            let place = places.get_mut(at)?;
            place.entries ^= entry;
            place.count += 1;
        }
        left += 1;
    }
    let alone = |(at, place): (usize, &Place)| (place.count == 1).then_some(at);
    let mut alone: Vec<usize> = places.iter().enumerate().filter_map(alone).collect();
    // Each entry with the place that is its own once those before it are gone.
    let mut order = Vec::with_capacity(left);
    while let Some(own) = alone.pop() {
        let place = *places.get(own)?;
        if place.count != 1 {
            continue;
        }
        let entry = place.entries;
        order.push((entry, own));
        for at in shape.places_of(entry) {
            let place = places.get_mut(at)?;
            place.entries ^= entry;
            place.count -= 1;
            if place.count == 1 {
                alone.push(at);
            }
        }
    }
    if order.len() != left {
        return None;
    }
    let mut fingerprints = vec![0_u16; shape.places()];
    for (entry, own) in order.into_iter().rev() {
        let others = shape.places_of(entry).into_iter().filter(|at| *at != own);
        let value = others
            .filter_map(|at| fingerprints.get(at))
            .fold(fingerprint(entry), |value, other| value ^ other);
        *fingerprints.get_mut(own)? = value;
    }
    let bytes: Vec<u8> = fingerprints
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    Some(bytes.into())
}
