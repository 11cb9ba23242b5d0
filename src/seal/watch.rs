//! The live handle on the keys: loaded once, then kept up to date while the server runs.
//!
//! Content is compared, not modification times or inodes: orchestrators swap symbolic links. What
//! cannot be used is refused as a whole and said once; the ring that works stays.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::CryptoRng;
use sha2::{Digest as _, Sha256};

use super::directory::{KeyDirectory, KeyFile};
use super::keyfile::{KeyError, RootKey};
use super::keyring::Keyring;
use super::{OpenError, Opened, Record, Sealed};
use crate::audit::{Event, Kind};
use crate::oauth::names::{Issuer, Secret};
use crate::time::Timestamp;

/// How often files are compared, and how often at most an unknown `kid` makes us look sooner.
const INTERVAL: Duration = Duration::from_secs(5);

/// Where the root keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// One JWK file per key.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Whether to make a first key if there is none: on loopback only.
        create: bool,
    },
    /// The JWK set itself, from `MCP_OAUTH_KEYS`.
    Inline(Secret),
}

/// The live handle on the keys: hot-reloaded, shared by the whole process.
pub struct Keys {
    ring: ArcSwap<Keyring>,
    /// None for keys that never change.
    files: Option<Files>,
}

struct Files {
    directory: KeyDirectory,
    issuer: Issuer,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Of the content, or of the error, that was last met.
    digest: [u8; 32],
    /// When an unknown `kid` last made us look.
    asked_at: Option<Timestamp>,
}

impl Keys {
    /// A ring that never changes: for tests, and for keys that come from the environment.
    pub fn fixed(keyring: Keyring) -> Self {
        Self {
            ring: ArcSwap::from_pointee(keyring),
            files: None,
        }
    }

    /// Loads the keys, and makes a first one where the source says so and there is none.
    pub fn load(
        source: &KeySource,
        issuer: &Issuer,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, KeyError> {
        let (path, create) = match source {
            KeySource::Directory { path, create } => (path, *create),
            KeySource::Inline(set) => {
                let place = "MCP_OAUTH_KEYS";
                let keys = RootKey::from_jwk_set(set.expose(), place)?;
                return Keyring::new(&keys, issuer, place).map(Self::fixed);
            }
        };
        let directory = KeyDirectory::new(path);
        if create && directory.read()?.is_empty() {
            let first = directory.create_first(now, rng)?;
            tracing::info!(kid = %first.key.kid(), file = %first.path.display(), "made a root key");
        }
        let contents = directory.contents()?;
        let digest = contents.digest;
        let keyring = understand(&directory, KeyDirectory::parse(contents)?, issuer)?;
        Ok(Self {
            ring: ArcSwap::from_pointee(keyring),
            files: Some(Files {
                directory,
                issuer: issuer.clone(),
                seen: Mutex::new(Seen {
                    digest,
                    asked_at: None,
                }),
            }),
        })
    }

    /// The keys as of now, for sealing.
    pub fn current(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    /// As [`Keyring::open`]; an unknown `kid` in a well-formed header makes it look for new keys,
    /// at most once in five seconds.
    pub fn open<T: Record>(
        &self,
        token: &Sealed<T>,
        now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        let ring = self.ring.load();
        let opened = ring.opened(token, now);
        if !matches!(opened, Err(OpenError::UnknownKey)) {
            return ring.noted(opened);
        }
        self.look_again(now);
        let fresh = self.ring.load();
        if Arc::ptr_eq(&ring, &fresh) {
            return ring.noted(opened);
        }
        fresh.open(token, now)
    }

    /// Looks for changed files now. Returns whether the ring was replaced. A handful of small files
    /// are read: not for the inside of a busy loop.
    pub fn reload(&self) -> bool {
        let Some(files) = &self.files else {
            return false;
        };
        // A poisoned lock guards nothing but a digest and a time.
        let mut seen = files.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.compare(files, &mut seen)
    }

    /// Keeps the keys up to date, every five seconds and on SIGHUP. Never ends.
    pub async fn watch(self: Arc<Self>) {
        if self.files.is_none() {
            return std::future::pending().await;
        }
        let mut hangup = Hangup::listen();
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = hangup.received() => {}
            }
            let keys = Arc::clone(&self);
            // Fails only when the runtime is shutting down.
            let _ = tokio::task::spawn_blocking(move || keys.reload()).await;
        }
    }

    fn look_again(&self, now: Timestamp) {
        let Some(files) = &self.files else {
            return;
        };
        let mut seen = files.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.asked_at.is_some_and(|at| now.since(at) < INTERVAL) {
            return;
        }
        seen.asked_at = Some(now);
        self.compare(files, &mut seen);
    }

    fn compare(&self, files: &Files, seen: &mut Seen) -> bool {
        let contents = match files.directory.contents() {
            Ok(contents) if contents.digest == seen.digest => return false,
            Ok(contents) => contents,
            Err(error) => {
                let digest = Sha256::digest(error.to_string()).into();
                if seen.digest != digest {
                    seen.digest = digest;
                    keep(&error);
                }
                return false;
            }
        };
        // Remembered even if unusable: what is wrong is said once, not every five seconds.
        seen.digest = contents.digest;
        let ring = KeyDirectory::parse(contents)
            .and_then(|keys| understand(&files.directory, keys, &files.issuer));
        match ring {
            Ok(ring) => {
                Event::new(Kind::KeyChange).keys(ring.summary()).record();
                self.ring.store(Arc::new(ring));
                true
            }
            Err(error) => {
                keep(&error);
                false
            }
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.ring.load()).finish()
    }
}

fn understand(
    directory: &KeyDirectory,
    files: Vec<KeyFile>,
    issuer: &Issuer,
) -> Result<Keyring, KeyError> {
    for file in files.iter().filter(|file| file.exposed) {
        let path = file.path.display();
        tracing::warn!(file = %path, "others can read this root key: `chmod 600` it");
    }
    let keys: Vec<RootKey> = files.into_iter().map(|file| file.key).collect();
    Keyring::new(&keys, issuer, &directory.path().display().to_string())
}

fn keep(error: &KeyError) {
    let reason = match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Event::new(Kind::KeyChangeRefused).reason(&reason).record();
}

/// SIGHUP, where there is such a thing.
struct Hangup(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangup {
    #[cfg(unix)]
    fn listen() -> Self {
        let kind = tokio::signal::unix::SignalKind::hangup();
        Self(tokio::signal::unix::signal(kind).ok())
    }

    #[cfg(not(unix))]
    fn listen() -> Self {
        Self()
    }

    #[cfg_attr(
        not(unix),
        expect(clippy::unused_async, reason = "nothing to wait for")
    )]
    async fn received(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0 {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}
