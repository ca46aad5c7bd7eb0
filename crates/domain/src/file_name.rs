//! How files are numbered and where their objects lie.
//!
//! A type's files are `{type}_1.ndjson`, `{type}_2.ndjson`, …; a shard reserves as many numbers as its
//! rows can fill, so shards write side by side without asking each other. Each number stands for up to
//! `file_resources` resources; where the byte cap cuts such a file, or more rows arrive than were counted, the
//! rest goes on as `{type}_{n}-2.ndjson`, `{type}_{n}-3.ndjson`, …
//!
//! A shard that is taken over under a later fence writes below `r{fence}/`, so that a worker that lost its lease
//! can never overwrite a published object. The key carries no meaning beyond that: the row is the truth.

use serde::{Deserialize, Serialize};

use crate::{ExportId, ResourceType};

/// The place of one file in its type: `number` and `part` (1: the plain name).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileNumber {
    /// Counted from 1 within the type.
    pub number: u32,
    /// 1, or 2 and up for what did not fit.
    pub part: u32,
}

/// What bounds a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most resources in a file.
    pub file_resources: u32,
    /// Most resources that a row gives; at least 1. A file never splits them.
    pub per_row: u32,
}

/// The numbers that a shard may use, and how far it is. It is part of the shard's cursor, so that a
/// shard that is resumed goes on exactly where the published files end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbering {
    last: u32,
    next: FileNumber,
    used: u32,
}

impl Numbering {
    /// Numbers `first ..= first + count - 1`. A shard for which no row was counted has `count` 0 and
    /// gets the one number `first` for rows that appear later.
    #[must_use]
    pub fn new(first: u32, count: u32) -> Self {
        Self { last: first + count.saturating_sub(1), next: FileNumber { number: first, part: 1 }, used: 0 }
    }

    /// The name of the file that is filled now.
    #[must_use]
    pub fn current(&self) -> FileNumber {
        self.next
    }

    /// Whether the file that is filled now, with so many resources, takes those of one more row.
    #[must_use]
    pub fn takes(&self, resources: u32, limits: Limits) -> bool {
        self.used + resources + limits.per_row <= limits.file_resources.max(limits.per_row)
    }

    /// Moves on after a file of `resources` was closed.
    pub fn close(&mut self, resources: u32, limits: Limits) {
        self.used += resources;
        if self.takes(0, limits) {
            self.next.part += 1;
        } else if self.next.number < self.last {
            self.next = FileNumber { number: self.next.number + 1, part: 1 };
            self.used = 0;
        } else {
            self.next.part += 1;
            self.used = 0;
        }
    }
}

/// File numbers to reserve for `rows` rows of which each gives at most `per_row` resources: a file
/// never splits the resources of a row.
#[must_use]
pub fn numbers_for(rows: u64, file_resources: u32, per_row: u32) -> u32 {
    let rows_per_file = u64::from((file_resources / per_row.max(1)).max(1));
    u32::try_from(rows.div_ceil(rows_per_file)).unwrap_or(u32::MAX)
}

/// `encounter_1.ndjson` or `encounter_1-2.ndjson`.
#[must_use]
pub fn file_name(stem: &str, file: FileNumber) -> String {
    match file.part {
        1 => format!("{stem}_{}.ndjson", file.number),
        part => format!("{stem}_{}-{part}.ndjson", file.number),
    }
}

/// The object key of an output file: `{prefix}/{export}/[r{fence}/]{type}_{n}.ndjson`.
#[must_use]
pub fn output_key(prefix: &str, export: &ExportId, fence: i64, t: ResourceType, file: FileNumber) -> String {
    object_key(prefix, export, fence, &file_name(&t.lower_case(), file))
}

/// The object key of an error file: `{prefix}/{export}/[r{fence}/]operationoutcome_{n}.ndjson`.
#[must_use]
pub fn error_key(prefix: &str, export: &ExportId, fence: i64, number: u32) -> String {
    object_key(prefix, export, fence, &file_name("operationoutcome", FileNumber { number, part: 1 }))
}

/// The object key of a file of deletions: `{prefix}/{export}/[r{fence}/]bundle_{n}.ndjson`.
#[must_use]
pub fn deleted_key(prefix: &str, export: &ExportId, fence: i64, number: u32) -> String {
    object_key(prefix, export, fence, &file_name("bundle", FileNumber { number, part: 1 }))
}

/// The object key of the content of an attachment: `{prefix}/{export}/[r{fence}/]binary/{number}`. Not its id: ids are
/// the EHR's, may look like a path (`..` is one), and would stand in the access logs of the bucket.
#[must_use]
pub fn attachment_key(prefix: &str, export: &ExportId, fence: i64, number: u32) -> String {
    object_key(prefix, export, fence, &format!("binary/{number}"))
}

/// The prefix of everything that an export ever writes, with the closing slash.
#[must_use]
pub fn export_prefix(prefix: &str, export: &ExportId) -> String {
    format!("{prefix}/{export}/")
}

fn object_key(prefix: &str, export: &ExportId, fence: i64, name: &str) -> String {
    if fence > 1 { format!("{prefix}/{export}/r{fence}/{name}") } else { format!("{prefix}/{export}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_EACH: Limits = Limits { file_resources: 1000, per_row: 1 };

    fn names(mut numbering: Numbering, files: &[u32]) -> Vec<String> {
        files
            .iter()
            .map(|resources| {
                let name = file_name("t", numbering.current());
                numbering.close(*resources, ONE_EACH);
                name
            })
            .collect()
    }

    #[test]
    fn full_files_take_the_reserved_numbers_without_a_gap() {
        let numbering = Numbering::new(51, numbers_for(2500, 1000, 1));
        assert_eq!(names(numbering, &[1000, 1000, 500]), ["t_51.ndjson", "t_52.ndjson", "t_53.ndjson"]);
    }

    #[test]
    fn a_file_cut_by_bytes_goes_on_under_its_number() {
        let numbering = Numbering::new(1, 2);
        assert_eq!(
            names(numbering, &[400, 400, 200, 1000]),
            ["t_1.ndjson", "t_1-2.ndjson", "t_1-3.ndjson", "t_2.ndjson"]
        );
    }

    #[test]
    fn rows_that_were_not_counted_overflow_the_last_number() {
        let numbering = Numbering::new(1, 1);
        assert_eq!(names(numbering, &[1000, 1000, 3]), ["t_1.ndjson", "t_1-2.ndjson", "t_1-3.ndjson"]);
        assert_eq!(names(Numbering::new(7, 0), &[5]), ["t_7.ndjson"]);
    }

    #[test]
    fn a_file_never_gets_more_resources_than_it_may_hold() {
        let mut numbering = Numbering::new(1, 3);
        numbering.close(400, ONE_EACH);
        assert!(numbering.takes(599, ONE_EACH) && !numbering.takes(600, ONE_EACH));
        numbering.close(600, ONE_EACH);
        assert!(numbering.takes(999, ONE_EACH));
    }

    #[test]
    fn a_number_ends_when_the_resources_of_a_row_might_not_fit_any_more() {
        let nine = Limits { file_resources: 1000, per_row: 9 };
        let mut numbering = Numbering::new(1, 2);
        assert!(numbering.takes(991, nine) && !numbering.takes(992, nine));
        numbering.close(992, nine);
        assert_eq!(numbering.current(), FileNumber { number: 2, part: 1 });
        numbering.close(500, nine);
        assert_eq!(numbering.current(), FileNumber { number: 2, part: 2 });
        assert!(numbering.takes(491, nine) && !numbering.takes(492, nine));
        // More resources in a row than a file may have: each row is a file.
        assert!(Numbering::new(1, 1).takes(0, Limits { file_resources: 5, per_row: 9 }));
    }

    #[test]
    fn numbers_are_reserved_for_the_most_resources_a_row_can_give() {
        assert_eq!(numbers_for(50_000, 1000, 1), 50);
        assert_eq!(numbers_for(0, 1000, 1), 0);
        assert_eq!(numbers_for(1000, 1000, 9), 10);
    }

    #[test]
    fn a_key_names_prefix_export_and_lower_case_type() {
        let export: ExportId = "141be1b64458efcc0d7aa3b0154be48a".parse().unwrap();
        let file = FileNumber { number: 1, part: 1 };
        assert_eq!(
            output_key("ema/100491", &export, 1, ResourceType::Encounter, file),
            "ema/100491/141be1b64458efcc0d7aa3b0154be48a/encounter_1.ndjson"
        );
        assert_eq!(
            output_key("ema/100491", &export, 3, ResourceType::CarePlan, file),
            "ema/100491/141be1b64458efcc0d7aa3b0154be48a/r3/careplan_1.ndjson"
        );
        assert_eq!(
            attachment_key("ema/100491", &export, 3, 12),
            "ema/100491/141be1b64458efcc0d7aa3b0154be48a/r3/binary/12"
        );
    }
}
