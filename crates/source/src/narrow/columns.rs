//! Plain columns: a row is wanted if a template gives a resource of it, as far as its condition says, and the
//! columns are such that this resource can be wanted.

use headgate_domain::search::{Side, TypeFilter};
use headgate_domain::template::{Column, ColumnTest, ColumnType, Narrow, Template};

use crate::{SourceError, identifier};

use super::has_id;
use super::wanted::{Value, Wanted};

pub(super) fn wanted(
    templates: &[Template],
    columns: &[Column],
    filters: &[&TypeFilter],
) -> Result<Wanted, SourceError> {
    let narrow =
        |template: &Template| Narrow::any(filters.iter().map(|filter| template.narrow(filter, columns)));
    let narrowed: Vec<Narrow> = templates.iter().map(narrow).collect();
    if narrowed.iter().all(|narrow| *narrow == Narrow::Always) {
        return Ok(Wanted::Always);
    }
    let mut any = Vec::new();
    for (template, narrow) in templates.iter().zip(narrowed) {
        if narrow == Narrow::Never {
            continue;
        }
        let condition = template.sql_condition(columns);
        let condition = condition.map_or(Wanted::Always, |sql| Wanted::sql(format!("({sql})")));
        let of = Of { template, columns };
        any.push(Wanted::all([condition, of.sql(&narrow)?]));
    }
    Ok(Wanted::any(any))
}

/// Whose columns.
struct Of<'a> {
    template: &'a Template,
    columns: &'a [Column],
}

impl Of<'_> {
    fn sql(&self, narrow: &Narrow) -> Result<Wanted, SourceError> {
        let each = |parts: &[Narrow]| parts.iter().map(|part| self.sql(part)).collect::<Result<Vec<_>, _>>();
        match narrow {
            Narrow::Always => Ok(Wanted::Always),
            Narrow::Never => Ok(Wanted::Never),
            Narrow::All(parts) => each(parts).map(Wanted::all),
            Narrow::Any(parts) => each(parts).map(Wanted::any),
            Narrow::Column { name, column_type, test } => self.test(name, *column_type, test),
        }
    }

    fn test(&self, name: &str, column_type: ColumnType, test: &ColumnTest) -> Result<Wanted, SourceError> {
        let raw = format!("r.{}", identifier::quote(name, "column")?);
        // What counts as null is null, and texts are as they are written.
        let value = format!("({})", self.template.column_sql(name, self.columns));
        // Compared byte by byte, as the program does.
        let text = match column_type {
            ColumnType::Text => format!("{value} COLLATE \"C\""),
            _ => format!("{raw}::text"),
        };
        Ok(match test {
            ColumnTest::In(values) if values.iter().any(|value| !value.is_ascii()) => Wanted::Always,
            // A row with an id that FHIR does not allow gives no resource, so it need not be made fit.
            ColumnTest::In(ids) if name == "id" => has_id(ids.clone()),
            ColumnTest::In(values) if column_type == ColumnType::Uuid => {
                Wanted::test(format!("{raw} = ANY ("), Value::Texts(values.clone()), "::uuid[])")
            }
            ColumnTest::In(values) => {
                Wanted::test(format!("{text} = ANY ("), Value::Texts(values.clone()), ")")
            }
            ColumnTest::NotIn(values) => {
                let values = values.iter().filter(|value| value.is_ascii()).cloned();
                Wanted::test(format!("{text} <> ALL ("), Value::Texts(values.collect()), ")")
            }
            ColumnTest::Contains(part) if !part.is_ascii() => Wanted::Always,
            ColumnTest::Contains(part) => {
                Wanted::test(format!("strpos({text}, "), Value::Text(part.clone()), ") > 0")
            }
            ColumnTest::Time { side, or_null } => {
                let (sign, time) = match side {
                    Side::From(time) => (">=", *time),
                    Side::UpTo(time) => ("<=", *time),
                };
                let time = match column_type {
                    ColumnType::Date => Value::Day(time.date_naive()),
                    _ => Value::Time(time),
                };
                let test = Wanted::test(format!("{value} {sign} "), time, "");
                let null = if *or_null { Wanted::sql(format!("{value} IS NULL")) } else { Wanted::Never };
                Wanted::any([test, null])
            }
        })
    }
}
