//! The generator's randomness: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators"). Written out here because the documents of a seed must never change, and the generators of
//! the `rand` crate may change with its version. Integers only, so that no platform rounds differently.

use std::fmt::Write as _;

/// A stream of random numbers that a seed determines.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream number `stream` of a seed; streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed);
        let mixed = rng.next();
        Self(mixed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u128::from(high.abs_diff(low)) + 1;
        let offset = (u128::from(self.next()) * span) >> 64;
        low + i64::try_from(offset).expect("an offset within the span of two i64 that are near each other")
    }

    /// True in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: i64) -> bool {
        self.between(1, 100) <= percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    pub(crate) fn word(&mut self, from: &[&'static str]) -> &'static str {
        from[self.index(from.len())]
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        let last = i64::try_from(len).expect("a table is short") - 1;
        usize::try_from(self.between(0, last)).expect("not negative")
    }

    /// A random UUID (RFC 9562, version 4).
    pub(crate) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// So many decimal digits.
    pub(crate) fn digits(&mut self, count: usize) -> String {
        let mut digits = String::with_capacity(count);
        for _ in 0..count {
            write!(digits, "{}", self.between(0, 9)).expect("a String takes everything");
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut rng = Rng(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317, "the published first output for this seed");
        assert_eq!(Rng::new(1, 2).uuid(), Rng::new(1, 2).uuid());
        assert_ne!(Rng::new(1, 2).uuid(), Rng::new(1, 3).uuid());
        assert_ne!(Rng::new(1, 2).uuid(), Rng::new(2, 2).uuid());
    }

    #[test]
    fn a_range_includes_both_ends_and_nothing_else() {
        let mut rng = Rng::new(7, 0);
        let seen: std::collections::BTreeSet<i64> = (0..1000).map(|_| rng.between(-2, 2)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
    }
}
