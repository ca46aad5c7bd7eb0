//! A socket in front of the PostgreSQL server that a test can take away and put back: so the control database is away
//! for one process and not for the others.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// What PostgreSQL calls its socket in the folder that a URL names as host.
const SOCKET: &str = ".s.PGSQL.5432";

/// The relay. It begins closed.
pub struct Relay {
    folder: PathBuf,
    server: PathBuf,
    url: String,
    open: Option<JoinHandle<()>>,
}

impl Relay {
    /// In front of the server of `url`, with its socket in `folder`.
    pub fn new(url: &str, folder: &Path) -> Result<Self> {
        let (address, host) = url.split_once("?host=").context("the server listens on a socket")?;
        let url = format!("{address}?host={}", folder.display());
        Ok(Self { folder: folder.to_owned(), server: Path::new(host).join(SOCKET), url, open: None })
    }

    /// The URL of the same database through the relay.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets connections through from now on.
    pub fn open(&mut self) -> Result<()> {
        let listener = UnixListener::bind(self.folder.join(SOCKET))?;
        let server = self.server.clone();
        self.open = Some(tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    if let Ok(mut server) = UnixStream::connect(server).await {
                        let _ended = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        }));
        Ok(())
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
