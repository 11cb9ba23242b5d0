//! Keeps the line to the store: makes it, makes sure that the store kept its memory, and every two
//! seconds brings home what other replicas revoked.
//!
//! Refuses a store that evicts, a replica of one, and one that is too old.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::AsyncConnectionConfig;
use tokio::time::timeout;

use super::link::{Line, Request};
use super::scripts::{Call, LOOK, MEET};
use super::server::Server;
use super::{Inner, OpenError, answers};
use crate::audit::{Event, Kind};
use crate::entropy;
use crate::figures;
use crate::oauth::names::InstanceId;
use crate::replay::StoreError;
use crate::replay::shards::after;

/// How often revocations are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a lost store is looked for.
const DIAL_EVERY: Duration = Duration::from_secs(1);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How many revocations are read at once.
const LOT: usize = 500;

/// Runs until the store is dropped.
pub(super) async fn keep(store: Weak<Inner>) {
    let Some(bell) = store.upgrade().map(|it| Arc::clone(&it.link.bell)) else {
        return;
    };
    let mut trouble = None;
    loop {
        let pause = match store.upgrade() {
            Some(store) => store.look_after(&mut trouble).await,
            None => return,
        };
        // Rung when a line broke: it is made again at once.
        let _ = timeout(pause, bell.notified()).await;
    }
}

impl Inner {
    /// One round; says how long to wait until the next.
    async fn look_after(&self, trouble: &mut Option<String>) -> Duration {
        self.revoked.sweep(self.now());
        if self.link.current().is_some() {
            self.look_again().await;
            return LOOK_EVERY;
        }
        figures::REPLAY_STORE_UP.gauge(&[]).set(0.0);
        self.show_age();
        match self.dial().await {
            Ok(()) => {
                tracing::info!("the replay store is connected again");
                *trouble = None;
                LOOK_EVERY
            }
            Err(error) => {
                let error = error.to_string();
                self.link.close(&error);
                if trouble.as_ref() != Some(&error) {
                    tracing::error!("{error}");
                }
                *trouble = Some(error);
                DIAL_EVERY
            }
        }
    }

    /// Makes a line and opens it to everyone.
    pub(super) async fn dial(&self) -> Result<(), OpenError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            // Longer than any operation waits: those count their own missing answers.
            .set_response_timeout(Some(CONNECT));
        let made = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut line = Line {
            connection: made.await?,
            epoch: "".into(),
            serial: self.link.next_serial(),
        };
        let server = Server::ask(&line).await?;
        self.meet(&mut line, &server.identity).await?;
        self.look(Some(&line)).await?;
        self.looked.store(self.now(), Ordering::Relaxed);
        self.link.open(line);
        figures::REPLAY_STORE_UP.gauge(&[]).set(1.0);
        Ok(())
    }

    /// Finds out whether this is the store that we knew, and gives it back what it lost.
    async fn meet(&self, line: &mut Line, server: &str) -> Result<(), OpenError> {
        let known = self.epoch.load_full();
        let known = known.as_deref().map_or("", |it| it.as_ref());
        let meet = Call::of(&MEET)
            .key(self.keys.epoch())
            .text(known)
            .text(server)
            .show(&InstanceId::random(&mut entropy::rng()))
            .show(&self.clock.now());
        let answer = line.send_in_time(&Request::Script(meet)).await?;
        let epoch = answers::epoch(answer)?;
        line.epoch = epoch.as_str().into();
        if known == epoch {
            return Ok(());
        }
        self.seen.store(0, Ordering::Relaxed);
        if !known.is_empty() {
            Event::new(Kind::StoreDiscontinuity).record();
            self.write_back(line).await?;
        }
        self.epoch.store(Some(Arc::new(Arc::clone(&line.epoch))));
        Ok(())
    }

    /// Revokes in the store what this process knows to be revoked.
    async fn write_back(&self, line: &Line) -> Result<(), OpenError> {
        let now = self.now();
        for (grant, end) in self.revoked.all() {
            let rest = Duration::from_millis(end.saturating_sub(now));
            if !rest.is_zero() {
                let revoke = Request::Script(self.revoke_call(&grant, rest));
                line.send_in_time(&revoke).await?;
            }
        }
        Ok(())
    }

    async fn look_again(&self) {
        match self.look(None).await {
            Ok(()) => self.looked.store(self.now(), Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "revocations could not be read");
            }
        }
        self.show_age();
    }

    fn show_age(&self) {
        let looked = self.looked.load(Ordering::Relaxed);
        let age = Duration::from_millis(self.now().saturating_sub(looked));
        figures::REVOCATION_AGE.gauge(&[]).set(age.as_secs_f64());
    }

    /// Reads what was revoked since the last look: over a new line, or over everyone's.
    async fn look(&self, line: Option<&Line>) -> Result<(), StoreError> {
        loop {
            let look = Call::of(&LOOK)
                .key(self.keys.epoch())
                .key(self.keys.log())
                .key(self.keys.ends())
                .show(&self.seen.load(Ordering::Relaxed))
                .show(&LOT);
            let look = Request::Script(look);
            let answer = match line {
                Some(line) => line.send_in_time(&look).await?,
                None => self.link.ask(&look).await?,
            };
            let (epoch, revocations) = answers::revocations(answer)?;
            if self.epoch.load().as_deref().map(AsRef::as_ref) != Some(epoch.as_str()) {
                self.link.start_over();
                return Err(StoreError::Unavailable("it lost its memory".into()));
            }
            let now = self.now();
            for revocation in &revocations {
                let end = after(now, revocation.rest);
                self.revoked.insert(revocation.grant, end)?;
                self.seen.fetch_max(revocation.number, Ordering::Relaxed);
            }
            if revocations.len() < LOT {
                return Ok(());
            }
        }
    }
}
