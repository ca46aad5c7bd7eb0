//! The contents of attachments: `binary`.
//!
//! A content can be long, so what there is of many ids is asked first, without fetching any: whose they are, and how
//! long. Then each is fetched by itself, and only one of acceptable length leaves the server.

use std::fmt;

use crate::catalog::{INSTANT, TEXT, get};
use crate::statement::Statement;
use crate::{ContractProblem, Marker, Source, SourceError, identifier, row_ids};

/// The relation of attachments.
pub(crate) const BINARY: &str = "binary";

/// What it must have.
pub(crate) const COLUMNS: &[(&str, &[&str])] = &[
    ("id", TEXT),
    ("patient_id", TEXT),
    ("last_updated", INSTANT),
    ("content_type", TEXT),
    ("content", &["bytea"]),
];

/// An attachment, as far as it is known before it is fetched.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its id.
    pub id: String,
    /// The id of the Patient whom it is about; none: of nobody.
    pub patient_id: Option<String>,
    /// Length of its content in bytes; none where there is no content.
    pub bytes: Option<u64>,
}

/// What is fetched of an attachment.
#[derive(Clone, PartialEq, Eq)]
pub struct AttachmentContent {
    /// The MIME type, as the row says.
    pub content_type: Option<String>,
    /// The content; none where it is null, or has grown longer than is fetched.
    pub content: Option<Vec<u8>>,
}

/// Names nobody.
impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Shows nothing of the content.
impl fmt::Debug for AttachmentContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.content.as_ref().map(Vec::len);
        f.debug_struct("AttachmentContent").field("bytes", &bytes).finish_non_exhaustive()
    }
}

impl Source {
    /// Which of these attachments there are, in no particular order.
    ///
    /// # Errors
    /// [`SourceError::Contract`] when two rows have the same id; else as for any transaction.
    pub async fn attachments(&self, marker: &Marker, ids: &[String]) -> Result<Vec<Attachment>, SourceError> {
        let ids: Vec<&String> = ids.iter().filter(|id| row_ids::can_be_text(id)).collect();
        let mut statement = Statement::new(format!(
            "SELECT r.id::text AS id, r.patient_id::text AS patient_id,
                    pg_catalog.octet_length(r.content)::bigint AS bytes
             FROM {} WHERE r.id = ANY (",
            self.binary()?
        ));
        let bound = statement.bind(ids);
        // By the column's own collation, as its index has it.
        statement.push(&format!("{bound}::text[]) ORDER BY r.id::text COLLATE \"C\""));
        let mut tx = self.begin(marker).await?;
        let mut found: Vec<Attachment> = Vec::new();
        for row in tx.fetch_all(statement, Some(BINARY)).await? {
            let id: String = get(&row, "id")?;
            if found.last().is_some_and(|last| last.id == id) {
                return Err(SourceError::contract(BINARY, ContractProblem::DuplicateKey));
            }
            let bytes: Option<i64> = get(&row, "bytes")?;
            let bytes = bytes.map(i64::unsigned_abs);
            found.push(Attachment { id, patient_id: get(&row, "patient_id")?, bytes });
        }
        tx.finish().await?;
        Ok(found)
    }

    /// Fetches one of them, if it is still there and about the same patient.
    ///
    /// # Errors
    /// As for any transaction.
    pub async fn attachment_content(
        &self,
        marker: &Marker,
        attachment: &Attachment,
    ) -> Result<Option<AttachmentContent>, SourceError> {
        let mut statement = Statement::default();
        let longest = statement.bind(self.resource_bytes());
        let id = statement.bind(attachment.id.as_str());
        let patient = statement.bind(attachment.patient_id.as_deref());
        statement.push(&format!(
            "SELECT r.content_type::text AS content_type,
                    CASE WHEN pg_catalog.octet_length(r.content) <= {longest} THEN r.content END AS content
             FROM {} WHERE r.id = {id}::text AND r.patient_id IS NOT DISTINCT FROM {patient}::text LIMIT 1",
            self.binary()?
        ));
        let mut tx = self.begin(marker).await?;
        let row = tx.fetch_optional(statement, Some(BINARY)).await?;
        tx.finish().await?;
        row.map(|row| {
            Ok(AttachmentContent { content_type: get(&row, "content_type")?, content: get(&row, "content")? })
        })
        .transpose()
    }

    /// `"schema"."binary" r`
    fn binary(&self) -> Result<String, SourceError> {
        let schema = identifier::quote(self.schema(), "schema")?;
        Ok(format!("{schema}.{} r", identifier::quote(BINARY, "relation")?))
    }
}

#[cfg(test)]
mod tests {
    use crate::SourceConfig;
    use crate::test_database::TestDatabase;

    use super::*;

    async fn database(name: &str) -> TestDatabase {
        let db = TestDatabase::create(name).await;
        db.execute(
            "CREATE TABLE fhir_export.binary (id varchar(64), patient_id text, last_updated timestamptz,
                                              content_type text, content bytea);
             INSERT INTO fhir_export.binary VALUES
                 ('a', 'p1', now(), 'application/pdf', '\\x255044'), ('b', NULL, now(), NULL, ''),
                 ('c', 'p2', now(), 'text/plain', NULL), ('d', 'p1', now(), 'x', repeat('x', 1000)::bytea)",
        )
        .await;
        db
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[tokio::test]
    async fn what_there_is_of_attachments_is_known_before_anything_is_fetched() {
        let db = database("attachments_known").await;
        let source = db.source();
        let catalog = source.catalog(None).await.unwrap();
        assert!(catalog.binary && catalog.unusable.is_empty() && catalog.relations.is_empty());
        let marker = source.marker().await.unwrap();
        let found = source.attachments(&marker, &ids(&["c", "a", "A", "b", "a", "x\0", ""])).await.unwrap();
        let known = |id: &str, patient: Option<&str>, bytes| Attachment {
            id: id.to_owned(),
            patient_id: patient.map(str::to_owned),
            bytes,
        };
        let expected =
            [known("a", Some("p1"), Some(3)), known("b", None, Some(0)), known("c", Some("p2"), None)];
        assert_eq!(found, expected);
        assert!(!format!("{found:?}").contains("p1"), "{found:?}");

        db.execute("INSERT INTO fhir_export.binary SELECT * FROM fhir_export.binary WHERE id = 'b'").await;
        let error = source.attachments(&marker, &ids(&["a", "b"])).await.unwrap_err();
        assert!(matches!(error, SourceError::Contract { problem: ContractProblem::DuplicateKey, .. }));
    }

    #[tokio::test]
    async fn a_content_is_fetched_if_it_is_short_enough_and_still_of_the_same_patient() {
        let db = database("attachments_fetched").await;
        let config = SourceConfig { resource_bytes: 999, ..db.config() };
        let source = Source::connect(config).unwrap();
        let marker = source.marker().await.unwrap();
        let known = source.attachments(&marker, &ids(&["a", "b", "c", "d"])).await.unwrap();
        let mut fetched = Vec::new();
        for attachment in &known {
            let content = source.attachment_content(&marker, attachment).await.unwrap().unwrap();
            fetched.push((content.content_type, content.content));
        }
        let some = |text: &str| Some(text.to_owned());
        let expected = [
            (some("application/pdf"), Some(b"%PD".to_vec())),
            (None, Some(Vec::new())),
            (some("text/plain"), None),
            (some("x"), None),
        ];
        assert_eq!(fetched, expected);

        db.execute("UPDATE fhir_export.binary SET patient_id = 'p3'").await;
        for attachment in &known {
            assert_eq!(source.attachment_content(&marker, attachment).await.unwrap(), None);
        }
    }
}
