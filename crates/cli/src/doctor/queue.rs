//! Whether the queue is there, by which a kick-off wakes a worker.

use headgate_store::{QueueFacts, Store};

use super::finding::Finding;
use crate::failure::with_causes;

/// Looks at its table.
pub async fn check(store: &Store) -> Vec<Finding> {
    const CHECK: &str = "queue";
    let mend = "`headgate migrate`, as the owner of the database";
    vec![match store.queue_facts().await {
        Ok(QueueFacts { exists: true, may_send: true }) => Finding::ok(CHECK, "messages can be sent"),
        Ok(QueueFacts { exists: true, may_send: false }) => {
            Finding::failed(CHECK, "the role that we are connected as may not send messages", mend)
        }
        Ok(QueueFacts { exists: false, .. }) => Finding::failed(CHECK, "its tables are missing", mend),
        Err(error) => Finding::failed(CHECK, with_causes(&error), "see the server's log"),
    }]
}
