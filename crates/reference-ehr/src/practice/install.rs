//! Makes the schemas of the reference EHR.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::error::PracticeError;
use crate::database::{connect, execute};

/// The schema of the EHR's tables where nothing else is said.
pub const DEFAULT_EHR_SCHEMA: &str = "ehr";

/// The schema of the source contract where nothing else is said.
pub const DEFAULT_EXPORT_SCHEMA: &str = "fhir_export";

/// Tables, history, contract; in this order.
const FILES: [&str; 3] = [
    include_str!("../../../../migrations/ehr/0001_tables.sql"),
    include_str!("../../../../migrations/ehr/0002_history.sql"),
    include_str!("../../../../migrations/ehr/0003_fhir_export.sql"),
];

/// Row-level security, for one schema that many practices share.
const SHARED: &str = include_str!("../../../../migrations/ehr/shared.sql");

/// Who owns an EHR that many practices share.
pub(crate) const SHARED_OWNER: &str = "reference_ehr_owner";

/// What to install.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// The schema of the tables.
    pub ehr_schema: String,
    /// The schema of the views that the engine reads.
    pub export_schema: String,
    /// The first practice of an EHR that many share, kept apart by row-level security; None: it is one
    /// practice's own.
    pub shared: Option<i64>,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            ehr_schema: DEFAULT_EHR_SCHEMA.to_owned(),
            export_schema: DEFAULT_EXPORT_SCHEMA.to_owned(),
            shared: None,
        }
    }
}

/// Installs the reference EHR, empty, in one transaction.
///
/// # Errors
/// When the EHR's schema exists already, a name is unusable, or the database refuses.
pub async fn install(dsn: &str, options: &InstallOptions) -> Result<(), PracticeError> {
    check_name(&options.ehr_schema)?;
    check_name(&options.export_schema)?;
    let mut connection = connect(dsn).await?;
    let mut tx = connection.begin().await?;
    let exists: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(&options.ehr_schema)
        .fetch_one(&mut *tx)
        .await?;
    if exists {
        return Err(PracticeError::Installed(options.ehr_schema.clone()));
    }
    execute(&mut tx, "SET LOCAL client_min_messages = warning".to_owned()).await?;
    for file in FILES {
        execute(&mut tx, named(file, options)).await?;
    }
    if let Some(practice) = options.shared {
        set_practice(&mut tx, practice).await?;
        execute(&mut tx, named(SHARED, options)).await?;
    }
    Ok(tx.commit().await?)
}

/// Whether the schema has the tables of a reference EHR.
///
/// # Errors
/// When the name is unusable, or the database cannot be reached.
pub async fn is_installed(dsn: &str, ehr_schema: &str) -> Result<bool, PracticeError> {
    check_name(ehr_schema)?;
    let mut connection = connect(dsn).await?;
    has_tables(&mut connection, ehr_schema).await
}

pub(super) async fn has_tables(connection: &mut PgConnection, schema: &str) -> Result<bool, PracticeError> {
    Ok(sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL")
        .bind(format!("{schema}.patient"))
        .bind(format!("{schema}.record_author"))
        .fetch_one(connection)
        .await?)
}

/// Says for this transaction whose rows it is about.
pub(super) async fn set_practice(connection: &mut PgConnection, practice: i64) -> Result<(), PracticeError> {
    sqlx::query("SELECT set_config('app.practice', $1, true)")
        .bind(practice.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The names stand unquoted in the files, also within literals.
pub(super) fn check_name(name: &str) -> Result<(), PracticeError> {
    let is_plain = !name.is_empty()
        && name.len() <= 63
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if is_plain { Ok(()) } else { Err(PracticeError::Name(name.to_owned())) }
}

/// The file with the words `ehr` and `fhir_export` replaced by the names that were asked for.
fn named(sql: &str, options: &InstallOptions) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(start) = rest.find(is_word) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !is_word(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(match word {
            DEFAULT_EHR_SCHEMA => &options.ehr_schema,
            DEFAULT_EXPORT_SCHEMA => &options.export_schema,
            other => other,
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_words_are_replaced() {
        let options = InstallOptions {
            ehr_schema: "alpha".to_owned(),
            export_schema: "alpha_out".to_owned(),
            shared: None,
        };
        let sql =
            "CREATE VIEW fhir_export.x AS SELECT 'ehr'::regnamespace, my_ehr FROM ehr.x -- EHR, ehrlich";
        let expected =
            "CREATE VIEW alpha_out.x AS SELECT 'alpha'::regnamespace, my_ehr FROM alpha.x -- EHR, ehrlich";
        assert_eq!(named(sql, &options), expected);
        assert_eq!(named(sql, &InstallOptions::default()), sql);
    }

    #[test]
    fn a_name_that_needs_quotes_is_refused() {
        for name in ["", "Ehr", "9a", "a-b", "a b", "a\"", &"x".repeat(64)] {
            assert!(matches!(check_name(name), Err(PracticeError::Name(_))), "{name}");
        }
        assert!(check_name("practice_100491").is_ok());
    }
}
