//! From what an upstream said to what tokens carry: who the person is, and whether they may.

use crate::audit::{Event, Kind};
use crate::config::Resource;
use crate::figures;
use crate::oauth::error::Reason;
use crate::oauth::mint::{Terms, Vouched};
use crate::oauth::names::{ClientHash, GrantId, Subject, UpstreamFingerprint, UpstreamName};
use crate::oauth::records::UpstreamCredential;
use crate::upstream::{SignIn, Upstream, UpstreamError};

use super::App;

impl App {
    /// The upstream that a code or token names, if it still is the same provider and still the one
    /// of the resource.
    pub(super) fn upstream_of(
        &self,
        name: &UpstreamName,
        fingerprint: UpstreamFingerprint,
        resource: &str,
    ) -> Result<&dyn Upstream, Reason> {
        let rule = self.resources.at(resource).ok_or(Reason::ResourceGone)?;
        let upstream = self.upstreams.get(name).ok_or(Reason::OtherUpstream)?;
        let same = rule.upstream == *name && upstream.profile().fingerprint == fingerprint;
        if same {
            Ok(upstream.as_ref())
        } else {
            Err(Reason::OtherUpstream)
        }
    }

    /// Turns a sign-in into what tokens of a client's grant carry, if the access rules let the person in.
    pub(super) fn vouch(
        &self,
        upstream: &dyn Upstream,
        resource: &str,
        sign_in: SignIn,
        (grant, client): (GrantId, ClientHash),
    ) -> Result<Vouched, Reason> {
        let subject = Subject::of(&upstream.profile().name, &sign_in.id);
        let resource = self.resource(resource)?;
        if !resource.access.allows(&subject, &sign_in.identity) {
            figures::DENIED.counter(&["access_rule"]).increment(1);
            Event::new(Kind::AccessDenied)
                .grant(grant, client)
                .subject(&subject)
                .email(sign_in.identity.email.as_deref())
                .resource(&resource.path)
                .record();
            return Err(Reason::NotAllowed);
        }
        // With nothing to ask with, the grant ends with the access token.
        let nothing = matches!(sign_in.credential, UpstreamCredential::Nothing);
        Ok(Vouched {
            subject,
            identity: sign_in.identity,
            access_token: sign_in.access_token,
            access_expires_at: sign_in.access_expires_at,
            credential: (!nothing).then_some(sign_in.credential),
        })
    }

    /// The configuration of a resource.
    pub(super) fn resource(&self, path: &str) -> Result<&Resource, Reason> {
        self.config
            .resources
            .iter()
            .find(|it| it.path == path)
            .ok_or(Reason::ResourceGone)
    }

    /// Life times, and who mints.
    pub(super) fn terms(&self) -> Terms<'_> {
        let tokens = &self.config.tokens;
        Terms {
            issuer: &self.config.public_url.issuer,
            instance: self.instance,
            access_ttl: tokens.access_ttl,
            refresh_idle_ttl: tokens.refresh_idle_ttl,
            refresh_max_ttl: tokens.refresh_max_ttl,
        }
    }
}

/// What an upstream's failure means to us.
pub(super) fn upstream_failure(error: UpstreamError) -> Reason {
    match error {
        UpstreamError::Refused(reason) => Reason::UpstreamRefused(reason),
        UpstreamError::Unavailable { reason, .. } => Reason::UpstreamUnavailable(reason),
        UpstreamError::Unacceptable(reason) => Reason::UpstreamUnacceptable(reason),
    }
}
