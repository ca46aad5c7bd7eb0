//! Things that must happen now and then: rare enough for chance to leave them out of a small practice.

use std::collections::BTreeMap;

/// Counts the opportunities of each thing.
#[derive(Default)]
pub(super) struct Turns(BTreeMap<&'static str, u64>);

impl Turns {
    /// True once in `every` opportunities of `thing`, and early.
    pub(super) fn take(&mut self, thing: &'static str, every: u64) -> bool {
        self.count(thing) % every == every.div_ceil(3) % every
    }

    /// The number of this opportunity, from 1.
    pub(super) fn count(&mut self, thing: &'static str) -> u64 {
        let count = self.0.entry(thing).or_insert(0);
        *count += 1;
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_comes_once_in_so_many_opportunities() {
        let mut turns = Turns::default();
        let taken: Vec<u64> = (1..=9).filter(|_| turns.take("a", 3)).collect();
        assert_eq!(taken, [1, 4, 7]);
        assert!(turns.take("other", 1));
    }
}
