//! Doorbells: messages that wake a worker. They carry no work, only the news that there may be some.
//!
//! The queue is apalis on PostgreSQL. A message is pushed on the connection, and so in the transaction,
//! of the state change it announces; the handler only wakes the worker's acquire loop. A message that
//! is lost, doubled or late changes nothing: the loop polls by itself, and the reconciler rings again.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{BoxDynError, Data, TaskBuilder, WorkerBuilder};
use apalis_postgres::{Config, PostgresStorage};
use headgate_domain::PracticeNumber;
use headgate_metrics::database::DOORBELLS;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::{Error, Result, Store};

/// The queue's name.
pub const QUEUE: &str = "headgate";

/// What a message says: at which practice something happened. Ids only.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Doorbell {
    practice_number: i64,
}

/// Rings within the caller's transaction: delivered at commit, gone at rollback.
pub(crate) async fn ring(connection: &mut PgConnection, practice: PracticeNumber) -> Result<()> {
    let doorbell = Doorbell { practice_number: practice.get() };
    let message = serde_json::to_vec(&doorbell).map_err(|e| Error::Queue(e.to_string()))?;
    // run_at 0: due whatever the clocks say.
    let task = TaskBuilder::new(message).run_at_timestamp(0).build();
    apalis_postgres::queries::push_tasks(connection, QUEUE, vec![task]).await.map_err(error)
}

/// The receiving end of the doorbells, for one worker process.
#[derive(Debug)]
pub struct Doorbells {
    wake: Arc<Notify>,
}

impl Doorbells {
    /// Rings end in `wake`.
    #[must_use]
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { wake }
    }

    /// Listens until the connection fails. The caller starts it again, after a pause: each run is a
    /// new worker to the queue, because a name that is used twice keeps dead messages alive.
    ///
    /// # Errors
    /// When the queue's connection fails.
    pub async fn listen(&self, store: &Store, name: &str) -> Result<()> {
        let config = Config::default()
            .queue(QUEUE)
            .batch_size(1)
            .heartbeat_interval(Duration::from_secs(5))
            .missed_heartbeats(6);
        let backend = PostgresStorage::new(&store.pool).with_config(config).with_pubsub();
        let worker = WorkerBuilder::new(name).backend(backend).data(Arc::clone(&self.wake)).build(answer);
        worker.run().await.map_err(|_| Error::Queue("the listener stopped".to_owned()))
    }
}

/// Wakes the acquire loop and is done in microseconds.
async fn answer(
    _doorbell: serde_json::Value,
    wake: Data<Arc<Notify>>,
) -> std::result::Result<(), BoxDynError> {
    DOORBELLS.add(1, &[]);
    wake.notify_one();
    Ok(())
}

/// The queue's own error texts may quote statements; of the database's only what is safe is passed on.
pub(crate) fn error(error: apalis_postgres::Error) -> Error {
    match error {
        apalis_postgres::Error::Database(error) => error.into(),
        _ => Error::Queue("the queue's tables are not as expected".to_owned()),
    }
}
