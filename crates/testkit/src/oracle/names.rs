//! The rule of file names, checked from outside.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// An output file, as a client has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedFile {
    /// The type as the name has it, in lower case.
    pub stem: String,
    /// Its number, from 1.
    pub number: u32,
    /// Its part, 1 for the plain name.
    pub part: u32,
    /// Its type as the lines have it; empty for an empty file.
    pub resource_type: String,
    /// How many lines it has.
    pub lines: u64,
    /// Length in bytes, with line feeds.
    pub bytes: u64,
    /// Length of its first line in bytes, with the line feed.
    pub first_line_bytes: u64,
}

/// The most a file may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Lines.
    pub resources: u64,
    /// Bytes; one longer line is a file of its own.
    pub bytes: u64,
}

impl Default for Limits {
    /// 1000 lines, as the modelled product promises, and 32 MiB.
    fn default() -> Self {
        Self { resources: 1000, bytes: 32 << 20 }
    }
}

impl ExportedFile {
    /// Reads `{type}_{n}.ndjson` or `{type}_{n}-{p}.ndjson`.
    pub(super) fn named(name: &str) -> Result<Self> {
        let parsed = || {
            let (stem, rest) = name.strip_suffix(".ndjson")?.rsplit_once('_')?;
            let (number, part) = match rest.split_once('-') {
                Some((number, part)) => (decimal(number)?, decimal(part).filter(|part| *part >= 2)?),
                None => (decimal(rest)?, 1),
            };
            let good = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_lowercase());
            good.then(|| (stem.to_owned(), number, part))
        };
        let (stem, number, part) =
            parsed().with_context(|| format!("{name} is not named {{type}}_{{n}}.ndjson"))?;
        let resource_type = String::new();
        Ok(Self { stem, number, part, resource_type, lines: 0, bytes: 0, first_line_bytes: 0 })
    }

    pub(super) fn add(&mut self, resource_type: &str, bytes: u64) {
        if self.lines == 0 {
            self.first_line_bytes = bytes;
            resource_type.clone_into(&mut self.resource_type);
        }
        self.lines += 1;
        self.bytes += bytes;
    }

    fn name(&self) -> String {
        match self.part {
            1 => format!("{}_{}.ndjson", self.stem, self.number),
            part => format!("{}_{}-{part}.ndjson", self.stem, self.number),
        }
    }
}

/// A number from 1 up without leading zeros.
fn decimal(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == text)
}

/// What is wrong with the files of an export of whole relations, each row of which gives one resource; empty
/// when nothing is.
#[must_use]
pub fn check_names(files: &[ExportedFile], limits: Limits) -> Vec<String> {
    let mut types: BTreeMap<&str, BTreeMap<(u32, u32), &ExportedFile>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in files {
        if file.lines == 0 {
            wrong.push(format!("{} is empty", file.name()));
        }
        if file.lines > limits.resources {
            wrong.push(format!("{} has {} lines", file.name(), file.lines));
        }
        if file.bytes > limits.bytes && file.lines > 1 {
            wrong.push(format!("{} has {} bytes", file.name(), file.bytes));
        }
        types.entry(&file.stem).or_default().insert((file.number, file.part), file);
    }
    for (stem, files) in types {
        wrong.extend(check_type(stem, &files, limits));
    }
    wrong
}

fn check_type(stem: &str, files: &BTreeMap<(u32, u32), &ExportedFile>, limits: Limits) -> Vec<String> {
    let mut wrong = Vec::new();
    let rows: u64 = files.values().map(|file| file.lines).sum();
    let numbers = rows.div_ceil(limits.resources);
    for number in 1..=numbers {
        if u32::try_from(number).is_ok_and(|number| !files.contains_key(&(number, 1))) {
            wrong
                .push(format!("{stem}_{number}.ndjson is missing ({rows} resources need {numbers} numbers)"));
        }
    }
    for ((number, part), file) in files {
        if u64::from(*number) > numbers {
            wrong.push(format!("{} is one too many ({rows} resources need {numbers} numbers)", file.name()));
        }
        if *part == 1 {
            let of_number =
                files.range((*number, 1)..(*number + 1, 0)).map(|(_, file)| file.lines).sum::<u64>();
            if of_number > limits.resources {
                wrong.push(format!("{} and its parts have {of_number} lines", file.name()));
            }
        } else {
            match files.get(&(*number, part - 1)) {
                None => wrong.push(format!("{} has no part before it", file.name())),
                Some(before) if before.bytes + file.first_line_bytes <= limits.bytes => wrong.push(format!(
                    "{} begins although {} had room: {} bytes and a line of {}",
                    file.name(),
                    before.name(),
                    before.bytes,
                    file.first_line_bytes
                )),
                Some(_) => {}
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, lines: u64, line_bytes: u64) -> ExportedFile {
        let mut file = ExportedFile::named(name).unwrap();
        for _ in 0..lines {
            file.add("T", line_bytes);
        }
        file
    }

    fn problems(files: &[ExportedFile]) -> usize {
        check_names(files, Limits { resources: 10, bytes: 100 }).len()
    }

    #[test]
    fn numbers_without_a_gap_are_right() {
        assert_eq!(problems(&[file("t_1.ndjson", 10, 1), file("t_2.ndjson", 3, 1)]), 0);
        assert_eq!(problems(&[file("t_2.ndjson", 3, 1), file("t_3.ndjson", 10, 1)]), 2);
        assert_eq!(problems(&[file("t_1.ndjson", 5, 1), file("t_2.ndjson", 5, 1)]), 1);
    }

    #[test]
    fn a_file_with_too_many_lines_is_wrong() {
        assert!(problems(&[file("t_1.ndjson", 11, 1)]) > 0);
    }

    #[test]
    fn a_part_is_right_only_where_the_one_before_was_full() {
        assert_eq!(problems(&[file("t_1.ndjson", 4, 22), file("t_1-2.ndjson", 4, 22)]), 0);
        assert_eq!(problems(&[file("t_1.ndjson", 4, 10), file("t_1-2.ndjson", 4, 10)]), 1);
        assert_eq!(problems(&[file("t_1.ndjson", 4, 22), file("t_1-3.ndjson", 4, 22)]), 1);
        assert_eq!(problems(&[file("t_1.ndjson", 1, 200), file("t_1-2.ndjson", 1, 10)]), 0);
    }

    #[test]
    fn a_name_of_another_form_is_refused() {
        for name in
            ["t.ndjson", "T_1.ndjson", "t_0.ndjson", "t_01.ndjson", "t_1-1.ndjson", "t_1.json", "_1.ndjson"]
        {
            assert!(ExportedFile::named(name).is_err(), "{name}");
        }
    }
}
