//! Everything before the first export.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use headgate_reference_ehr::{GenerateOptions, Generator};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use super::{Compared, RunningExport};
use crate::oracle::Multiset;
use crate::{AppHandle, Installation, Practice, Settings, TestApp};

/// Where the practice's resources come from, as the command line says it.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// Folder of *.ndjson and *.ndjson.gz to load.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["generate", "line_bytes"])]
    pub data: Option<PathBuf>,
    /// Generate so many resources instead.
    #[arg(long, value_name = "N")]
    pub generate: Option<u64>,
    /// What makes this run different from others with the same options.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Pad generated resources to lines of this many bytes.
    #[arg(long, value_name = "BYTES")]
    pub line_bytes: Option<usize>,
}

impl DataArgs {
    /// The folder, else what is to be generated: `resources` where the command line does not say how many.
    #[must_use]
    pub fn data_or(&self, resources: u64) -> Data {
        match &self.data {
            Some(folder) => Data::Folder(folder.clone()),
            None => Data::Generate(GenerateOptions {
                line_bytes: self.line_bytes,
                ..GenerateOptions::resources(self.seed, self.generate.unwrap_or(resources))
            }),
        }
    }
}

/// Where the practice's resources come from.
#[derive(Debug, Clone)]
pub enum Data {
    /// A folder of NDJSON.
    Folder(PathBuf),
    /// Synthetic resources.
    Generate(GenerateOptions),
}

/// A practice with known content, and an app with its consent.
#[derive(Debug)]
pub struct Trial {
    installation: Arc<Installation>,
    app: TestApp,
    practice: Practice,
    vendor: AppHandle,
    key_file: PathBuf,
    input: PathBuf,
    expected: Multiset,
    exports: u32,
}

impl Trial {
    /// Starts the servers and one worker, generates where that is asked for, loads, registers and consents.
    /// Says on standard error what it is doing. Options that are not in `settings` have the product's defaults.
    ///
    /// # Errors
    /// When any of it fails.
    pub async fn prepare(data: &Data, settings: &Settings) -> Result<Self> {
        eprintln!("starting PostgreSQL, S3, the API and a worker");
        let installation = Installation::start().await?;
        let input = match data {
            Data::Folder(folder) => folder.clone(),
            Data::Generate(options) => generate(options.clone(), installation.new_folder("input")?).await?,
        };
        let expected = read(input.clone()).await?;
        let (count, bytes) = (HumanCount(expected.len()), HumanBytes(expected.bytes()));
        eprintln!("the input has {count} resources, {bytes}");
        let app =
            TestApp::builder().on(Arc::clone(&installation)).defaults().settings(settings).start().await?;
        let loading =
            app.practice(100_491, "trial").from_folder(&input, bar("loading", "{bytes} of {total_bytes}"));
        let practice = loading.create().await.context("the practice was not made")?;
        if let Some(report) = &practice.loaded {
            eprintln!(
                "loaded in {:.1} s, {:.0} MB/s",
                report.seconds,
                report.bytes as f64 / 1e6 / report.seconds
            );
        }
        let vendor = app.vendor_app(&["system/*.rs"]).await?;
        app.consent(&practice, &vendor).await?;
        let key_file = app.folder().join("key.jwk");
        std::fs::write(&key_file, vendor.private_jwk()?)?;
        Ok(Self { installation, app, practice, vendor, key_file, input, expected, exports: 0 })
    }

    /// The Headgate that is tried.
    pub fn app(&mut self) -> &mut TestApp {
        &mut self.app
    }

    /// The same, as long as no process is touched, and the practice that the resources were loaded for.
    #[must_use]
    pub fn app_and_practice(&self) -> (&TestApp, &Practice) {
        (&self.app, &self.practice)
    }

    /// What an export must have.
    #[must_use]
    pub fn expected(&self) -> &Multiset {
        &self.expected
    }

    /// Starts the client `headgate export` at system level.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin_export(&mut self) -> Result<RunningExport> {
        self.exports += 1;
        let out = self.app.folder().join(format!("export-{}", self.exports));
        RunningExport::start(&self.practice, &self.vendor, &self.key_file, out)
    }

    /// Compares what a client has written into a folder with the input, and deletes the folder.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn compare(&self, out: &Path) -> Result<Compared> {
        let (expected, input, out) = (self.expected.clone(), self.input.clone(), out.to_path_buf());
        blocking(move || {
            let compared = Compared::new(&expected, &input, &out)?;
            std::fs::remove_dir_all(&out)?;
            Ok(compared)
        })
        .await
    }

    /// Ends everything and returns when it is gone.
    ///
    /// # Errors
    /// When PostgreSQL does not stop.
    pub async fn stop(self) -> Result<()> {
        let Self { installation, app, practice, .. } = self;
        practice.ehr().close().await;
        app.stop().await;
        installation.stop().await
    }
}

/// A bar for the terminal; nothing where standard error is none.
pub(super) fn bar(what: &'static str, amounts: &str) -> ProgressBar {
    let template = format!("{{prefix}} {{wide_bar}} {amounts} {{msg}} {{eta}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style).with_prefix(what)
}

async fn generate(options: GenerateOptions, folder: PathBuf) -> Result<PathBuf> {
    let generator = Generator::new(options)?;
    eprintln!("generating {} resources", HumanCount(generator.resources()));
    let into = folder.clone();
    blocking(move || Ok(generator.write_ndjson(&into, &bar("generating", "{human_pos} of {human_len}"))?))
        .await?;
    Ok(folder)
}

async fn read(input: PathBuf) -> Result<Multiset> {
    blocking(move || Ok(Multiset::of_folder(&input)?.sorted())).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
