//! `mcp-oauth doctor`: is this deployment as it should be?
//!
//! Asks the deployment from outside, as clients do, and what stands behind it as the server does.
//!
//! ```text
//! storage    keys, replay store               upstreams  discovery, credentials, callback
//! reach      name, TLS, certificate           backends   reached, and speaking MCP
//! metadata   every well-known form, CORS      clock      ours against theirs
//! entry      registration, redirects, CIMD    sizes      tokens, and whom they strain
//! resources  the challenge, slashes, large headers
//! ```
//!
//! Nothing that it asks changes anything: registrations are stateless, no sign-in is finished, no
//! token is minted that anybody takes, and the code that it shows a provider is made up.

mod backends;
mod clock;
mod entry;
mod finding;
mod metadata;
mod patient;
mod reach;
mod resources;
mod sizes;
mod storage;
mod upstreams;

use std::sync::Arc;

use self::finding::Notes;
use self::patient::Patient;
use crate::config::Loaded;
use crate::net::ClientError;
use crate::time::Clock;

pub use self::finding::{Area, Finding, Fix, Report, Status};

/// Examines the deployment that a configuration describes.
///
/// # Errors
///
/// When this computer cannot ask anything: no certificate authorities, say.
pub async fn examine(loaded: &Loaded, clock: &Arc<dyn Clock>) -> Result<Report, ClientError> {
    let patient = Patient::new(loaded, clock.now())?;
    let mut report = Report::default();
    report.add(configuration(&patient));
    let keyring = storage::keys(&patient, &mut report);
    report.add(storage::store(&patient, clock).await);
    let (reached, notes) = reach::examine(&patient).await;
    report.add(notes);
    if reached {
        report.add(metadata::examine(&patient).await);
        report.add(entry::examine(&patient, keyring.as_deref()).await);
        report.add(resources::examine(&patient).await);
    }
    report.add(upstreams::examine(&patient, clock).await);
    report.add(backends::examine(&patient).await);
    report.add(clock::examine(&patient, clock).await);
    if let Some(keyring) = keyring {
        report.add(sizes::examine(&patient, &keyring));
    }
    Ok(report)
}

/// What `config check` warns of.
fn configuration(patient: &Patient<'_>) -> Notes {
    let mut notes = Notes::about(Area::Configuration);
    let warnings = &patient.config().warnings;
    for warning in warnings {
        let fix = Fix {
            place: warning.place.clone(),
            key: warning.key.clone(),
            change: warning.hint.clone().unwrap_or_default(),
        };
        notes.warn(warning.message.clone(), fix);
    }
    if warnings.is_empty() {
        let name = patient.loaded.file().unwrap_or("the environment");
        notes.fine(format!("{name} has no problems"));
    }
    notes
}
