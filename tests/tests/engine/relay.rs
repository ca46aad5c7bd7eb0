//! A socket in front of the PostgreSQL server that a test can take away and put back: so the control database is away
//! for one process and not for the others. Or it falls silent: connections stay open, and nothing comes through them any
//! more, as when the machine behind them has vanished.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What PostgreSQL calls its socket in the folder that a URL names as host.
const SOCKET: &str = ".s.PGSQL.5432";

/// The relay. It begins closed.
pub struct Relay {
    folder: PathBuf,
    server: PathBuf,
    url: String,
    open: Option<JoinHandle<()>>,
    silent: watch::Sender<bool>,
}

impl Relay {
    /// In front of the server of `url`, with its socket in `folder`.
    pub fn new(url: &str, folder: &Path) -> Result<Self> {
        let (address, host) = url.split_once("?host=").context("the server listens on a socket")?;
        let url = format!("{address}?host={}", folder.display());
        let server = Path::new(host).join(SOCKET);
        Ok(Self { folder: folder.to_owned(), server, url, open: None, silent: watch::Sender::new(false) })
    }

    /// The URL of the same database through the relay.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets connections through from now on.
    pub fn open(&mut self) -> Result<()> {
        let listener = UnixListener::bind(self.folder.join(SOCKET))?;
        let (server, silent) = (self.server.clone(), self.silent.subscribe());
        self.open = Some(tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server.clone(), silent.clone()));
            }
        }));
        Ok(())
    }

    /// Whether nothing comes through. Connections that were silent once stay so for ever.
    pub fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// Breaks all connections and refuses new ones.
    pub async fn close(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            open.abort();
            let _aborted = open.await;
            std::fs::remove_file(self.folder.join(SOCKET))?;
        }
        Ok(())
    }
}

/// Carries a connection until one end closes it, or until it falls silent: then both ends stay open.
async fn carry(mut client: UnixStream, server: PathBuf, mut silent: watch::Receiver<bool>) {
    let Ok(mut server) = UnixStream::connect(server).await else { return };
    tokio::select! {
        biased;
        _ = silent.wait_for(|silent| *silent) => {}
        _ = copy_bidirectional(&mut client, &mut server) => return,
    }
    std::future::pending::<()>().await;
}
