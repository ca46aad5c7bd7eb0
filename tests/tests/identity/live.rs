//! A consent is a live control: what takes authority away ends the exports that need it, wherever they stand, and what
//! gives it back revives none.

mod amended;
mod deed;
mod race;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, BulkClient, Level, Practice, TestApp};

use crate::stage::{
    self, ALL, alone, ask_token, each, eventually, export_id, keys, of_export, options, play, source, state,
    within,
};
use deed::{Deed, Token};

/// How soon a running export has stopped.
const STOPS: Duration = Duration::from_secs(5);

/// How soon an export is over whose consent ended by time, which nobody tells.
const NOTICED: Duration = Duration::from_secs(10);

const FILES: &str = "SELECT count(*) FROM headgate.file WHERE export_id = $1";
/// What is being published in the moment of the end goes through, is shown to nobody, and is deleted with the rest.
/// A moment may be long: the end is seen by others when it is committed, and on a busy machine that takes a while.
const LATE_FILES: &str =
    "SELECT count(*) FROM headgate.file f JOIN headgate.export e USING (practice_number, export_id)
    WHERE export_id = $1 AND f.published_at > e.ended_at + interval '2 seconds'";
const LINKS: &str = "SELECT links_times FROM headgate.export WHERE export_id = $1";
const PURGED: &str = "SELECT purged_at IS NOT NULL FROM headgate.export WHERE export_id = $1";
const LEASES: &str = "SELECT (SELECT count(*) FROM headgate.shard WHERE export_id = $1 AND lease_expires_at > clock_timestamp())
    + (SELECT count(*) FROM headgate.export WHERE export_id = $1 AND lease_step <> 'purge'
          AND lease_expires_at > clock_timestamp())";

/// A practice, an app of a vendor that has no other, and what is about to happen to its authority.
struct Case {
    deed: Deed,
    practice: Practice,
    vendor: AppHandle,
    client: BulkClient,
    patients: u32,
}

impl Case {
    async fn new(app: &TestApp, deed: Deed, patients: u32, observations: u32) -> Result<Self> {
        let practice = stage::practice(app).await?;
        practice.insert_many("Patient", "p", patients, None, 0).await?;
        practice.insert_many("Observation", "o", observations, None, 0).await?;
        let (vendor, client) = stage::client(app, &practice).await?;
        Ok(Self { deed, practice, vendor, client, patients })
    }

    /// Reading an Observation takes a fiftieth of a second from now on. Planning reads none.
    async fn slow_down(&self) -> Result<()> {
        let view = "CREATE FUNCTION public.slow(body text) RETURNS text LANGUAGE plpgsql STABLE COST 10000 AS
                $$ BEGIN PERFORM pg_catalog.pg_sleep(0.02); RETURN body; END $$;
            ALTER TABLE fhir_export.observation RENAME TO observation_rows;
            ANALYZE fhir_export.observation_rows;
            CREATE VIEW fhir_export.observation AS
                SELECT id, patient_id, last_updated, public.slow(resource) AS resource
                  FROM fhir_export.observation_rows;
            GRANT SELECT ON fhir_export.observation TO PUBLIC";
        source(&self.practice, view).await
    }

    /// What has to hold from the moment that the authority is gone.
    async fn is_over(&self, app: &TestApp, status_url: &str) -> Result<()> {
        let export = export_id(status_url);
        let links: i64 = of_export(app, LINKS, export).await?;
        match self.deed.token() {
            Token::Refused => {
                let refused = ask_token(app, &self.practice, &self.vendor, ALL).await?;
                ensure!(refused == Err("unauthorized_client".to_owned()), "{refused:?}");
            }
            Token::OfPatients => {
                let granted = ask_token(app, &self.practice, &self.vendor, ALL).await?;
                let granted = granted.map_err(|code| anyhow::anyhow!("{code}"))?;
                ensure!(granted["scope"] == "system/Patient.rs", "{granted}");
                let refused = ask_token(app, &self.practice, &self.vendor, "system/Observation.rs").await?;
                ensure!(refused == Err("invalid_scope".to_owned()), "{refused:?}");
            }
            Token::Granted => {
                ensure!(ask_token(app, &self.practice, &self.vendor, ALL).await?.is_ok());
            }
        }
        // The old token is good still, but for nothing that it was good for.
        let poll = self.client.poll(status_url).await?.expect(self.deed.poll())?;
        ensure!(!poll.text().contains("X-Amz"), "a link was handed out");
        if poll.status == 404 {
            let unknown = status_url.replace(export, &"0".repeat(32));
            let unknown = self.client.poll(&unknown).await?;
            ensure!(unknown.status == 404 && unknown.body == poll.body, "{}", poll.text());
        }
        self.client.delete(status_url).await?.expect(404)?;
        self.client.kick_off(&Level::System, &[("_type", "Observation")]).await?.expect(403)?;
        let list = Answer::to(self.client.request(Method::GET, "fhir-services/$export-status")).await?;
        ensure!(matches!(list.status, 200 | 403) && !list.text().contains(export), "{}", list.text());
        ensure!(of_export::<i64>(app, LINKS, export).await? == links, "links were handed out");
        Ok(())
    }

    /// Waits until the export is revoked for good and its objects are gone.
    async fn is_purged(&self, app: &TestApp, export: &str) -> Result<()> {
        let what = format!("the objects are gone ({:?})", self.deed);
        eventually(&what, async || of_export(app, PURGED, export).await).await?;
        let left = keys(app, &self.practice, export)?;
        ensure!(left.is_empty(), "{left:?}");
        ensure!(state(app, export).await? == "revoked");
        Ok(())
    }

    /// Gives the authority back: the old export stays dead, a new one comes out.
    async fn again(&self, app: &TestApp, status_url: &str) -> Result<()> {
        self.deed.undo(app, self).await?;
        self.client.poll(status_url).await?.expect(404)?;
        let client = app.client(&self.practice, &self.vendor).await?;
        let new = client.start(&Level::System, &[("_type", "Patient")]).await?;
        let manifest = client.wait_complete(&new).await?;
        let out = client.download_all(&manifest).await?.ids("Patient")?;
        ensure!(out.len() == self.patients as usize, "{} patients", out.len());
        client.poll(status_url).await?.expect(404)?;
        ensure!(state(app, export_id(status_url)).await? == "revoked", "it was revived");
        Ok(())
    }

    /// Takes the authority away; returns when it was gone.
    async fn strike(&self, app: &TestApp, least: u64) -> Result<Instant> {
        self.deed.strike(app, self, least).await.with_context(|| format!("{:?}", self.deed))?;
        Ok(Instant::now())
    }

    /// How soon its exports count as revoked.
    fn noticed(&self) -> Duration {
        if matches!(self.deed, Deed::Expire) { NOTICED } else { Duration::from_millis(500) }
    }
}

#[test]
fn an_export_that_no_worker_has_taken_up_ends_with_its_authority_and_is_never_planned() -> Result<()> {
    alone(options(), async |app| {
        let mut cases = Vec::new();
        for deed in Deed::ALL {
            cases.push(Case::new(app, deed, 3, 3).await?);
        }
        app.worker(0).kill()?;
        let mut started = Vec::new();
        for case in &cases {
            let status_url = case.client.start(&Level::System, &[]).await?;
            case.strike(app, 1).await?;
            case.is_over(app, &status_url).await.with_context(|| format!("{:?}", case.deed))?;
            started.push(status_url);
        }
        app.restart_worker(0)?;
        for (case, status_url) in cases.iter().zip(&started) {
            let export = export_id(status_url);
            case.is_purged(app, export).await?;
            ensure!(
                of_export::<i64>(app, FILES, export).await? == 0,
                "{:?}: files were published",
                case.deed
            );
            let planned = "SELECT (SELECT count(*) FROM headgate.shard WHERE export_id = $1)
                + (SELECT count(*) FROM headgate.export_stream WHERE export_id = $1)
                + (SELECT count(*) FROM headgate.export_member WHERE export_id = $1)";
            let planned: i64 = of_export(app, planned, export).await?;
            ensure!(planned == 0, "{:?}: it was planned", case.deed);
            case.again(app, status_url).await.with_context(|| format!("{:?}", case.deed))?;
        }
        Ok(())
    })
}

#[test]
fn a_running_export_stops_within_seconds_when_its_authority_goes() -> Result<()> {
    play(async |app| {
        each(Deed::ALL, async move |deed| running(app, deed).await.with_context(|| format!("{deed:?}"))).await
    })
}

async fn running(app: &'static TestApp, deed: Deed) -> Result<()> {
    let case = Case::new(app, deed, 30, 3000).await?;
    case.slow_down().await?;
    let status_url = case.client.start(&Level::System, &[]).await?;
    let export = export_id(&status_url);
    eventually("it runs and has published files", async || {
        Ok(of_export::<i64>(app, FILES, export).await? >= 3)
    })
    .await?;
    let gone = case.strike(app, 1).await?;
    case.is_over(app, &status_url).await?;
    within(case.noticed(), "the export is revoked", async || Ok(state(app, export).await? == "revoked"))
        .await?;
    let left = STOPS.saturating_sub(gone.elapsed());
    within(left, "no worker works at it", async || Ok(of_export::<i64>(app, LEASES, export).await? == 0))
        .await?;
    // Long enough for LATE_FILES to show one that works on without a lease.
    tokio::time::sleep(Duration::from_secs(3)).await;
    case.is_purged(app, export).await?;
    ensure!(of_export::<i64>(app, LATE_FILES, export).await? == 0, "files were published after the end");
    case.again(app, &status_url).await
}

#[test]
fn what_was_handed_out_of_a_completed_export_leads_nowhere_when_its_authority_goes() -> Result<()> {
    play(async |app| {
        each(Deed::ALL, async move |deed| completed(app, deed).await.with_context(|| format!("{deed:?}")))
            .await
    })
}

async fn completed(app: &'static TestApp, deed: Deed) -> Result<()> {
    let case = Case::new(app, deed, 3, 30).await?;
    let status_url = case.client.start(&Level::System, &[]).await?;
    let export = export_id(&status_url);
    let link = observation_in(&case.client.wait_complete(&status_url).await?)?;
    Answer::to(app.http().get(&link)).await?.expect(200)?;
    // The same export once more, with files to be had with the token.
    let by_token = json!({ "options": { "file_access": "token" } });
    app.admin().patch(&format!("practices/{}", case.practice.number), &by_token).await?.expect(200)?;
    let file = observation_in(&case.client.wait_complete(&status_url).await?)?;
    let fetch = async || Answer::to(case.client.request(Method::GET, &file)).await;
    fetch().await?.expect(307)?;

    case.strike(app, 1).await?;
    case.is_over(app, &status_url).await?;
    let refused = fetch().await?;
    ensure!(matches!(refused.status, 403 | 404), "{}", refused.text());
    ensure!(refused.header("location").is_none(), "{:?}", refused.headers);
    within(case.noticed(), "the export is revoked", async || Ok(state(app, export).await? == "revoked"))
        .await?;
    fetch().await?.expect(404)?;
    case.is_purged(app, export).await?;
    Answer::to(app.http().get(&link)).await?.expect(404)?;
    case.again_by_token(app, &status_url, &file).await
}

impl Case {
    async fn again_by_token(&self, app: &TestApp, status_url: &str, file: &str) -> Result<()> {
        self.again(app, status_url).await?;
        Answer::to(self.client.request(Method::GET, file)).await?.expect(404)?;
        Ok(())
    }
}

fn observation_in(manifest: &Value) -> Result<String> {
    let output = manifest["output"].as_array().context("no output")?;
    let entry = output.iter().find(|entry| entry["type"] == "Observation").context("no Observation")?;
    entry["url"].as_str().map(str::to_owned).context("no url")
}
