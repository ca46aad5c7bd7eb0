//! Plants words in everything that a client, a vendor, an administrator or a source can send.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::{Method, Url};
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::{Answer, AppHandle, BulkClient, Level, Practice, TestApp};

use crate::stage::{self, ALL, eventually, export_id, source, state};

/// A word that stands nowhere else.
pub struct Word {
    pub what: &'static str,
    pub text: String,
    /// Nobody may know it, not even for a while.
    pub secret: bool,
    /// Who sent it is told that this is not a name of anything.
    pub echoed: bool,
}

/// What patients are called and have.
const NAME: &str = "zzkananame";
const MRN: &str = "zzkanamrn";
const ID: &str = "zzkanaid";
/// What clients ask for.
const FILTER: &str = "zzkanafilter";
const ASKED: &str = "zzkanaasked";
const WRONG: &str = "zzkanawrong";
/// Where the name of a type, an element, a parameter or a scope belongs.
const TERM: &str = "zzkanaterm";
/// What administrators send.
const MEMBER: &str = "zzkanamember";
const LINE: &str = "zzkanaline";

const CONTENT: (&str, &str) = ("Content-Type", "application/fhir+json");

/// A practice full of words, and what was said about it.
pub struct Planted {
    pub words: Vec<Word>,
    /// Every refusal, as it was told.
    pub errors: Vec<String>,
    pub client: BulkClient,
    practice: Practice,
    vendor: AppHandle,
}

impl Planted {
    pub async fn new(app: &TestApp) -> Result<Self> {
        let practice = stage::practice(app).await?;
        for n in 1..=12 {
            let id = format!("{ID}-{n}");
            let body = json!({
                "resourceType": "Patient", "id": id, "name": [{ "family": NAME }],
                "identifier": [{ "system": "urn:mrn", "value": format!("{MRN}-{n}") }],
            });
            practice.insert_body("Patient", &id, Some(&id), &body.to_string()).await?;
            practice.insert("Observation", &id, Some(&id)).await?;
            practice.insert("Immunization", &id, Some(&id)).await?;
        }
        // Rows that end in the error file.
        let broken = format!("{ID}-1");
        practice.insert_body("Condition", &broken, Some(&broken), &format!("{{{NAME}")).await?;
        practice.insert_body("Procedure", &broken, Some(&broken), &format!(r#"{{"id":"{NAME}"}}"#)).await?;
        let (vendor, client) = stage::client(app, &practice).await?;
        let mut planted = Self { words: Vec::new(), errors: Vec::new(), client, practice, vendor };
        for (what, text) in [
            ("a name", NAME),
            ("a medical record number", MRN),
            ("an id", ID),
            ("a filter", FILTER),
            ("a patient who was asked for", ASKED),
            ("a wrong value", WRONG),
            ("a member", MEMBER),
            ("a line of an upload", LINE),
        ] {
            planted.words.push(Word { what, text: text.to_owned(), secret: false, echoed: false });
        }
        planted.words.push(Word { what: "a term", text: TERM.to_owned(), secret: false, echoed: true });
        planted.secret("an access token", planted.client.token().to_owned());
        planted.secret("a token of an administrator", app.admin().token().to_owned());
        let key: Value = serde_json::from_str(&planted.vendor.private_jwk()?)?;
        planted.secret("a private key", key["d"].as_str().context("no d")?.to_owned());
        for (name, value) in app.settings().variables() {
            if name.contains("SECRET") || name.contains("ENCRYPTION_KEY") {
                planted.secret("a secret of the configuration", value.to_owned());
            }
        }
        Ok(planted)
    }

    /// Adds a secret, and its signature for itself if it is a JWT.
    fn secret(&mut self, what: &'static str, text: String) {
        if let Some((_, signature)) = text.rsplit_once('.') {
            self.words.push(Word { what, text: signature.to_owned(), secret: true, echoed: false });
        }
        self.words.push(Word { what, text, secret: true, echoed: false });
    }

    fn note(&mut self, answer: &Answer, statuses: &[u16]) -> Result<()> {
        ensure!(statuses.contains(&answer.status), "{} {}", answer.status, answer.text());
        if answer.status >= 400 {
            self.errors.push(format!("{:?} {}", answer.headers, answer.text()));
        }
        Ok(())
    }

    /// Good exports, downloaded; returns their status URLs.
    pub async fn exports(&mut self, app: &TestApp) -> Result<Vec<String>> {
        let members: Vec<String> = (1..=3).map(|n| format!("{ID}-{n}")).collect();
        let mut members: Vec<&str> = members.iter().map(String::as_str).collect();
        let member = format!("{MEMBER}-1");
        members.push(&member);
        app.group(&self.practice, "g", &members).await?;
        let filter = format!("Observation?code={FILTER}");
        let patient = format!("{ID}-2");
        let mut urls = vec![
            self.client.start(&Level::System, &[("_typeFilter", filter.as_str())]).await?,
            self.client.start(&Level::Group("g".to_owned()), &[]).await?,
        ];
        let named = [patient.as_str(), ASKED].map(
            |id| json!({ "name": "patient", "valueReference": { "reference": format!("Patient/{id}") } }),
        );
        let body = json!({ "resourceType": "Parameters", "parameter": named });
        let kick_off = self.post("Patient/$export", &body.to_string()).await?.expect(202)?;
        urls.push(kick_off.header("content-location").context("no Content-Location")?.to_owned());
        for url in &urls {
            let manifest = self.client.wait_complete(url).await?;
            let download = self.client.download_all(&manifest).await?;
            ensure!(download.lines("Patient").iter().any(|line| line.contains(NAME)), "the files do have it");
            // What the request itself named may be told there.
            let told = download.section("error").flat_map(|file| &file.lines);
            for line in told {
                ensure!(![NAME, MRN, ID, MEMBER].iter().any(|word| line.contains(word)), "{line}");
            }
            self.signatures(&manifest)?;
        }
        Ok(urls)
    }

    fn signatures(&mut self, manifest: &Value) -> Result<()> {
        let entries = manifest["output"].as_array().context("no output")?;
        for entry in entries {
            let link: Url = entry["url"].as_str().context("no url")?.parse()?;
            let signature = link.query_pairs().find(|(name, _)| name == "X-Amz-Signature");
            self.secret("the signature of a link", signature.context("no signature")?.1.into_owned());
        }
        Ok(())
    }

    async fn post(&self, path: &str, body: &str) -> Result<Answer> {
        let request = self.client.request(Method::POST, path).header("Accept", "application/fhir+json");
        Answer::to(
            request.header("Prefer", "respond-async").header(CONTENT.0, CONTENT.1).body(body.to_owned()),
        )
        .await
    }

    /// Kick-offs, polls and reads that are wrong in every part.
    pub async fn bad_kick_offs(&mut self) -> Result<()> {
        for (name, value) in [
            ("_type", TERM),
            ("_since", WRONG),
            ("_until", WRONG),
            ("_elements", "zzkanaterm.zzkanaterm"),
            ("_outputFormat", WRONG),
            ("_typeFilter", "Observation?zzkanaterm=zzkanafilter"),
            ("_typeFilter", "zzkanaterm?code=zzkanafilter"),
            ("_typeFilter", "Observation?date=zzkanafilter"),
            ("_typeFilter", "Observation?subject:Patient.name=zzkanafilter"),
            ("includeAssociatedData", TERM),
            ("patient", "Patient/zzkanaasked"),
            ("organizeOutputBy", WRONG),
        ] {
            let answer = self.client.kick_off(&Level::Patient, &[(name, value)]).await?;
            self.note(&answer, &[400])?;
        }
        for body in [
            format!("{{\"{NAME}"),
            format!(
                r#"{{"resourceType":"Parameters","parameter":[{{"name":"_since","valueInstant":"{WRONG}"}}]}}"#
            ),
            format!(r#"{{"resourceType":"{WRONG}","parameter":[]}}"#),
            format!(r#"{{"resourceType":"Parameters","parameter":"{WRONG}"}}"#),
            format!(
                r#"{{"resourceType":"Parameters","parameter":[{{"name":"patient","valueReference":{{"reference":"{WRONG}/a b"}}}}]}}"#
            ),
        ] {
            let answer = self.post("Patient/$export", &body).await?;
            self.note(&answer, &[400])?;
        }
        let answer = self.post(&format!("Patient/$export?_since={WRONG}"), "").await?;
        self.note(&answer, &[400])?;
        for path in [
            format!("Group/{ID}-1/$export"),
            format!("Group/{ID}-1"),
            format!("Group?identifier={WRONG}&{TERM}=1"),
            format!("Binary/{ID}-1"),
            format!("Patient/{ID}-1"),
            format!("Patient?name={NAME}"),
            format!("fhir-services/$export-status/{ID}"),
            format!("fhir-services/files/{ID}/{NAME}.ndjson"),
        ] {
            let request = self.client.request(Method::GET, &path).header("Prefer", "respond-async");
            let answer = Answer::to(request.header("Accept", "application/fhir+json")).await?;
            self.note(&answer, &[400, 404])?;
        }
        for (name, value) in
            [("Accept", WRONG), ("Prefer", "respond-async; zzkanawrong"), ("User-Agent", NAME)]
        {
            let answer =
                self.client.kick_off_with(&Level::Patient, &[("_type", TERM)], &[(name, value)]).await?;
            self.note(&answer, &[400, 406])?;
        }
        Ok(())
    }

    /// Tokens and assertions where they are wrong, and where they are right.
    pub async fn bad_tokens(&mut self, app: &TestApp) -> Result<()> {
        let token_url = self.practice.token_url.clone();
        let good = self.vendor.assertion(&token_url)?;
        let replayed = self.vendor.form(ALL, &good);
        let mut other = self.vendor.claims(&format!("https://{WRONG}.example"));
        other["patient"] = MRN.into();
        let elsewhere = self.vendor.key.sign(&other)?;
        for (what, assertion) in [("an assertion", &good), ("an assertion for elsewhere", &elsewhere)] {
            self.secret(what, assertion.clone());
        }
        app.request_token(&token_url, &replayed).await?.expect(200)?;
        let answer = app.request_token(&token_url, &replayed).await?;
        self.note(&answer, &[400, 401])?;
        let fresh = async |vendor: &AppHandle| vendor.assertion(&token_url);
        for form in [
            self.vendor.form(ALL, &elsewhere),
            self.vendor.form(&format!("system/{TERM}.rs"), &fresh(&self.vendor).await?),
            self.vendor.form(&format!("patient/{TERM}"), &fresh(&self.vendor).await?),
            self.vendor.form(ALL, &format!("{WRONG}.{good}")),
            vec![("grant_type".to_owned(), WRONG.to_owned()), ("password".to_owned(), NAME.to_owned())],
            [
                self.vendor.form(ALL, &fresh(&self.vendor).await?),
                vec![("resource".into(), format!("https://{WRONG}.example"))],
            ]
            .concat(),
        ] {
            let answer = app.request_token(&token_url, &form).await?;
            self.note(&answer, &[400, 401])?;
        }
        for token in [good.as_str(), elsewhere.as_str(), WRONG] {
            let answer = self.client.with_token(token).kick_off(&Level::System, &[]).await?;
            self.note(&answer, &[401])?;
        }
        // Given back: it is asked about, and refused from then on.
        let spare = app.token(&self.practice, &self.vendor, ALL).await?;
        self.secret("a token that was given back", spare.clone());
        for path in ["/token/introspect", "/revoke"] {
            let url = token_url.replace("/token", path);
            let mut form = self.vendor.form(ALL, &fresh(&self.vendor).await?);
            form.push(("token".to_owned(), spare.clone()));
            app.request_token(&url, &form).await?.expect(200)?;
            let answer = app.request_token(&url, &[("token".to_owned(), spare.clone())]).await?;
            self.note(&answer, &[400, 401])?;
        }
        let answer = self.client.with_token(spare).kick_off(&Level::System, &[]).await?;
        self.note(&answer, &[401])
    }

    /// Calls of the admin API, good and bad.
    pub async fn admin_calls(&mut self, app: &TestApp) -> Result<()> {
        let (admin, number) = (app.admin(), self.practice.number);
        let members = format!("practices/{number}/groups/g/members");
        let upload = async |kind: &'static str, body: String| {
            let request = admin.request(Method::POST, &format!("{members}?action=add"));
            Answer::to(request.header("Content-Type", kind).body(body)).await
        };
        upload("text/csv", format!("patient_id\n{MEMBER}-2\n")).await?.expect(200)?;
        upload("application/x-ndjson", format!("\"{MEMBER}-3\"\n{{\"patient_id\":\"{MEMBER}-4\"}}\n"))
            .await?
            .expect(200)?;
        let wrong = [
            upload("text/csv", format!("patient_id\n{MEMBER}-5\n{LINE} with spaces\n")).await?,
            upload("application/x-ndjson", format!("\"{MEMBER}-6\"\n{{\"{LINE}\":1}}\n")).await?,
            upload("application/x-ndjson", format!("{LINE}\n")).await?,
            upload("application/json", format!("{{\"add\":[\"{LINE} a b\"]}}")).await?,
            upload("application/json", format!("{{\"{LINE}\":1}}")).await?,
            upload("application/json", format!("{{\"add\":[\"{LINE}")).await?,
            upload("application/json", format!("{{\"add\":\"{LINE}\"}}")).await?,
        ];
        for answer in &wrong {
            self.note(answer, &[400])?;
        }
        let search = format!("practices/{number}/disclosures/search");
        admin.post(&search, &json!({ "patient_id": format!("{ID}-1") })).await?.expect(200)?;
        let answer = admin.post(&search, &json!({ "patient_id": format!("{WRONG} {NAME}") })).await?;
        self.note(&answer, &[400])?;
        let answer = admin.post(&search, &json!({ "patient_id": 7, NAME: ID })).await?;
        self.note(&answer, &[400])?;
        for path in [
            format!("practices/{number}/disclosures?client_id={WRONG}"),
            format!("practices/{number}/exports?patient={ID}"),
            format!("practices/{number}/groups/{ID} {NAME}"),
            format!("practices/{number}/exports/{ID}"),
            format!("{members}?cursor={MEMBER}"),
            format!("audit?actor={NAME}&cursor={WRONG}"),
        ] {
            let answer = admin.get(&path).await?;
            self.note(&answer, &[400, 404])?;
        }
        let check = format!("apps/{}/assertion-check", self.vendor.client_id);
        let spare = self.vendor.assertion(&self.practice.token_url)?;
        self.secret("an assertion that was checked", spare.clone());
        admin.post(&check, &json!({ "client_assertion": spare })).await?.expect(200)?;
        // A private key where a public one belongs.
        let private: Value = serde_json::from_str(&self.vendor.private_jwk()?)?;
        let keys = format!("apps/{}/keys", self.vendor.client_id);
        let answer = admin.post(&keys, &json!({ "jwks": { "keys": [private] } })).await?;
        self.note(&answer, &[400])?;
        let answer = admin.with_token(self.client.token().to_owned()).get("me").await?;
        self.note(&answer, &[401])
    }

    /// A source whose own error text quotes the row: it cannot be cast.
    pub async fn failing_source(&mut self, app: &TestApp) -> Result<()> {
        let view = "ALTER TABLE fhir_export.immunization RENAME TO immunization_rows;
            CREATE VIEW fhir_export.immunization AS
                SELECT id, patient_id, last_updated, (id::bigint)::text AS resource FROM fhir_export.immunization_rows;
            GRANT SELECT ON fhir_export.immunization TO PUBLIC";
        source(&self.practice, view).await?;
        let status_url = self.client.start(&Level::System, &[("_type", "Immunization")]).await?;
        let export = export_id(&status_url);
        eventually("the export has failed", async || Ok(state(app, export).await? == "failed")).await?;
        let answer = self.client.poll(&status_url).await?;
        ensure!(answer.text().contains("22P02"), "the SQLSTATE is told: {}", answer.text());
        self.note(&answer, &[500])?;
        let path = format!("practices/{}/exports/{export}", self.practice.number);
        for path in [path.clone(), format!("{path}/waiting"), format!("{path}/files")] {
            let shown = app.admin().get(&path).await?.expect(200)?;
            self.errors.push(shown.text());
        }
        Ok(())
    }
}
