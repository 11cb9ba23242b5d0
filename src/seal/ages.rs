//! How old the root keys are, as a figure.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::keyring::Kid;
use super::watch::Keys;
use crate::figures;
use crate::time::Timestamp;

/// Sets `key_age_seconds` of every key.
#[derive(Debug)]
pub struct Ages {
    keys: Arc<Keys>,
    shown: Mutex<BTreeSet<(Kid, String)>>,
}

impl Ages {
    /// The ages of these keys.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            shown: Mutex::default(),
        }
    }

    /// Brings the figure up to date. What a key was before is not a number from then on: a series
    /// cannot be taken back.
    pub fn update(&self, now: Timestamp) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (kid, state) in shown.iter() {
            let gauge = figures::KEY_AGE.gauge(&[&kid.to_string(), state]);
            gauge.set(f64::NAN);
        }
        for (kid, state, made_at) in self.keys.current().states() {
            let state = state.to_string();
            let gauge = figures::KEY_AGE.gauge(&[&kid.to_string(), &state]);
            gauge.set(now.since(made_at).as_secs_f64());
            shown.insert((kid.clone(), state));
        }
    }
}
