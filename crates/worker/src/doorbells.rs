//! Listening to the doorbells, for ever: the listener is started anew after each failure, as a new worker to the queue.

use std::sync::Arc;
use std::time::Duration;

use headgate_store::{Doorbells, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Pause before the listener is started again. The acquire loop polls meanwhile.
const PAUSE: Duration = Duration::from_secs(2);

/// Wakes `wake` at each ring until `stop` is cancelled. The queue knows the listener by the id of the worker, which is
/// how operators see that it is there.
pub async fn listen(store: Store, worker: Uuid, wake: Arc<Notify>, stop: CancellationToken) {
    let doorbells = Doorbells::new(Arc::clone(&wake));
    loop {
        let name = format!("headgate-{worker}-{}", Uuid::new_v4());
        tokio::select! {
            () = stop.cancelled() => return,
            result = doorbells.listen(&store, &name) => {
                if result.is_err() {
                    tracing::warn!("the doorbells cannot be heard; polling goes on");
                }
            }
        }
        // What rang while nobody listened is found by looking.
        wake.notify_one();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
