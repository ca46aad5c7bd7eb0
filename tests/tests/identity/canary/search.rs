//! Looks for planted words in everything that stays.

use std::fmt;

use anyhow::{Result, ensure};
use headgate_testkit::TestApp;
use headgate_testkit::sqlx::{self, AssertSqlSafe};

use super::plant::{Planted, Word};

/// A planted word that was found.
pub struct Found {
    pub what: &'static str,
    pub secret: bool,
    pub echoed: bool,
    /// `logs`, `objects`, or schema, table and column.
    pub place: String,
    /// Where it is found in a log, the line.
    pub text: String,
}

impl Found {
    fn new(word: &Word, place: String, text: String) -> Self {
        Self { what: word.what, secret: word.secret, echoed: word.echoed, place, text }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.what, self.place, self.text)
    }
}

/// All planted words in logs, object keys and columns.
pub async fn everywhere(app: &TestApp, planted: &Planted) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let logs = app.logs();
    ensure!(
        logs.contains("export completed") && logs.contains("export failed"),
        "the logs say nothing at all"
    );
    let keys = app.s3_keys("")?.join("\n");
    for word in &planted.words {
        for (place, text) in [("logs", &logs), ("objects", &keys)] {
            let Some(line) = text.lines().find(|line| line.contains(&word.text)) else { continue };
            found.push(Found::new(word, place.to_owned(), line.to_owned()));
        }
    }
    found.extend(in_tables(app, planted).await?);
    Ok(found)
}

async fn in_tables(app: &TestApp, planted: &Planted) -> Result<Vec<Found>> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, a.attname::text
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE n.nspname IN ('headgate', 'apalis') AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
            AND a.atttypid::regtype::text ~ '^(text|character|json|bytea|name)'",
    )
    .fetch_all(app.control())
    .await?;
    ensure!(columns.iter().any(|(schema, table, _)| schema == "apalis" && table == "jobs"), "{columns:?}");
    let (texts, hex): (Vec<&str>, Vec<String>) =
        planted.words.iter().map(|word| (word.text.as_str(), hex(&word.text))).unzip();
    let mut found = Vec::new();
    for (schema, table, column) in &columns {
        // Of bytes, the text form is hexadecimal.
        let select = format!(
            "SELECT DISTINCT n FROM {schema}.\"{table}\" t,
                    unnest($1::text[], $2::text[]) WITH ORDINALITY AS word (text, hex, n)
              WHERE strpos(t.\"{column}\"::text, word.text) > 0 OR strpos(t.\"{column}\"::text, word.hex) > 0"
        );
        let hits: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(select))
            .bind(&texts)
            .bind(&hex)
            .fetch_all(app.control())
            .await?;
        for hit in hits {
            let word = &planted.words[usize::try_from(hit - 1)?];
            let place = format!("{schema}.{table}.{column}");
            found.push(Found::new(word, place, String::new()));
        }
    }
    Ok(found)
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
