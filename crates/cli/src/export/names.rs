//! Names of the files on disk.
//!
//! The name is the last segment of the link, if that is a plain `….ndjson` and no other file has it. Servers whose
//! links end in an id or a token get `{type}_{n}.ndjson`. A name never leaves the folder: nothing in it comes from
//! the server but letters, digits, `.`, `_` and `-`.

use std::collections::{HashMap, HashSet};

use url::Url;

use super::manifest::{FileEntry, Section};

const SUFFIX: &str = ".ndjson";
/// Well below the limit of file systems, with room for `.part`.
const LONGEST: usize = 128;

/// Gives names, each once, also where case does not count.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    /// A name that is in use already.
    pub(super) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_lowercase());
    }

    /// A name for each file.
    pub(super) fn assign(&mut self, files: &[&FileEntry]) -> Vec<String> {
        // First all names that the server gives, so that a made-up one never takes a later file's own name.
        let given: Vec<Option<String>> = files
            .iter()
            .map(|file| name_in_link(&file.url).filter(|name| self.taken.insert(name.to_lowercase())))
            .collect();
        files.iter().zip(given).map(|(file, name)| name.unwrap_or_else(|| self.made_up(file))).collect()
    }

    fn made_up(&mut self, file: &FileEntry) -> String {
        let stem = stem(file);
        let number = self.numbers.entry(stem.clone()).or_default();
        loop {
            *number += 1;
            let name = format!("{stem}_{number}{SUFFIX}");
            if self.taken.insert(name.to_lowercase()) {
                return name;
            }
        }
    }
}

fn name_in_link(url: &Url) -> Option<String> {
    let name = sanitised(url.path_segments()?.next_back()?);
    let stem = name.get(..name.len().checked_sub(SUFFIX.len())?)?;
    (name.to_ascii_lowercase().ends_with(SUFFIX) && !stem.is_empty() && name.len() <= LONGEST).then_some(name)
}

fn stem(file: &FileEntry) -> String {
    let stem = sanitised(file.resource_type.as_deref().unwrap_or_default());
    match file.section {
        _ if !stem.is_empty() && stem.len() <= LONGEST => stem,
        Section::Output => "resources".to_owned(),
        Section::Error => "OperationOutcome".to_owned(),
        Section::Deleted => "deleted".to_owned(),
    }
}

/// Harmless characters only, and no leading dot.
fn sanitised(text: &str) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    text.chars().map(harmless).collect::<String>().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)]) -> Vec<String> {
        let entry = |(resource_type, url): &(&str, &str)| FileEntry {
            section: Section::Output,
            resource_type: (!resource_type.is_empty()).then(|| (*resource_type).to_owned()),
            url: format!("https://files.example/{url}").parse().unwrap(),
            count: None,
            bytes: None,
            sha256: None,
            extension: None,
        };
        let entries: Vec<FileEntry> = files.iter().map(entry).collect();
        Names::default().assign(&entries.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_last_segment_of_the_link_is_the_name() {
        assert_eq!(
            names(&[
                ("Patient", "ema/1/ab/patient_1.ndjson?sig=x"),
                ("Patient", "ema/1/ab/r2/patient_2-2.ndjson")
            ]),
            ["patient_1.ndjson", "patient_2-2.ndjson"]
        );
    }

    #[test]
    fn links_without_a_file_name_are_numbered_by_type() {
        assert_eq!(
            names(&[
                ("Patient", "Binary/77"),
                ("Patient", "Binary/78?x.ndjson"),
                ("Device", ""),
                ("", "Binary/80")
            ]),
            ["Patient_1.ndjson", "Patient_2.ndjson", "Device_1.ndjson", "resources_1.ndjson"]
        );
    }

    #[test]
    fn names_are_unique_and_given_names_come_first() {
        assert_eq!(
            names(&[
                ("patient", "x/1"),
                ("Patient", "a/patient_1.ndjson"),
                ("Patient", "b/Patient_1.ndjson")
            ]),
            ["patient_2.ndjson", "patient_1.ndjson", "Patient_3.ndjson"]
        );
    }

    #[test]
    fn a_reserved_name_is_not_given_again() {
        let entry = |url: &str| FileEntry {
            section: Section::Output,
            resource_type: Some("Patient".to_owned()),
            url: url.parse().unwrap(),
            count: None,
            bytes: None,
            sha256: None,
            extension: None,
        };
        let mut names = Names::default();
        names.reserve("Patient_1.ndjson");
        let (same, made_up) = (entry("https://h.example/patient_1.ndjson"), entry("https://h.example/x"));
        assert_eq!(names.assign(&[&same, &made_up]), ["Patient_2.ndjson", "Patient_3.ndjson"]);
        assert_eq!(names.assign(&[&made_up]), ["Patient_4.ndjson"]);
    }

    #[test]
    fn nothing_leaves_the_folder_or_hides_in_it() {
        let long = format!("{}.ndjson", "a".repeat(300));
        for link in ["..%2F..%2Fevil.ndjson", ".hidden.ndjson", "a%00b.ndjson", ".ndjson", "%2e%2e", &long] {
            for name in names(&[("../Patient", link)]) {
                assert!(name.ends_with(".ndjson") && name.len() <= LONGEST + 20, "{link} -> {name}");
                assert!(!name.starts_with('.') && !name.contains(['/', '%', '\0']), "{link} -> {name}");
            }
        }
    }
}
