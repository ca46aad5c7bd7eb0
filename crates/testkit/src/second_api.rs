//! One more API process of a [`TestApp`], as an installation has several behind one address.

use anyhow::{Context as _, Result};
use headgate_auth::admin_token::AdminRole;
use reqwest::header::{HOST, HeaderMap, HeaderValue};

use crate::{Admin, Process, Settings, TestApp, answer, ports};

/// A second API: the same database, bucket and public URL, ports of its own.
#[derive(Debug)]
pub struct SecondApi {
    process: Process,
    http: reqwest::Client,
    first_url: String,
    own_url: String,
    admin: Admin,
}

impl TestApp {
    /// Starts a second API beside the first. `changes` are options in which it differs.
    ///
    /// # Errors
    /// When it does not get ready; the error has the end of its log.
    pub async fn start_second_api(&self, changes: &Settings) -> Result<SecondApi> {
        let (public, admin, private) = (ports::free()?, ports::free()?, ports::free()?);
        let mut settings = self.settings();
        settings
            .set("server.public_listen", format_args!("127.0.0.1:{public}"))
            .set("server.admin_listen", format_args!("127.0.0.1:{admin}"));
        settings.extend(changes);
        let log = self.folder().join(format!("api-{public}.log"));
        let mut process = Process::spawn("api", &settings, &log, private)?;
        process.ready().await?;
        // A proxy in front of both would send the one public name to either.
        let host = self.public_url().strip_prefix("http://").context("the public URL is of http")?;
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host)?)]);
        let http = answer::http_with(headers)?;
        let admin_url = format!("http://127.0.0.1:{admin}");
        Ok(SecondApi {
            process,
            http,
            first_url: self.public_url().to_owned(),
            own_url: format!("http://127.0.0.1:{public}"),
            admin: Admin::new(answer::http()?, &admin_url, self.admin().shared_key(), &AdminRole::Operator)?,
        })
    }
}

impl SecondApi {
    /// An HTTP client whose requests name the host of the public URL.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Where this process serves what the public URL `url` names.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        url.replacen(&self.first_url, &self.own_url, 1)
    }

    /// Its admin API, as an operator.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
