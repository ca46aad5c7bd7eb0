//! Values that no code table knows, for those who write the tables.

use super::cell::Cell;
use super::placeholder::Form;
use super::program::{Operation, Program};

impl Program {
    /// The code tables that leave out values for which they have no entry.
    pub fn tables_that_miss(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().filter(|table| table.other.is_none()).map(|table| table.name.as_str())
    }

    /// Names each code table that leaves out a value of this row because it has no entry for it. Parts whose
    /// condition is not true look nothing up.
    pub fn misses<'c>(&self, cell: impl Fn(usize) -> Cell<'c>, mut found: impl FnMut(&str)) {
        if self.when.is_some_and(|when| !self.holds(when, &cell)) {
            return;
        }
        let mut at = 0;
        while let Some(operation) = self.operations.get(at) {
            at += 1;
            match *operation {
                Operation::Open { when: Some(when), end, .. } if !self.holds(when as usize, &cell) => {
                    at = end as usize;
                }
                Operation::Value { value, .. } if value.form == Form::Code => {
                    let table = &self.tables[value.table as usize];
                    if table.other.is_none() && table.place(cell(value.column as usize)) == Some(None) {
                        found(&table.name);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResourceType;
    use crate::mapping::MappingSet;
    use crate::practice::UsCore;
    use crate::template::{Column, ColumnType};

    #[test]
    fn a_value_that_a_table_leaves_out_is_a_miss_where_it_is_looked_up() {
        let file = r#"{
            "resourceType": "Patient",
            "codes": {
                "gender": { "F": "female", "N": null, "*": null },
                "use": { "h": "home", "*": "old" }
            },
            "streams": [{ "relation": "patient", "resources": [{
                "resourceType": "Patient", "id": "{{id}}",
                "meta": { "lastUpdated": "{{last_updated | instant}}" },
                "gender": "{{sex | code: gender}}",
                "name": [{ "$when": "named = true", "use": "{{sex | code: use}}", "text": "{{sex | code: gender}} x" }]
            }] }]
        }"#;
        let set = MappingSet::parse([("Patient.json", file)], UsCore::default()).unwrap();
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        let columns = [
            column("id", ColumnType::Text),
            column("last_updated", ColumnType::Timestamptz),
            column("sex", ColumnType::Text),
            column("named", ColumnType::Boolean),
        ];
        let programs = set.streams(ResourceType::Patient).unwrap()[0].programs(&columns).unwrap();
        let misses = |sex: &'static str, named| {
            let cells = [Cell::Text(b"1"), Cell::Null, Cell::Text(sex.as_bytes()), Cell::Boolean(named)];
            let mut found = Vec::new();
            programs[0].misses(|column| cells[column], |table| found.push(table.to_owned()));
            found
        };
        assert!(programs[0].tables_that_miss().eq(["gender"]));
        assert_eq!(misses("?", false), ["gender"]);
        assert_eq!(misses("?", true), ["gender", "gender"]);
        for known in [" F ", "N", ""] {
            assert!(misses(known, true).is_empty(), "{known}");
        }
    }
}
