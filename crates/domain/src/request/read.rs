//! Reading the parameters of a kick-off, one by one.

use chrono::{DateTime, TimeDelta, Utc};

use super::{AssociatedProvenance, ExportRequest, Form, Level, Note};
use crate::instant::{self, InstantError};
use crate::outcome::{Issue, IssueCode};
use crate::practice::PracticeOptions;
use crate::search::{self, TypeFilter};
use crate::{ResourceType, ids};

/// A furthest `_since` in the future that is put down to clock differences.
const FUTURE_LEEWAY: TimeDelta = TimeDelta::minutes(5);

/// Patients that one request may name.
const MOST_PATIENTS: usize = 1000;

/// Queries of `_typeFilter` in one request.
const MOST_QUERIES: usize = 100;

/// Parts of a request that are ignored at most.
const MOST_NOTES: usize = 100;

/// How much of a client's text an issue repeats, in characters.
const SHOWN: usize = 64;

/// A request being read.
pub(super) struct Reader<'a> {
    request: ExportRequest,
    form: Form,
    options: &'a PracticeOptions,
    now: DateTime<Utc>,
    /// Parameters that may be given once only, as far as they were given.
    once: Vec<&'static str>,
    /// Types that a filter which could not be read was for.
    unfiltered: Vec<ResourceType>,
    /// Queries of `_typeFilter` so far.
    queries: usize,
    /// Whether it was said already that `patient` has no place here.
    misplaced_patient: bool,
    /// Whether elements were named of which none is known.
    unknown_elements: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        request: ExportRequest,
        form: Form,
        options: &'a PracticeOptions,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            request,
            form,
            options,
            now,
            once: Vec::new(),
            unfiltered: Vec::new(),
            queries: 0,
            misplaced_patient: false,
            unknown_elements: false,
        }
    }

    /// Reads one parameter.
    pub(super) fn read(&mut self, name: &str, value: &str) -> Result<(), Issue> {
        match name {
            // Checked before all else.
            "_outputFormat" => Ok(()),
            "_since" => self.since(value),
            "_until" => self.until(value),
            "_type" => self.types(value),
            "_typeFilter" => self.type_filters(value),
            "_elements" => value.split(',').try_for_each(|element| self.element(element.trim())),
            "patient" => self.patient(value.trim()),
            "includeAssociatedData" => value.split(',').try_for_each(|code| self.associated(code.trim())),
            "allowPartialManifests" => self.partial_manifests(value.trim()),
            _ => self.unknown(name),
        }
    }

    /// What the parameters come to together.
    pub(super) fn finish(mut self) -> Result<ExportRequest, Issue> {
        if let (Some(since), Some(until)) = (self.request.since, self.request.selection.until)
            && until <= since
        {
            return Err(Issue::error(IssueCode::Value, "_until must be later than _since"));
        }
        // A type stays restricted although its filters could not be read: without any other, nothing of it.
        for t in std::mem::take(&mut self.unfiltered) {
            if self.request.selection.type_filters.of(t).next().is_none() {
                self.request.without.insert(t);
            }
        }
        if self.unknown_elements && self.request.selection.elements.is_empty() {
            self.request
                .selection
                .elements
                .add("id")
                .map_err(|error| Issue::error(IssueCode::Value, format!("_elements: {error}")))?;
        }
        self.outside_of_types();
        Ok(self.request)
    }

    /// What asks for types that `_type` does not name is told to be without effect.
    fn outside_of_types(&mut self) {
        if let Some(types) = self.request.types.clone() {
            let missing: Vec<&str> =
                self.request.selection.type_filters.types().difference(&types).map(|t| t.name()).collect();
            if !missing.is_empty() {
                let text = format!(
                    "_typeFilter: not among the types of _type, without effect: {}",
                    missing.join(", ")
                );
                self.note(IssueCode::Informational, text);
            }
            if self.request.selection.provenance.is_some() && !types.contains(&ResourceType::Provenance) {
                self.request.selection.provenance = None;
                self.request.ignore(
                    "includeAssociatedData was ignored: _type does not name Provenance, and an export holds the \
                     types of _type only"
                        .to_owned(),
                );
            }
        }
    }

    fn since(&mut self, value: &str) -> Result<(), Issue> {
        self.only_once("_since")?;
        let time = self.instant("_since", value)?;
        if time > self.now + FUTURE_LEEWAY {
            return Err(Issue::error(
                IssueCode::Value,
                "_since lies in the future: use the transactionTime of an earlier export",
            ));
        }
        self.request.since = Some(time);
        Ok(())
    }

    fn until(&mut self, value: &str) -> Result<(), Issue> {
        self.only_once("_until")?;
        self.request.selection.until = Some(self.instant("_until", value)?);
        Ok(())
    }

    fn instant(&mut self, name: &str, value: &str) -> Result<DateTime<Utc>, Issue> {
        let wrong = |e: InstantError| Issue::error(IssueCode::Value, format!("{name}: {e}"));
        let parsed = instant::parse(value.trim()).map_err(wrong)?;
        if !parsed.zoned {
            if !self.options.since_without_zone {
                return Err(wrong(InstantError::Malformed));
            }
            let text = format!(
                "{name} has no time zone and was read as UTC: {}. Write it with a zone.",
                instant::format(parsed.time)
            );
            self.note(IssueCode::Value, text);
        }
        Ok(parsed.time)
    }

    fn types(&mut self, value: &str) -> Result<(), Issue> {
        let mut unknown = Vec::new();
        for name in value.split(',').map(str::trim) {
            match name.parse::<ResourceType>() {
                Ok(t) => {
                    self.request.types.get_or_insert_default().insert(t);
                }
                Err(_) => unknown.push(shown(name)),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        // An empty set stays a restriction: ignoring the last unknown type must not widen the export.
        self.request.types.get_or_insert_default();
        let text = format!(
            "_type: not supported here: {}; rest.resource of /metadata lists the types",
            unknown.join(", ")
        );
        self.refuse_or_ignore(text)
    }

    fn type_filters(&mut self, value: &str) -> Result<(), Issue> {
        // Some clients encode the query as a whole before they encode the parameter.
        let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
        let value = match &decoded {
            Ok(decoded) if !value.contains('?') => decoded,
            _ => value,
        };
        for query in search::split(value) {
            self.queries += 1;
            if self.queries > MOST_QUERIES {
                let text = format!("_typeFilter: at most {MOST_QUERIES} queries in a request");
                return Err(Issue::error(IssueCode::TooCostly, text));
            }
            self.type_filter(query)?;
        }
        Ok(())
    }

    fn type_filter(&mut self, query: &str) -> Result<(), Issue> {
        match query.parse::<TypeFilter>() {
            Ok(filter) => {
                self.request.selection.type_filters.push(filter);
                Ok(())
            }
            Err(error) => {
                let name = query.split('?').next().unwrap_or_default();
                // However it is spelt, the type that is meant stays restricted.
                let restricted =
                    ResourceType::ALL.iter().copied().find(|t| t.name().eq_ignore_ascii_case(name.trim()));
                self.unfiltered.extend(restricted);
                let effect = match restricted {
                    Some(t) if self.request.lenient => {
                        format!("; {t} resources are exported as far as another filter asks for them")
                    }
                    _ => String::new(),
                };
                self.refuse_or_ignore(format!("_typeFilter: {error}{effect}"))
            }
        }
    }

    fn element(&mut self, element: &str) -> Result<(), Issue> {
        match self.request.selection.elements.add(element) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.unknown_elements = true;
                self.refuse_or_ignore(format!("_elements: {error}"))
            }
        }
    }

    /// Whose data leave is never guessed: what cannot be read is refused even leniently.
    fn patient(&mut self, value: &str) -> Result<(), Issue> {
        if self.misplaced_patient {
            return Ok(());
        }
        self.misplaced_patient = self.form == Form::Query || self.request.level == Level::System;
        if self.form == Form::Query {
            let text = "patient is given in the body of a POST only: send a Parameters resource";
            return Err(Issue::error(IssueCode::NotSupported, text));
        }
        if self.request.level == Level::System {
            let text = "patient belongs to Patient/$export and Group/[id]/$export; $export has no patients to choose from";
            return Err(Issue::error(IssueCode::NotSupported, text));
        }
        let id = value.strip_prefix("Patient/").filter(|id| ids::is_fhir_id(id));
        let Some(id) = id else {
            let text = "patient: write a reference of the form Patient/[id]";
            return Err(Issue::error(IssueCode::Value, text));
        };
        let patients = self.request.patients.get_or_insert_default();
        patients.insert(id.to_owned());
        if patients.len() > MOST_PATIENTS {
            let text =
                format!("patient: at most {MOST_PATIENTS} patients in a request: define a group instead");
            return Err(Issue::error(IssueCode::TooCostly, text));
        }
        Ok(())
    }

    fn associated(&mut self, code: &str) -> Result<(), Issue> {
        let wanted = match code {
            "LatestProvenanceResources" => AssociatedProvenance::Latest,
            "RelevantProvenanceResources" => AssociatedProvenance::Relevant,
            _ => {
                return self.refuse_or_ignore(format!(
                    "includeAssociatedData: {} is not supported: LatestProvenanceResources or \
                     RelevantProvenanceResources",
                    shown(code)
                ));
            }
        };
        // Of conflicting values the least restrictive one stands (Bulk Data IG, includeAssociatedData).
        self.request.selection.provenance = self.request.selection.provenance.max(Some(wanted));
        Ok(())
    }

    fn partial_manifests(&mut self, value: &str) -> Result<(), Issue> {
        self.only_once("allowPartialManifests")?;
        match value {
            "true" => self.request.delivery.partial_manifests = true,
            "false" => {}
            _ => return self.refuse_or_ignore("allowPartialManifests must be true or false".to_owned()),
        }
        Ok(())
    }

    fn unknown(&mut self, name: &str) -> Result<(), Issue> {
        let hint = match name {
            "organizeOutputBy" => ": files hold one type of resource each",
            _ => "",
        };
        self.refuse_or_ignore(format!("the parameter {} is not supported by this server{hint}", shown(name)))
    }

    fn only_once(&mut self, name: &'static str) -> Result<(), Issue> {
        if self.once.contains(&name) {
            return Err(Issue::error(IssueCode::Invalid, format!("{name} is given twice: give it once")));
        }
        self.once.push(name);
        Ok(())
    }

    fn refuse_or_ignore(&mut self, text: String) -> Result<(), Issue> {
        if self.request.notes.len() >= MOST_NOTES {
            let text = format!("more than {MOST_NOTES} parts of the request cannot be read");
            return Err(Issue::error(IssueCode::TooCostly, text));
        }
        if self.request.lenient {
            self.request.ignore(format!("{text}. It was ignored (handling=lenient)."));
            return Ok(());
        }
        let hint = "Leave it out, or send `Prefer: handling=lenient` to have it ignored.";
        Err(Issue::error(IssueCode::NotSupported, format!("{text}. {hint}")))
    }

    fn note(&mut self, code: IssueCode, text: String) {
        self.request.notes.push(Note { issue: Issue::warning(code, text), ignored: false });
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
