//! A practice's EHR database, read-only, through the source contract.
//!
//! The contract is one schema (by default `fhir_export`) with one relation per resource type, or several by
//! a mapping set, whose rows hold finished resources or plain columns for row templates:
//!
//! ```sql
//! <schema>.<type in snake_case> (id text, patient_id text, last_updated timestamptz,
//!                                resource text | json | jsonb [, page_key <a type with a btree order>])
//! <schema>.<name in a mapping>  (id text, patient_id text, last_updated timestamptz, … [, page_key …])
//! <schema>.tombstone    (resource_type text, id text, patient_id text, deleted_at timestamptz)
//! <schema>.group_member (group_id text, patient_id text, member_since timestamptz, member_until timestamptz
//!                        [, member_group_id text] [, inactive boolean])
//! <schema>.binary       (id text, patient_id text, last_updated timestamptz, content_type text, content bytea)
//! <schema>.horizon()    returns timestamptz
//! ```
//!
//! Headgate knows nothing else of the EHR. What stands where:
//!
//! - [`Source::catalog`] finds which relations there are and of what types.
//! - [`Source::horizon`] chooses the `transactionTime` of an export, and fails rather than guesses.
//! - [`Source::boundary`] and [`Source::count_by_patient`] cut a relation into shards.
//! - [`Source::begin`] and [`ReadTransaction::page`] read one page of a shard.
//! - [`Source::deleted`] tells what has left its relation.
//! - [`Source::groups`] and [`Source::group_members`] read the groups that the EHR itself keeps.
//! - [`Source::attachments`] and [`Source::attachment_content`] read what documents lead to by URL.
//! - [`Source::check`] says whether a practice's schema keeps the contract.
//!
//! # Why nothing is lost and nothing is doubled
//!
//! Every writer of the EHR stamps `last_updated` with the database's clock inside its transaction. The
//! horizon T lies strictly before the start of the oldest transaction that was open when it was taken, so a
//! row stamped at or before T was committed, and is visible to every later snapshot. Pages are read by keyset
//! on `(page_key, id)`, which never changes while a row lives, and with no upper bound on `last_updated`: a
//! row that changes while the export runs comes out once, in one of its versions, and its stamp is later
//! than T, so the next export with `_since` = T delivers it again. With an upper bound it would be dropped.
//! A cohort is read patient by patient: there a row that is filed under another patient of the cohort
//! meanwhile may come out twice or not at all, and that next export has it.
//!
//! Each page is a short transaction of its own, so the export never holds back the clinical database's
//! vacuum, and can go on from any row after a crash. The price is that later pages must come from a server
//! that has seen what the horizon saw: a [`Marker`] (role and log position) travels with the plan, and a
//! connection that does not reach it is refused with [`SourceError::Behind`].
//!
//! # Safety
//!
//! Transactions are read-only, with timeouts of their own, on the practice's own pool. Identifiers in SQL
//! text are checked against a strict grammar and quoted; everything else is a bound value. Errors carry the
//! SQLSTATE and the relation's name, never the server's message, which may quote a row. Debug output of keys,
//! cursors and members shows no ids.

mod attachments;
mod catalog;
mod check;
mod config;
mod deleted;
mod error;
mod form;
mod groups;
mod horizon;
mod identifier;
mod key;
mod narrow;
mod patients;
mod plan;
mod read;
mod row_ids;
mod source;
mod statement;
#[cfg(test)]
mod test_database;
mod transaction;

pub use attachments::{Attachment, AttachmentContent};
pub use catalog::{BodyKind, Catalog, Content, GroupColumns, PageKeyType, Relation, Unusable};
pub use check::{Check, CheckOptions, CheckReport, Estimate, SampleResource, Verdict};
pub use config::SourceConfig;
pub use deleted::{Deleted, DeletedAsk, DeletedMember, TombstonesOf};
pub use error::{ContractProblem, HorizonProblem, SourceError};
pub use groups::{SourceGroup, SourceMember};
pub use horizon::Horizon;
pub use key::{Cursor, Key, Marker};
pub use plan::Boundary;
pub use read::{Body, Columns, Member, Page, PageEnd, PageItem, Read, Row, Scope};
pub use source::Source;
pub use transaction::ReadTransaction;
