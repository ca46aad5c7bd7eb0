//! The ids of the rows: UUIDs of version 7 (RFC 9562, 5.7), from a clock of their own and the seed.
//!
//! Each id is greater than the one before, so that in every table the order of keys is the order of
//! insertion, as with the database's own `uuid_v7()`. The clock starts with the practice and moves up to a
//! second per row, so ids that the database makes later are greater still.

use uuid::{Builder, Uuid};

use crate::generate::moment::FIRST_DAY;
use crate::generate::rng::Rng;

/// Makes ids.
pub(super) struct Keys {
    millis: u64,
    rng: Rng,
}

impl Keys {
    pub(super) fn new(rng: Rng) -> Self {
        Self { millis: FIRST_DAY.0.unsigned_abs() * 1000, rng }
    }

    pub(super) fn next(&mut self) -> Uuid {
        let random = self.rng.next();
        self.millis += 1 + random % 1000;
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&random.rotate_left(32).to_be_bytes());
        bytes[8..].copy_from_slice(&self.rng.next().to_be_bytes()[..2]);
        Builder::from_unix_timestamp_millis(self.millis, &bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_version_7_ascend_and_follow_from_the_seed() {
        let mut keys = Keys::new(Rng::new(1, 0));
        let mut again = Keys::new(Rng::new(1, 0));
        let mut last = Uuid::nil();
        for _ in 0..1000 {
            let id = keys.next();
            assert!(id > last && id.get_version_num() == 7);
            assert_eq!(id, again.next());
            last = id;
        }
    }
}
