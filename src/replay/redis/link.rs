//! The line to the store: who may use it now, how long an answer may take, when to stop asking.
//!
//! A request waits for at most [`ANSWER`]. After [`TIMEOUTS`] answers in a row that did not come,
//! or a connection that cannot be made, requests are refused at once; the keeper alone tries, once
//! a second, and opens the line again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::scripts::Call;
use crate::replay::StoreError;

/// How long an operation may take, replacing a dropped connection included. Two of them and what
/// else a token request does stay under 600 ms.
pub(super) const ANSWER: Duration = Duration::from_millis(250);
/// Missing answers in a row after which the line is given up.
const TIMEOUTS: u32 = 5;
const LATE: &str = "no answer in time";

/// What can be asked.
pub(super) enum Request {
    Script(Call),
    Plain(Cmd),
}

/// One connection, and what was learned when it was made.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) connection: MultiplexedConnection,
    /// The store's epoch as we know it.
    pub(super) epoch: Arc<str>,
    pub(super) serial: u64,
}

impl Line {
    /// Sends a request; teaches the server a script that it does not know.
    pub(super) async fn send(&self, request: &Request) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        let call = match request {
            Request::Plain(command) => return command.query_async(&mut connection).await,
            Request::Script(call) => call,
        };
        match call.by_hash().query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call.whole().query_async(&mut connection).await
            }
            answer => answer,
        }
    }

    /// Sends a request while the line is being made.
    pub(super) async fn send_in_time(&self, request: &Request) -> Result<Value, StoreError> {
        match timeout(ANSWER, self.send(request)).await {
            Ok(answer) => answer.map_err(|error| unavailable(&error)),
            Err(_) => Err(StoreError::Unavailable(LATE.into())),
        }
    }
}

#[derive(Clone)]
enum State {
    /// Being made for the first time or again: worth a short wait.
    Dialing,
    Up(Line),
    /// Not worth a wait, and why.
    Down(Arc<str>),
}

/// The line that everyone shares.
pub(super) struct Link {
    state: watch::Sender<State>,
    timeouts: AtomicU32,
    serials: AtomicU64,
    /// Rings when the line must be made again.
    pub(super) bell: Arc<Notify>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            state: watch::Sender::new(State::Dialing),
            timeouts: AtomicU32::new(0),
            serials: AtomicU64::new(0),
            bell: Arc::new(Notify::new()),
        }
    }

    /// Asks, and asks once more if the connection broke: every operation can be repeated.
    pub(super) async fn ask(&self, request: &Request) -> Result<Value, StoreError> {
        let patient = async {
            let line = self.line().await?;
            match line.send(request).await {
                Err(error) if is_broken(&error) => {
                    self.hang_up(line.serial);
                    let line = self.line().await?;
                    line.send(request)
                        .await
                        .map_err(|error| unavailable(&error))
                }
                answer => answer.map_err(|error| unavailable(&error)),
            }
        };
        let Ok(answer) = timeout(ANSWER, patient).await else {
            self.count_timeout();
            return Err(StoreError::Unavailable(LATE.into()));
        };
        if answer.is_ok() {
            self.timeouts.store(0, Ordering::Relaxed);
        }
        answer
    }

    /// The line, once it is known whether there is one.
    pub(super) async fn line(&self) -> Result<Line, StoreError> {
        let mut states = self.state.subscribe();
        let state = states
            .wait_for(|state| !matches!(state, State::Dialing))
            .await;
        match state.as_deref() {
            Ok(State::Up(line)) => Ok(line.clone()),
            Ok(State::Down(reason)) => Err(StoreError::Unavailable(reason.as_ref().into())),
            Ok(State::Dialing) | Err(_) => Err(StoreError::Unavailable("not connected".into())),
        }
    }

    /// The line, if it is up now.
    pub(super) fn current(&self) -> Option<Line> {
        match &*self.state.borrow() {
            State::Up(line) => Some(line.clone()),
            _ => None,
        }
    }

    /// A number for a new line.
    pub(super) fn next_serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens a new line to everyone.
    pub(super) fn open(&self, line: Line) {
        self.timeouts.store(0, Ordering::Relaxed);
        self.state.send_replace(State::Up(line));
    }

    /// Closes the line to everyone until it is opened again.
    pub(super) fn close(&self, reason: &str) {
        self.state.send_replace(State::Down(reason.into()));
    }

    /// Gives up a line that broke, if it is still the current one.
    pub(super) fn hang_up(&self, serial: u64) {
        self.leave(serial, State::Dialing);
    }

    /// Gives up the current line: its store is not the one that we knew.
    pub(super) fn start_over(&self) {
        if let Some(line) = self.current() {
            self.hang_up(line.serial);
        }
    }

    fn count_timeout(&self) {
        if self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 < TIMEOUTS {
            return;
        }
        if let Some(line) = self.current() {
            tracing::error!("the replay store does not answer; requests that need it are refused");
            self.leave(line.serial, State::Down("it does not answer".into()));
        }
    }

    fn leave(&self, serial: u64, next: State) {
        let left = self.state.send_if_modified(|state| match state {
            State::Up(line) if line.serial == serial => {
                *state = next;
                true
            }
            _ => false,
        });
        if left {
            self.bell.notify_one();
        }
    }
}

/// Whether another connection may help: this one broke, or its server is no longer the primary.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// An error for the log and for [`StoreError`]: what kind it was, and nothing that was sent.
pub(super) fn unavailable(error: &RedisError) -> StoreError {
    StoreError::Unavailable(describe(error))
}

pub(super) fn describe(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} ({code})", error.category()),
        None if error.is_io_error() => format!("{} ({error})", error.category()),
        None => error.category().to_owned(),
    }
}
