//! Workers: a thread for each core, each with a runtime of its own.
//!
//! A connection stays with one worker, and so do its streams and its connections to the backend:
//! nothing that a request waits for wakes another thread. What serves no connection stays in the
//! runtime of the process. Refuses to move a task once it has begun: a busy worker keeps its own.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

thread_local! {
    /// Which worker this thread is.
    static INDEX: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How many workers there are: one for each core that the process may use.
fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Threads that serve connections. What they do ends when this is dropped.
pub struct Workers {
    /// Empty where everything runs in the runtime of the caller.
    runtimes: Vec<Handle>,
    next: AtomicUsize,
    end: CancellationToken,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("count", &self.runtimes.len())
            .finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts a thread for each core.
    ///
    /// # Errors
    ///
    /// If the system gives no more threads or descriptors.
    pub fn start() -> io::Result<Self> {
        let mut workers = Self::here();
        for index in 0..count() {
            let end = workers.end.clone();
            workers.runtimes.push(worker(index, end)?);
        }
        Ok(workers)
    }

    /// No thread: everything runs in the runtime that calls.
    pub fn here() -> Self {
        Self {
            runtimes: Vec::new(),
            next: AtomicUsize::new(0),
            end: CancellationToken::new(),
        }
    }

    /// Gives a task to the next worker in turn. It may begin on that thread only what it does when
    /// it is polled: a socket made before belongs to another runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(self.runtimes.len());
        match index.and_then(|index| self.runtimes.get(index)) {
            Some(runtime) => drop(runtime.spawn(task)),
            None => {
                let end = self.end.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = task => {}
                        () = end.cancelled() => {}
                    }
                });
            }
        }
    }
}

/// Starts one thread, which works until `end`.
fn worker(index: usize, end: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            INDEX.set(Some(index));
            runtime.block_on(end.cancelled());
            // A blocking call of somebody's resolver must not keep the process.
            runtime.shutdown_background();
        })?;
    Ok(handle)
}

/// A value for each worker, and one for every thread that is none.
#[derive(Debug)]
pub struct PerWorker<T> {
    workers: Box<[T]>,
    others: T,
}

impl<T> PerWorker<T> {
    /// Makes the values.
    pub fn new(make: impl Fn() -> T) -> Self {
        Self {
            workers: (0..count()).map(|_| make()).collect(),
            others: make(),
        }
    }

    /// The one of this thread.
    pub fn own(&self) -> &T {
        INDEX
            .get()
            .and_then(|index| self.workers.get(index))
            .unwrap_or(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn tasks_go_round_and_each_worker_has_its_own_value() {
        let workers = Workers::start().unwrap();
        let made = AtomicUsize::new(0);
        let values = Arc::new(PerWorker::new(|| made.fetch_add(1, Ordering::Relaxed)));
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for _ in 0..count() * 3 {
            let (sender, values) = (sender.clone(), Arc::clone(&values));
            workers.spawn(async move {
                let name = thread::current().name().unwrap().to_owned();
                sender.send((name, *values.own())).unwrap();
            });
        }
        drop(sender);
        let mut seen: HashMap<String, Vec<usize>> = HashMap::new();
        while let Some((name, value)) = receiver.recv().await {
            seen.entry(name).or_default().push(value);
        }
        assert_eq!(seen.len(), count());
        let others = *values.own();
        for (name, seen) in seen {
            assert_eq!(seen.len(), 3, "{name}");
            assert!(seen.iter().all(|it| *it == seen[0] && *it != others));
        }
    }

    #[tokio::test]
    async fn workers_end_with_their_handle_and_drop_what_they_hold() {
        let workers = Workers::start().unwrap();
        let (sender, mut receiver) = mpsc::channel::<()>(1);
        workers.spawn(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        drop(workers);
        assert_eq!(receiver.recv().await, None);
    }

    #[tokio::test]
    async fn without_threads_tasks_run_where_they_are_given() {
        let (sender, mut receiver) = mpsc::channel(1);
        let workers = Workers::here();
        workers.spawn(async move {
            sender.send(thread::current().id()).await.unwrap();
        });
        assert_eq!(receiver.recv().await, Some(thread::current().id()));
    }
}
