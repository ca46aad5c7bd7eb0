//! When a client should poll again: a quarter of the time that is left at the rate seen so far, so that small
//! exports are noticed at once and large ones are not asked for in vain. And never longer than half the export's
//! age: the rate of the first moments, when little is published yet, tells next to nothing.

use std::time::Duration;

use headgate_domain::export::Progress;

const SHORTEST_S: u64 = 1;
const LONGEST_S: u64 = 30;

/// Whole seconds, from 1 to 30. `age` is the time since kick-off.
pub(crate) fn retry_after_s(progress: Progress, age: Duration) -> u64 {
    let age_s = age.as_secs();
    let wait = if progress.published == 0 {
        // Nothing to measure by: the longer it took so far, the longer it may take.
        age_s / 4
    } else {
        let left = progress.planned.saturating_sub(progress.published);
        let left_s = u128::from(left) * u128::from(age_s) / u128::from(progress.published);
        u64::try_from(left_s / 4).unwrap_or(LONGEST_S)
    };
    wait.min(age_s / 2).clamp(SHORTEST_S, LONGEST_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(published: u64, planned: u64, age_s: u64) -> u64 {
        retry_after_s(Progress { published, planned, planned_all: true }, Duration::from_secs(age_s))
    }

    #[test]
    fn a_quarter_of_the_time_left_is_waited() {
        assert_eq!(wait(2500, 5000, 40), 10);
        assert_eq!(wait(4900, 5000, 10), 1);
    }

    #[test]
    fn a_young_export_is_not_waited_for_longer_than_half_its_age() {
        assert_eq!(wait(10, 50_000, 1), 1);
        assert_eq!(wait(10, 50_000, 10), 5);
    }

    #[test]
    fn the_wait_stays_between_a_second_and_half_a_minute() {
        assert_eq!(wait(0, 0, 0), 1);
        assert_eq!(wait(0, 1_000_000, 3600), 30);
        assert_eq!(wait(1, u64::MAX, 3600), 30);
        assert_eq!(wait(5000, 4000, 10), 1);
    }
}
