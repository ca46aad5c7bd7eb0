//! How large a practice is: its directory, its patients, and how long the chart of each is.

use super::directory::Directory;
use super::rng::Rng;
use super::{GenerateError, GenerateOptions};

/// Resources per patient at these percentiles; in between it is interpolated.
const SIZES: [(u64, u64); 8] =
    [(0, 58), (10, 120), (25, 220), (50, 415), (75, 700), (90, 1300), (97, 2200), (100, 2943)];

/// The mean of [`SIZES`], near enough to size a directory with.
const MEAN_SIZE: u64 = 580;

/// The shortest chart in which every type occurs once.
const EVERY_TYPE: u64 = 58;

const DEFAULT_PATIENTS: u64 = 100;

/// The stream of randomness that sizes are drawn from; patients have 1, 2, 3 …, the directory 0.
const STREAM: u64 = u64::MAX;

/// The sizes of a practice.
#[derive(Debug)]
pub(super) struct Plan {
    pub directory: Directory,
    /// Resources of each patient's chart.
    pub charts: Vec<u64>,
}

impl Plan {
    pub(super) fn new(options: &GenerateOptions) -> Result<Self, GenerateError> {
        if options.patients == Some(0) {
            return Err(GenerateError::NoPatients);
        }
        let mut rng = Rng::new(options.seed, STREAM);
        let patients = options.patients.map(u64::from);
        let estimated = patients
            .or_else(|| options.resources.map(|resources| (resources / MEAN_SIZE).max(1)))
            .unwrap_or(DEFAULT_PATIENTS);
        let directory = Directory::for_patients(estimated);
        let Some(wanted) = options.resources else {
            return Ok(Self { directory, charts: (0..estimated).map(|_| size(&mut rng)).collect() });
        };
        let least = directory.resources() + EVERY_TYPE + patients.unwrap_or(1) - 1;
        if wanted < least {
            return Err(GenerateError::TooFewResources { wanted, least });
        }
        let charts = match patients {
            Some(patients) => share(wanted - least, patients, &mut rng),
            None => cut(wanted - directory.resources(), &mut rng),
        };
        Ok(Self { directory, charts })
    }

    pub(super) fn resources(&self) -> u64 {
        self.directory.resources() + self.charts.iter().sum::<u64>()
    }
}

fn size(rng: &mut Rng) -> u64 {
    let at = rng.next() % 10_000;
    let above = SIZES.iter().position(|(percent, _)| percent * 100 > at).unwrap_or(SIZES.len() - 1);
    let ((low_percent, low), (high_percent, high)) = (SIZES[above - 1], SIZES[above]);
    low + (high - low) * (at - low_percent * 100) / ((high_percent - low_percent) * 100)
}

/// Charts until `total` is reached; the last is as long as it must be to hit it.
fn cut(mut total: u64, rng: &mut Rng) -> Vec<u64> {
    let mut charts = Vec::new();
    while total > 0 {
        let size = size(rng);
        // What would be left for a last chart too short to hold a visit goes to this one.
        let size = if total < size + EVERY_TYPE { total } else { size };
        charts.push(size);
        total -= size;
    }
    charts
}

/// One chart per patient. Each holds at least the patient, the first at least one of every type; `spare`
/// resources are shared in the proportions of drawn sizes.
fn share(spare: u64, patients: u64, rng: &mut Rng) -> Vec<u64> {
    let sizes: Vec<u64> = (0..patients).map(|_| size(rng)).collect();
    let sum: u128 = sizes.iter().map(|size| u128::from(*size)).sum();
    let part = |drawn: u128| u64::try_from(u128::from(spare) * drawn / sum).expect("at most the spare ones");
    let mut drawn = 0;
    let mut charts: Vec<u64> = sizes
        .iter()
        .map(|size| {
            let before = part(drawn);
            drawn += u128::from(*size);
            1 + part(drawn) - before
        })
        .collect();
    charts[0] += EVERY_TYPE - 1;
    charts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_skewed_as_in_a_real_practice() {
        let mut rng = Rng::new(1, STREAM);
        let mut sizes: Vec<u64> = (0..20_000).map(|_| size(&mut rng)).collect();
        sizes.sort_unstable();
        assert!(sizes[0] >= 58 && sizes[19_999] <= 2943);
        assert!((400..430).contains(&sizes[10_000]), "median {}", sizes[10_000]);
        assert!(sizes.iter().sum::<u64>() / 20_000 > 500, "the mean lies above the median");
    }

    #[test]
    fn a_practice_has_exactly_the_resources_and_patients_asked_for() {
        for resources in [85, 86, 200, 1999, 1_000_000] {
            for patients in [None, Some(1), Some(7), Some(100)] {
                let options =
                    GenerateOptions { seed: 3, patients, resources: Some(resources), line_bytes: None };
                match Plan::new(&options) {
                    Ok(plan) => {
                        assert_eq!(plan.resources(), resources);
                        assert_eq!(plan.charts.len(), patients.map_or(plan.charts.len(), |n| n as usize));
                        assert!(plan.charts[0] >= EVERY_TYPE);
                    }
                    Err(GenerateError::TooFewResources { wanted, least }) => assert!(wanted < least),
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }

    #[test]
    fn a_practice_without_patients_or_with_too_few_resources_is_refused() {
        assert!(matches!(Plan::new(&GenerateOptions::patients(1, 0)), Err(GenerateError::NoPatients)));
        let few = Plan::new(&GenerateOptions::resources(1, 50));
        assert!(matches!(few, Err(GenerateError::TooFewResources { wanted: 50, .. })));
    }
}
