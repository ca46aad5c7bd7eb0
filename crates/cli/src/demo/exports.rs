//! The exports: each practice as a whole, both at a time, then a group of the first; each through the client that
//! `headgate export` is, and each compared with its source.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use headgate_auth::PrivateKey;
use headgate_domain::ResourceType;

use super::databases::{Databases, Ehr, Practice};
use super::files::{self, Tally};
use super::folder::{EXPORTS, Folder};
use super::registration::{Address, GROUP, Registered};
use super::screen::Screen;
use super::secrets::Secrets;
use crate::export::{Client, Connection, Level, Options, Progress, Request, Summary};

/// Files downloaded at a time, per export.
const PARALLEL: usize = 4;

/// An export that is complete, and what it is to be compared with.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) practice: &'static Practice,
    /// `system`, or `group:` and the id.
    pub(super) level: String,
    /// What the client says.
    pub(super) summary: Summary,
    /// What lies in the folder, by type.
    pub(super) on_disk: BTreeMap<String, Tally>,
    /// Rows of the source that belong into the export, by type; types without any are left out.
    pub(super) source_rows: BTreeMap<String, u64>,
}

impl Finished {
    /// Whether the source, the client's count and the files agree for every type, and nothing was reported as
    /// wrong with a resource.
    pub(super) fn is_equal(&self) -> bool {
        self.differing().is_empty() && self.summary.error_outcomes == 0
    }

    /// The types for which the three do not agree.
    pub(super) fn differing(&self) -> Vec<&str> {
        let mut types: Vec<&String> = self.source_rows.keys().collect();
        types.extend(self.summary.by_type.keys());
        types.extend(self.on_disk.keys());
        types.sort();
        types.dedup();
        types.retain(|name| {
            let source = self.source_rows.get(*name);
            source != self.summary.by_type.get(*name)
                || source != self.on_disk.get(*name).map(|tally| &tally.resources)
        });
        types.into_iter().map(String::as_str).collect()
    }
}

/// Runs all exports.
pub(super) async fn run(
    registered: &Registered,
    secrets: &Secrets,
    databases: &Databases,
    folder: &Folder,
    screen: &Screen,
) -> Result<Vec<Finished>> {
    let app = App { registered, ca_pem: secrets.ca_pem() };
    screen.line("the app exports both practices");
    let whole = databases.ehrs.iter().zip(&registered.practices);
    let whole = whole.map(|(ehr, address)| export(Level::System, ehr, address, app, folder, screen));
    let mut finished = futures_util::future::try_join_all(whole).await?;

    screen.line("the app exports a group of the first practice");
    let first = databases.ehrs.first().zip(registered.practices.first());
    let (ehr, address) = first.context("the demo has practices")?;
    let group = Level::Group(GROUP.to_owned());
    finished.push(export(group, ehr, address, app, folder, screen).await?);
    screen.line("everything is here");
    Ok(finished)
}

/// Who exports, and what it trusts.
#[derive(Clone, Copy)]
struct App<'a> {
    registered: &'a Registered,
    ca_pem: Option<&'a [u8]>,
}

async fn export(
    level: Level,
    ehr: &Ehr,
    address: &Address,
    app: App<'_>,
    folder: &Folder,
    screen: &Screen,
) -> Result<Finished> {
    let slug = ehr.practice.slug;
    let (name, level_name, members) = match &level {
        Level::Group(id) => {
            (format!("{slug}-group"), format!("group:{id}"), Some(&app.registered.members[..]))
        }
        Level::Patient => (format!("{slug}-patient"), "patient".to_owned(), None),
        Level::System => (slug.to_owned(), "system".to_owned(), None),
    };
    let client = Client::new(Connection {
        base_url: address.base_url.parse().context("the admin API answered with a broken base_url")?,
        client_id: app.registered.client_id.clone(),
        key: PrivateKey::from_jwk(&app.registered.private_jwk)?,
        // Found by the client itself, as every app should.
        token_url: None,
        scopes: vec!["system/*.rs".to_owned()],
        ca_pem: app.ca_pem.map(<[u8]>::to_vec),
    })?;
    let out = folder.make(EXPORTS)?.join(&name);
    let options = Options { parallel: PARALLEL, ..Options::new(Request::new(level), out.clone()) };
    let progress = Progress::on_stderr(&name, Some(screen.bars()));
    let summary =
        client.export(&options, &progress).await.with_context(|| format!("the export of {name}"))?;
    let on_disk = files::tally(out).await?;
    let source_rows = source_rows(ehr, members).await?;
    Ok(Finished { practice: ehr.practice, level: level_name, summary, on_disk, source_rows })
}

async fn source_rows(ehr: &Ehr, members: Option<&[String]>) -> Result<BTreeMap<String, u64>> {
    let mut rows = BTreeMap::new();
    for t in ResourceType::ALL.iter().copied() {
        let count =
            ehr.count(t, members).await.with_context(|| format!("the rows of {t} cannot be counted"))?;
        if count > 0 {
            rows.insert(t.to_string(), count);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::databases::PRACTICES;
    use super::*;

    fn finished(client: u64, disk: u64, source: u64) -> Finished {
        let by = |count| BTreeMap::from([("Patient".to_owned(), count)]);
        Finished {
            practice: &PRACTICES[0],
            level: "system".to_owned(),
            summary: Summary {
                resources: client,
                files: 1,
                bytes: 1,
                seconds: 1.0,
                by_type: by(client),
                ..Summary::default()
            },
            on_disk: BTreeMap::from([("Patient".to_owned(), Tally { resources: disk, files: 1, bytes: 1 })]),
            source_rows: by(source),
        }
    }

    #[test]
    fn an_export_is_equal_only_if_client_files_and_source_agree() {
        assert!(finished(3, 3, 3).is_equal());
        for wrong in [finished(2, 3, 3), finished(3, 2, 3), finished(3, 3, 2)] {
            assert_eq!(wrong.differing(), ["Patient"]);
            assert!(!wrong.is_equal());
        }
    }

    #[test]
    fn a_missing_type_and_a_reported_resource_are_no_equal_export() {
        let mut missing = finished(3, 3, 3);
        missing.source_rows.insert("Device".to_owned(), 1);
        assert_eq!(missing.differing(), ["Device"]);
        let mut reported = finished(3, 3, 3);
        reported.summary.error_outcomes = 1;
        assert!(!reported.is_equal());
    }
}
