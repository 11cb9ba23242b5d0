//! Root keys and the replay store.

use std::sync::Arc;
use std::time::Duration;

use super::finding::{Area, Notes, Report};
use super::patient::Patient;
use crate::config::{KeySource, StoreKind};
use crate::entropy;
use crate::seal::{KeyDirectory, KeyState, Keyring, Keys};
use crate::server;
use crate::time::Clock;

const DAY: u64 = 86_400;
/// When a key that seals should have been replaced.
const OLD: Duration = Duration::from_secs(180 * DAY);

/// The keys, if they can be used.
pub(super) fn keys(patient: &Patient<'_>, report: &mut Report) -> Option<Arc<Keyring>> {
    let mut notes = Notes::about(Area::Keys);
    let keyring = load(patient, &mut notes);
    if let Some(keyring) = &keyring {
        judge(patient, keyring, &mut notes);
    }
    report.add(notes);
    keyring
}

fn load(patient: &Patient<'_>, notes: &mut Notes) -> Option<Arc<Keyring>> {
    let config = patient.config();
    // Looking never makes a key.
    let source = match &config.keys {
        KeySource::Directory { path, .. } => {
            exposed(patient, path, notes);
            KeySource::Directory {
                path: path.clone(),
                create: false,
            }
        }
        inline @ KeySource::Inline(_) => inline.clone(),
    };
    let issuer = &config.public_url.issuer;
    match Keys::load(&source, issuer, patient.now, &mut entropy::rng()) {
        Ok(keys) => Some(keys.current()),
        Err(error) => {
            let change = "make the first key with `mcp-oauth keys generate`, or mend this one";
            notes.fail(error.to_string(), patient.fix("keys.directory", change));
            None
        }
    }
}

fn exposed(patient: &Patient<'_>, path: &std::path::Path, notes: &mut Notes) {
    let files = KeyDirectory::new(path).read().unwrap_or_default();
    for file in files.iter().filter(|file| file.exposed) {
        let path = file.path.display();
        let change = format!("chmod 600 {path}");
        notes.warn(
            format!("others on this machine can read {path}"),
            patient.fix("keys.directory", change),
        );
    }
}

fn judge(patient: &Patient<'_>, keyring: &Keyring, notes: &mut Notes) {
    let mut states: Vec<_> = keyring.states().collect();
    states.sort_by_key(|(_, _, created)| *created);
    for (kid, state, created) in states {
        let age = patient.now.since(created);
        let days = age.as_secs() / DAY;
        if state == KeyState::Active && age > OLD {
            let change = "`mcp-oauth keys rotate`, deploy, then `mcp-oauth keys rotate --promote`";
            notes.warn(
                format!("key {kid} is active and {days} days old"),
                patient.fix("keys.directory", change),
            );
        } else {
            notes.fine(format!("key {kid} is {state}, {days} days old"));
        }
    }
}

/// The replay store.
pub(super) async fn store(patient: &Patient<'_>, clock: &Arc<dyn Clock>) -> Notes {
    let mut notes = Notes::about(Area::Store);
    let config = patient.config();
    match &config.replay.store {
        StoreKind::Memory => {
            notes.fine("memory: right for one process; nothing can be asked from here");
        }
        StoreKind::Upstream => {
            notes.fine("upstream: replicas share nothing; single use is the provider's");
        }
        StoreKind::Redis { .. } => {
            let key = "replay.url";
            match server::store(config, clock).await {
                Err(error) => notes.fail(error.to_string(), patient.fix(key, CHANGE)),
                Ok(store) => match store.ready().await {
                    Ok(()) => notes.fine("redis: answers, and is fit to remember"),
                    Err(error) => notes.fail(error.to_string(), patient.fix(key, CHANGE)),
                },
            }
        }
    }
    notes
}

const CHANGE: &str = "name a Redis 7 or Valkey that is reached from here and evicts nothing";
