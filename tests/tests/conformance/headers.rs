//! Bulk Data Kick-off Request, Headers: `Accept`, and `Prefer` with its preferences.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, Level};

use crate::requests::{
    ACCEPT, LENIENT, PREFER, SEPARATE, accepted, bare, diagnostics, finish, get_lenient, levels, parameters,
    refusal,
};
use crate::stage::play;

#[test]
fn a_kick_off_without_accept_or_prefer_is_refused_with_the_header_to_add() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let bearer = format!("Bearer {}", client.token());
        let common = [("Authorization", bearer.as_str()), ("Content-Type", "application/fhir+json")];
        for level in levels() {
            let url = format!("{}/{}", stage.clinic.base_url, level.path());
            for (method, body) in [("GET", String::new()), ("POST", parameters(&[]))] {
                for (sent, told) in
                    [(PREFER, "Accept: application/fhir+json"), (ACCEPT, "Prefer: respond-async")]
                {
                    let headers = [common[0], common[1], sent];
                    let (status, body) = bare(method, &url, &headers, &body).await?;
                    ensure!(status == 400, "{method} {sent:?}: {status} {body}");
                    let outcome: Value = body.parse()?;
                    ensure!(outcome["resourceType"] == "OperationOutcome", "{outcome}");
                    ensure!(diagnostics(&outcome).contains(told), "{outcome}");
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_practice_may_take_kick_offs_without_these_headers() -> Result<()> {
    play(async |stage| {
        let practice =
            stage.practice(|practice| practice.options(json!({ "require_headers": false }))).await?;
        let client = stage.client(&practice).await?;
        let bearer = format!("Bearer {}", client.token());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let url = format!("{}/Patient/$export", practice.base_url);
        for (method, body) in [("GET", String::new()), ("POST", parameters(&[]))] {
            // It is asynchronous all the same.
            let (status, body) = bare(method, &url, &headers, &body).await?;
            ensure!(status == 202, "{method}: {status} {body}");
        }
        Ok(())
    })
}

#[test]
fn an_accept_that_covers_fhir_json_will_do() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for accept in
            ["*/*", "application/*;q=0.8", "application/json", "text/html, application/fhir+json;q=0.5"]
        {
            let headers = [("Accept", accept), PREFER];
            let answer = client.kick_off_with(&Level::Patient, &[], &headers).await?;
            accepted(&client, answer).await.with_context(|| accept.to_owned())?;
        }
        let headers = [("Accept", "text/html"), PREFER];
        refusal(&client.kick_off_with(&Level::Patient, &[], &headers).await?, 400)?;
        Ok(())
    })
}

#[test]
fn prefer_is_read_as_a_list_in_any_case_and_in_any_number_of_headers() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        // The unknown parameter is refused unless `handling=lenient` was seen.
        let query = [("_unknown", "x")];
        for prefer in [
            &["respond-async, handling=lenient"][..],
            &["handling=lenient,respond-async"],
            &["Respond-Async ,Handling=\"lenient\""],
            &["respond-async", "handling=lenient"],
            &["respond-async, wait=10", "handling=lenient; x=y, separate-export-status"],
        ] {
            let mut headers = vec![ACCEPT];
            headers.extend(prefer.iter().map(|value| ("Prefer", *value)));
            let answer = client.kick_off_with(&Level::Patient, &query, &headers).await?;
            accepted(&client, answer).await.with_context(|| format!("{prefer:?}"))?;
        }
        let strict = [ACCEPT, ("Prefer", "respond-async, handling=strict")];
        refusal(&client.kick_off_with(&Level::Patient, &query, &strict).await?, 400)?;
        Ok(())
    })
}

#[test]
fn without_lenient_handling_what_is_not_supported_is_refused_by_name() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for (name, value) in [
            ("_unknown", "x"),
            ("organizeOutputBy", "Patient"),
            ("_type", "MissingType"),
            ("_typeFilter", "Observation?unknown=x"),
            ("_elements", "nothing"),
            ("includeAssociatedData", "_custom"),
            ("allowPartialManifests", "perhaps"),
            ("_minimumFileSize", "1"),
        ] {
            let told = refusal(&client.kick_off(&Level::Patient, &[(name, value)]).await?, 400)?;
            ensure!(told.contains(name), "{name}: {told}");
            ensure!(told.contains("handling=lenient"), "it says what would help: {told}");
        }
        Ok(())
    })
}

#[test]
fn with_lenient_handling_each_ignored_parameter_is_told_in_the_error_file() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [
            ("_type", "Patient,MissingType"),
            ("organizeOutputBy", "Patient"),
            ("_unknown", "x"),
            ("includeAssociatedData", "_custom"),
        ];
        let answer = get_lenient(&client, &Level::Patient, &query).await?;
        let at_once = diagnostics(&answer.json()?);
        let got = finish(&client, answer).await?;
        ensure!(got.types() == ["Patient"], "{:?}", got.types());
        let outcomes = got.download.outcomes()?;
        for named in ["MissingType", "organizeOutputBy", "_unknown", "includeAssociatedData"] {
            ensure!(at_once.contains(named), "{named}: {at_once}");
            let about: Vec<&Value> =
                outcomes.iter().filter(|outcome| diagnostics(outcome).contains(named)).collect();
            ensure!(about.len() == 1, "{named}: {outcomes:?}");
            ensure!(about[0]["resourceType"] == "OperationOutcome");
            ensure!(about[0]["issue"][0]["severity"] == "warning", "{}", about[0]);
        }
        Ok(())
    })
}

#[test]
fn separate_export_status_is_confirmed_by_preference_applied() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let applied = |answer: &Answer| -> Vec<String> {
            let values = answer.headers.get_all("preference-applied");
            let words = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
            words.map(|word| word.trim().to_ascii_lowercase()).collect()
        };
        let answer = client.kick_off_with(&Level::Patient, &[], &[ACCEPT, SEPARATE]).await?.expect(202)?;
        for preference in ["respond-async", "separate-export-status"] {
            ensure!(applied(&answer).iter().any(|a| a == preference), "{:?}", answer.headers);
        }
        accepted(&client, answer).await?;
        let answer = client.kick_off_with(&Level::Patient, &[], &[ACCEPT, LENIENT]).await?.expect(202)?;
        ensure!(!applied(&answer).iter().any(|a| a == "separate-export-status"), "{:?}", answer.headers);
        accepted(&client, answer).await
    })
}
