//! `make bench CASE=template`: how many resources a second one core makes of rows that are in memory already,
//! with templates of the reference EHR.
#![expect(clippy::print_stdout, reason = "the table is the output of the program")]

use std::hint::black_box;
use std::time::Instant;

use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;
use headgate_domain::template::{Cell, Column, ColumnType, Decimal, Program};

const OBSERVATION: &str = include_str!("../../../config/mappings/reference-ehr/Observation.json");
const CONDITION: &str = include_str!("../../../config/mappings/reference-ehr/Condition.json");
const ENCOUNTER: &str = include_str!("../../../config/mappings/reference-ehr/Encounter.json");

/// Rows in memory, and how often they are gone through in a round.
const ROWS: usize = 1000;
const PASSES: usize = 300;
const ROUNDS: usize = 5;

/// What is measured: a label, the type's file, and the relation and suffix of the template.
const CASES: &[(&str, ResourceType, &str, &str, &str)] = &[
    ("Observation: heart rate", ResourceType::Observation, OBSERVATION, "observation_vitals", "-hr"),
    ("Observation: blood pressure", ResourceType::Observation, OBSERVATION, "observation_vitals", "-bp"),
    ("Observation: laboratory", ResourceType::Observation, OBSERVATION, "observation_lab", ""),
    ("Condition", ResourceType::Condition, CONDITION, "condition", ""),
    ("Encounter", ResourceType::Encounter, ENCOUNTER, "encounter", ""),
];

fn main() {
    println!("{:<30} {:>12} {:>14} {:>10}", "template", "bytes each", "resources/s", "MB/s");
    for (label, resource_type, file, relation, suffix) in CASES {
        let (program, columns) = program(*resource_type, file, relation, suffix);
        let rows: Vec<Vec<Value>> = (0..ROWS).map(|n| row(&columns, n)).collect();
        let mut out = Vec::with_capacity(ROWS * 8192);
        let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| round(&program, &rows, &mut out)).collect();
        seconds.sort_by(f64::total_cmp);
        let resources = (ROWS * PASSES) as f64;
        let bytes = out.len() as f64 / ROWS as f64;
        let rate = resources / seconds[ROUNDS / 2];
        println!("{label:<30} {bytes:>12.0} {rate:>14.0} {:>10.0}", rate * bytes / 1e6);
    }
}

/// Goes through the rows, file by file as the worker does; returns the seconds.
fn round(program: &Program, rows: &[Vec<Value>], out: &mut Vec<u8>) -> f64 {
    let started = Instant::now();
    for _ in 0..PASSES {
        out.clear();
        for row in rows {
            assert!(program.write(|column| row[column].cell(), out), "every row gives a resource");
            out.push(b'\n');
        }
        black_box(&out);
    }
    started.elapsed().as_secs_f64()
}

/// A value as the database sends it.
enum Value {
    Null,
    Text(String),
    Uuid([u8; 16]),
    Boolean(bool),
    Integer(i64),
    /// Digits and scale.
    Decimal(Vec<u8>, u16),
    Date(i32),
    Timestamptz(i64),
}

impl Value {
    fn cell(&self) -> Cell<'_> {
        match self {
            Value::Null => Cell::Null,
            Value::Text(text) => Cell::Text(text.as_bytes()),
            Value::Uuid(uuid) => Cell::Uuid(uuid),
            Value::Boolean(value) => Cell::Boolean(*value),
            Value::Integer(value) => Cell::Integer(*value),
            Value::Decimal(digits, scale) => {
                Cell::Decimal(Decimal { negative: false, weight: 0, scale: *scale, digits })
            }
            Value::Date(days) => Cell::Date(*days),
            Value::Timestamptz(micros) => Cell::Timestamptz(*micros),
        }
    }
}

/// The template's program, with the columns that it uses in the types that their names say.
fn program(resource_type: ResourceType, text: &str, relation: &str, suffix: &str) -> (Program, Vec<Column>) {
    let name = format!("{resource_type}.json");
    let set = MappingSet::parse([(name.as_str(), text)], UsCore::V6_1_0).expect("the mapping is right");
    let streams = set.streams(resource_type).expect("the file is there");
    let stream = streams.iter().find(|stream| stream.relation == relation).expect("the relation is there");
    let templates = stream.templates().expect("the templates are right");
    let template = templates.iter().find(|template| template.suffix() == suffix).expect("it is there");
    let column = |name: String| Column { column_type: column_type(&name), name };
    let columns: Vec<Column> = template.columns().into_iter().map(column).collect();
    let program = template.program(&columns).unwrap_or_else(|problems| panic!("{problems:?}"));
    (program, columns)
}

fn column_type(name: &str) -> ColumnType {
    match name {
        "last_updated" | "taken_at" | "observed_at" | "issued_at" | "recorded_at" | "starts_at"
        | "ends_at" => ColumnType::Timestamptz,
        "onset" | "abated" | "asserted" => ColumnType::Date,
        "entered_in_error" => ColumnType::Boolean,
        "systolic" | "diastolic" | "heart_rate" | "value_num" | "ref_low" | "ref_high" => ColumnType::Numeric,
        "id" | "patient_id" => ColumnType::Text,
        name if name.ends_with("_id") => ColumnType::Uuid,
        _ => ColumnType::Text,
    }
}

fn row(columns: &[Column], n: usize) -> Vec<Value> {
    columns.iter().map(|column| value(column, n)).collect()
}

fn value(column: &Column, n: usize) -> Value {
    let uuid = (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
    match column.column_type {
        ColumnType::Text if matches!(column.name.as_str(), "id" | "patient_id") => {
            Value::Text("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".to_owned())
        }
        ColumnType::Text if n.is_multiple_of(8) => Value::Null,
        ColumnType::Text => Value::Text(format!("Text {n} of a row")),
        ColumnType::Uuid => Value::Uuid(uuid),
        ColumnType::Boolean => Value::Boolean(false),
        ColumnType::Numeric => Value::Decimal(vec![0, 72, 0x13, 0x88], 1),
        ColumnType::Date => Value::Date(9000 + i32::try_from(n).unwrap_or_default()),
        ColumnType::Timestamptz => Value::Timestamptz(800_000_000_000_000 + n as i64 * 1_000_003),
        _ => Value::Integer(n as i64),
    }
}
