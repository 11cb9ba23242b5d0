//! One request among many: what it is called, from its head to its answer.
//!
//! ```text
//! Entrance   the first layer: names the request, times it, tells its name in the answer
//! Endpoint   which of few things it is about
//! Trace      X-Request-Id and traceparent
//! current()  the request that this task works for; log lines carry its ids
//! ```
//!
//! The name travels with the task, not with a span: a span costs an allocation per request even
//! where nothing is logged. Work that outlives its request takes it along with [`carried`].

mod endpoint;
mod entrance;
mod trace;

use std::future::Future;

pub use self::endpoint::{Endpoint, Endpoints};
pub use self::entrance::{Entered, Entrance, Named};
pub use self::trace::{TRACEPARENT, TRACESTATE, Trace, X_REQUEST_ID};

tokio::task_local! {
    static CURRENT: Trace;
}

/// The request that this task works for.
pub fn current() -> Option<Trace> {
    CURRENT.try_with(|trace| *trace).ok()
}

/// Work for another task, done in the name of this request.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let current = current();
    async move {
        match current {
            Some(trace) => CURRENT.scope(trace, work).await,
            None => work.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[tokio::test]
    async fn carried_work_has_the_name_of_its_request() {
        let trace = Trace::of(&HeaderMap::new(), &mut crate::entropy::rng());
        let id = |trace: Option<Trace>| trace.map(|it| it.request_id().to_owned());
        let (carried, left) = CURRENT
            .scope(trace, async {
                let carried = tokio::spawn(carried(async { current() }));
                let left = tokio::spawn(async { current() });
                (carried.await.unwrap(), left.await.unwrap())
            })
            .await;
        assert_eq!(id(carried).as_deref(), Some(trace.request_id()));
        assert_eq!(id(left), None);
        assert_eq!(id(current()), None);
    }
}
