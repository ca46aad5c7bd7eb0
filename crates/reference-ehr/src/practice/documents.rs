//! Notes and reports: plain text, PDF, and documents that are kept elsewhere.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use uuid::Uuid;

use super::chart::Chart;
use super::codes::Term;
use super::codes::disorders::CHRONIC;
use super::codes::services::{
    CONSULT_NOTE, DISCHARGE_SUMMARY, HISTORY_AND_PHYSICAL, PROCEDURE_NOTE, PROGRESS_NOTE, Study,
    VISIT_SUMMARY,
};
use super::pdf;
use super::problems::Problem;
use super::visit::{Kind, Visit};
use crate::generate::moment::{HOUR, Moment};
use crate::generate::names::NOTES;

/// IHE format code of a document that its media type describes.
const MIME_TYPE_SUFFICIENT: &str = "urn:ihe:iti:xds:2017:mimeTypeSufficient";

/// What distinguishes one document from another.
struct Document {
    kind: Term,
    mime: &'static str,
    body: Option<Vec<u8>>,
    url: Option<String>,
    size: i64,
    status: &'static str,
    doc_status: Option<&'static str>,
    replaces: Option<Uuid>,
    report: Option<Report>,
    deleted: bool,
}

/// What a document has as a report.
struct Report {
    category: &'static str,
    status: &'static str,
    order: Uuid,
    image: Option<String>,
}

impl Chart<'_> {
    /// The notes of a visit.
    pub(super) fn documents(&mut self, visit: &Visit, problems: &[Problem]) {
        let kind = match visit.kind {
            Kind::First => HISTORY_AND_PHYSICAL,
            Kind::FollowUp if self.happens(15) => CONSULT_NOTE,
            Kind::Sick if self.happens(10) => PROCEDURE_NOTE,
            Kind::Sick if self.turn("discharge summary", 20) => DISCHARGE_SUMMARY,
            _ => PROGRESS_NOTE,
        };
        if self.happens(80) {
            let text = self.note(visit, problems);
            self.note_versions(kind, text, visit);
        }
        if self.happens(8) || self.turn("visit summary", 30) {
            let text = format!("VISIT SUMMARY (for the patient)\n\n{}", self.note(visit, problems));
            let summary = Document::new(VISIT_SUMMARY, "application/pdf", pdf::from_text(&text));
            self.document(&summary, visit);
        }
        if self.turn("document elsewhere", 35) {
            self.stored_elsewhere(visit);
        }
    }

    /// Most notes have one version; now and then an addendum replaces the first, or a note is taken back.
    fn note_versions(&mut self, kind: Term, text: String, visit: &Visit) {
        let note = |text: &str| Document::new(kind, "text/plain; charset=utf-8", text.as_bytes().to_vec());
        if self.turn("note superseded", 50) {
            let first = Document { status: "superseded", ..note(&text) };
            let replaces = self.document(&first, visit);
            let amended = format!("{text}\n\nADDENDUM: dose corrected after call with the pharmacy.");
            let second = Document { replaces, doc_status: Some("amended"), ..note(&amended) };
            self.document(&second, visit);
        } else if self.turn("note in error", 80) {
            let wrong = Document { status: "entered-in-error", doc_status: None, ..note(&text) };
            self.document(&wrong, visit);
        } else {
            if self.turn("note deleted", 60) {
                self.document(&Document { deleted: true, ..note("Dictated for another patient.") }, visit);
            }
            self.document(&note(&text), visit);
        }
    }

    fn stored_elsewhere(&mut self, visit: &Visit) {
        let name = self.rng.digits(10);
        let scan = Document {
            url: Some(format!("https://documents.example.org/scans/{name}.tiff")),
            body: None,
            size: self.rng.between(80_000, 4_000_000),
            ..Document::new(("11502-2", "Laboratory report"), "image/tiff", Vec::new())
        };
        self.document(&scan, visit);
    }

    /// The report of a study, as text or as PDF. Returns its id.
    pub(super) fn study_report(&mut self, study: &Study, order: Uuid, visit: &Visit) -> Uuid {
        let text = format!(
            "{}\n\nIndication: {}\nTechnique: standard.\n\nFINDINGS:\n{}\n\nIMPRESSION:\n{}\n",
            study.title,
            visit.disorder.map_or("screening", |disorder| disorder.text),
            self.rng.word(&NOTES),
            study.impression,
        );
        let (mime, body) = match self.turn("report as PDF", 3) {
            true => ("application/pdf", pdf::from_text(&text)),
            false => ("text/plain; charset=utf-8", text.into_bytes()),
        };
        let image = study.has_image.then(|| {
            format!(
                "https://images.example.org/studies/1.2.840.{}.{}",
                self.rng.digits(6),
                self.rng.digits(8)
            )
        });
        let status = if self.turn("study report amended", 8) { "amended" } else { "final" };
        let report = Report { category: study.category, status, order, image };
        let document =
            Document { report: Some(report), ..Document::new((study.loinc, study.title), mime, body) };
        self.document(&document, visit).unwrap_or_default()
    }

    /// What a clinician writes after a visit.
    fn note(&mut self, visit: &Visit, problems: &[Problem]) -> String {
        let reason = match (visit.disorder, visit.kind) {
            (Some(disorder), _) => disorder.text,
            (None, Kind::WellChild) => "well child visit",
            (None, Kind::Physical | Kind::First) => "annual physical examination",
            _ => "follow-up",
        };
        let (years, months) = (visit.months / 12, visit.months % 12);
        let mut text = format!(
            "DATE OF VISIT: {}\nREASON: {reason}\nAGE: {years} years, {months} months\n\nSUBJECTIVE:\n{}\n{}\n\nOBJECTIVE:\n{}\n",
            visit.day,
            self.rng.word(&NOTES),
            self.rng.word(&NOTES),
            self.rng.word(&NOTES),
        );
        text.push_str("\nASSESSMENT AND PLAN:\n");
        for (number, problem) in problems.iter().enumerate() {
            let disorder = &CHRONIC[problem.place].disorder;
            let plan =
                self.rng.word(&["stable, continue", "not at goal – adjust dose", "improved; recheck labs"]);
            text.push_str(&format!("{}. {} [{}]: {plan}.\n", number + 1, disorder.text, disorder.icd10));
        }
        text.push_str(self.rng.word(&NOTES));
        text
    }

    /// Writes a document. None if it is a deleted one.
    fn document(&mut self, document: &Document, visit: &Visit) -> Option<Uuid> {
        let written = visit.later(&mut self.rng);
        let practice = self.directory.practice;
        let (loinc, title) = document.kind;
        let report = document.report.as_ref();
        let sha1 =
            document.body.as_ref().map(|body| digest(&SHA1_FOR_LEGACY_USE_ONLY, body).as_ref().to_vec());
        let issued: Option<Moment> = report.map(|_| written.plus(2 * HOUR));
        let id = self.rows.key();
        let values: &super::chart::Values<'_> = &[
            ("encounter_id", &visit.id),
            ("practice_id", &practice),
            ("author_id", &visit.provider),
            ("loinc", &loinc),
            ("title", &title),
            ("status", &document.status),
            ("doc_status", &document.doc_status),
            ("written_at", &written),
            ("service_from", &visit.at),
            ("service_to", &visit.end),
            ("mime", &document.mime),
            ("format_code", &(document.mime != "image/tiff").then_some(MIME_TYPE_SUFFICIENT)),
            ("size_bytes", &document.size),
            ("sha1", &sha1),
            ("body", &document.body),
            ("storage_url", &document.url),
            ("replaces_id", &document.replaces),
            ("is_report", &report.is_some()),
            ("report_category", &report.map(|report| report.category)),
            ("report_status", &report.map(|report| report.status)),
            ("issued_at", &issued),
            ("order_id", &report.map(|report| report.order)),
            ("media_url", &report.and_then(|report| report.image.clone())),
            ("deleted", &document.deleted),
        ];
        self.write("document", id, values);
        if document.deleted {
            self.bury("DocumentReference", id);
            return None;
        }
        let mut targets = format!("DocumentReference/{id}");
        if report.is_some() {
            targets.push_str(&format!(",DiagnosticReport/{id}"));
        }
        self.author(id, &targets, Some(visit.provider), written);
        Some(id)
    }
}

impl Document {
    fn new(kind: Term, mime: &'static str, body: Vec<u8>) -> Self {
        Self {
            kind,
            mime,
            size: i64::try_from(body.len()).unwrap_or(i64::MAX),
            body: Some(body),
            url: None,
            status: "current",
            doc_status: Some("final"),
            replaces: None,
            report: None,
            deleted: false,
        }
    }
}
