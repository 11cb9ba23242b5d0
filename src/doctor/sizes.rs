//! How large tokens become with these keys, and whom that strains.
//!
//! Measured, not estimated: records as these resources get them are sealed with the real keys.

use std::time::Duration;

use super::finding::{Area, Notes};
use super::patient::Patient;
use crate::config::Resource;
use crate::entropy;
use crate::oauth::names::{
    ClientHash, GrantId, InstanceId, Secret, Subject, TokenId, UpstreamFingerprint,
};
use crate::oauth::records::{AccessToken, AuthMethod, RefreshToken, UpstreamCredential};
use crate::seal::Keyring;

/// One entry of the Windows Credential Manager, in which some clients keep both tokens.
const CREDENTIAL_ENTRY: usize = 2_560;
/// Where servers and proxies with small header buffers begin to refuse.
const HEADER: usize = 4_096;
/// What no token of ours may reach, so that 8 KB buffers suffice.
const HEADER_LIMIT: usize = 7_168;
/// Providers' tokens as they are: opaque, a plain JWT, a JWT with groups.
const UPSTREAM_TOKENS: [(&str, usize); 3] = [
    ("an opaque", 64),
    ("a plain JWT", 1_100),
    ("a large JWT", 2_600),
];

/// Seals a sample for every resource.
pub(super) fn examine(patient: &Patient<'_>, keyring: &Keyring) -> Notes {
    let mut notes = Notes::about(Area::Sizes);
    for resource in &patient.config().resources {
        if resource.forward.needs_upstream_token() {
            for (kind, bytes) in UPSTREAM_TOKENS {
                let what = format!("{kind} provider token ({bytes} bytes)");
                judge(patient, keyring, resource, Some((&what, bytes)), &mut notes);
            }
        } else {
            judge(patient, keyring, resource, None, &mut notes);
        }
    }
    notes
}

fn judge(
    patient: &Patient<'_>,
    keyring: &Keyring,
    resource: &Resource,
    inside: Option<(&str, usize)>,
    notes: &mut Notes,
) {
    let bytes = inside.map(|(_, bytes)| bytes);
    let (Some(access), Some(refresh)) = (
        access(patient, keyring, resource, bytes),
        refresh(patient, keyring, resource),
    ) else {
        return;
    };
    let path = if resource.path.is_empty() {
        "/"
    } else {
        &resource.path
    };
    let with = inside.map_or_else(String::new, |(what, _)| format!(" with {what} inside"));
    let message = format!("{path}: access token {access} bytes{with}, refresh token {refresh}");
    let fix = |change: &str| patient.fix_resource(resource, "forward", change);
    if access > HEADER_LIMIT {
        let change = "\"identity\" only: most proxies refuse such a header";
        notes.fail(
            format!("{message}; no client gets it through 8 KB"),
            fix(change),
        );
    } else if access > HEADER {
        let change = "\"identity\" only, or allow 16 KB of headers on the whole way";
        notes.warn(
            format!("{message}; servers with 4 KB of headers strain: older Python and Java ones"),
            fix(change),
        );
    } else if access + refresh > CREDENTIAL_ENTRY {
        let change = "\"identity\" only, where people use such clients on Windows";
        notes.warn(
            format!("{message}; clients that keep both in one Windows credential strain: Codex"),
            fix(change),
        );
    } else {
        notes.fine(format!("{message}; no known client strains"));
    }
}

fn access(
    patient: &Patient<'_>,
    keyring: &Keyring,
    resource: &Resource,
    upstream_token: Option<usize>,
) -> Option<usize> {
    let rng = &mut entropy::rng();
    let known = |text: &str| resource.forward.identity.then(|| text.to_owned());
    let record = AccessToken {
        iss: patient.config().public_url.issuer.to_string(),
        sub: subject(resource),
        aud: resource.uri.to_string(),
        client_id: ClientHash::of("doctor"),
        scope: resource.scopes.clone(),
        iat: patient.now,
        exp: patient.now.plus(Duration::from_secs(3_600)),
        jti: TokenId::random(rng),
        grant: GrantId::random(rng),
        grant_issued_at: patient.now,
        fingerprint: UpstreamFingerprint::of_upstream("doctor", "doctor"),
        email: known("firstname.lastname@example.com"),
        preferred_username: known("firstname.lastname"),
        groups: Vec::new(),
        upstream_token: upstream_token.map(|bytes| Secret::new("t".repeat(bytes))),
    };
    let sealed = keyring.seal(&record, rng).ok()?;
    Some(sealed.as_str().len())
}

fn refresh(patient: &Patient<'_>, keyring: &Keyring, resource: &Resource) -> Option<usize> {
    let rng = &mut entropy::rng();
    let month = Duration::from_secs(30 * 86_400);
    let record = RefreshToken {
        subject: subject(resource),
        client: ClientHash::of("doctor"),
        auth_method: AuthMethod::None,
        resource: resource.path.clone(),
        scope: resource.scopes.clone(),
        grant: GrantId::random(rng),
        grant_issued_at: patient.now,
        generation: 1_000,
        grant_ends_at: patient.now.plus(month * 3),
        instance: InstanceId::random(rng),
        upstream: resource.upstream.clone(),
        fingerprint: UpstreamFingerprint::of_upstream("doctor", "doctor"),
        credential: UpstreamCredential::Refresh(Secret::new("r".repeat(128))),
        issued_at: patient.now,
        expires_at: patient.now.plus(month),
    };
    let sealed = keyring.seal(&record, rng).ok()?;
    Some(sealed.as_str().len())
}

fn subject(resource: &Resource) -> Subject {
    Subject::new(format!("{}:{}", resource.upstream, "0".repeat(21)))
}
