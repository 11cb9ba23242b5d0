//! What the store could not be told when it was due: told again in the background.
//!
//! A claim or a lease that nobody gives back keeps an honest client waiting for its end, and a
//! rotation that is not written down ends its grant. Refuses to pile up: a bounded number waits,
//! each for half a minute.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::App;
use crate::replay::{ReplayStore, StoreError};
use crate::request;

/// How many messages may wait at once. With more trouble than that, what is left ends by itself.
const WAITING: usize = 512;
/// The pauses before each try: the first lets an answer come that was only late.
const PAUSES: [Duration; 10] = [
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(8),
];

/// Room for what waits.
#[derive(Debug)]
pub(super) struct Untold(Arc<Semaphore>);

impl Default for Untold {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WAITING)))
    }
}

impl App {
    /// Tells the store later, until it hears. Each message can be told twice.
    pub(super) fn tell_later<Tell, Told>(self: &Arc<Self>, what: &'static str, mut tell: Tell)
    where
        Tell: FnMut(Arc<dyn ReplayStore>) -> Told + Send + 'static,
        Told: Future<Output = Result<(), StoreError>> + Send,
    {
        let Ok(permit) = Arc::clone(&self.untold.0).try_acquire_owned() else {
            tracing::warn!(
                what,
                "too much waits for the replay store; this is left to end by itself"
            );
            return;
        };
        let store = Arc::clone(&self.replay);
        tokio::spawn(request::carried(async move {
            let _permit = permit;
            for pause in PAUSES {
                tokio::time::sleep(pause).await;
                if tell(Arc::clone(&store)).await.is_ok() {
                    return;
                }
            }
            tracing::warn!(
                what,
                "the replay store was not told in time; this ends by itself"
            );
        }));
    }
}
