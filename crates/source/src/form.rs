//! The SQL form of a relation's resources: what its templates make, made by the database. It is slow, and
//! serves to count, to check and to compare.

use crate::{Content, Relation, SourceError, identifier};

impl Relation {
    /// A query for all resources of the relation: columns `id`, `patient_id` and `last_updated` of their row,
    /// and `resource`, of the type of the column where resources are finished, else `jsonb`.
    ///
    /// # Errors
    /// [`SourceError::Identifier`] and [`SourceError::Mapping`] for a catalogue that was not made by
    /// [`Source::catalog`](crate::Source::catalog).
    pub fn resources_sql(&self, schema: &str) -> Result<String, SourceError> {
        let schema = identifier::quote(schema, "schema")?;
        let name = identifier::quote(&self.name, "relation")?;
        let select = |resource: &str, condition: &str| {
            format!(
                "SELECT r.id, r.patient_id, r.last_updated, {resource} AS resource FROM {schema}.{name} r{condition}"
            )
        };
        let Content::Mapped { mapping, columns } = &self.content else {
            return Ok(select("r.resource", ""));
        };
        let templates = mapping.templates().map_err(|problems| self.mapping_error(&problems))?;
        let each = templates.iter().map(|template| {
            let condition = template.sql_condition(columns);
            let condition = condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
            select(&template.sql(columns), &condition)
        });
        Ok(each.collect::<Vec<_>>().join(" UNION ALL "))
    }
}
