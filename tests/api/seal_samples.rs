//! Records as they are in real life, with provider tokens of the lengths that providers use.
//!
//! Shared by the tests, the benchmarks and the referee.

use std::time::Duration;

use mcp_oauth::oauth::names::{
    BrowserHash, ClientHash, GrantId, InstanceId, Issuer, RedirectHash, Secret, StateHash, Subject,
    TokenId, UpstreamFingerprint, UpstreamName,
};
use mcp_oauth::oauth::records::{
    AccessToken, ApplicationType, AuthMethod, AuthorizationCode, ClientRegistration, Memo,
    PendingConsent, PendingLogin, PendingRequest, RefreshToken, SessionId, UpstreamCredential,
    UpstreamLeg,
};
use mcp_oauth::oauth::scope::Scope;
use mcp_oauth::time::Timestamp;

/// When everything here was made.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Who made it.
pub(crate) fn issuer() -> Issuer {
    Issuer::new("https://mcp.example.com")
}

/// Text of a given length that looks like a provider's token.
pub(crate) fn opaque(length: usize) -> String {
    let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    alphabet.chars().cycle().take(length).collect()
}

fn secret(length: usize) -> Secret {
    Secret::new(opaque(length))
}

fn scope() -> Scope {
    Scope::parse("mcp offline_access").unwrap_or_default()
}

/// What clients register today: Claude's two, the Inspector's, VS Code's, and so on.
pub(crate) fn registration(redirect_uris: usize) -> ClientRegistration {
    let known = [
        "https://claude.ai/api/mcp/auth_callback",
        "https://claude.com/api/mcp/auth_callback",
        "http://localhost:6274/oauth/callback/debug",
        "http://127.0.0.1:33418/",
    ];
    ClientRegistration {
        redirect_uris: known
            .iter()
            .cycle()
            .take(redirect_uris)
            .map(ToString::to_string)
            .collect(),
        client_name: Some("Claude Code (example-server)".to_owned()),
        auth_method: AuthMethod::None,
        application_type: ApplicationType::Web,
        issued_at: NOW,
    }
}

/// A request whose client sends `state_length` characters of state.
pub(crate) fn request(state_length: usize) -> PendingRequest {
    PendingRequest {
        client: ClientHash::of("client"),
        auth_method: AuthMethod::None,
        redirect_uri: "https://claude.ai/api/mcp/auth_callback".to_owned(),
        state: Some(opaque(state_length)),
        scope: scope(),
        resource: "/mcp".to_owned(),
        code_challenge: opaque(43),
    }
}

/// The hidden field of the consent form.
pub(crate) fn consent() -> PendingConsent {
    PendingConsent {
        request: request(43),
        browser: BrowserHash::of("browser"),
        expires_at: NOW.plus(Duration::from_secs(600)),
    }
}

/// The cookie of one login.
pub(crate) fn login(state_length: usize) -> PendingLogin {
    PendingLogin {
        request: request(state_length),
        grant: GrantId::from_bytes([1; 16]),
        upstream: UpstreamName::new("keycloak"),
        fingerprint: UpstreamFingerprint::of_upstream("https://id.example.com", "mcp"),
        verifier: secret(43),
        nonce: secret(22),
        state_hash: StateHash::of("state"),
        expires_at: NOW.plus(Duration::from_secs(600)),
    }
}

/// A code with the upstream's code of a given length inside.
pub(crate) fn code(upstream_code: usize) -> AuthorizationCode {
    AuthorizationCode {
        client: ClientHash::of("client"),
        auth_method: AuthMethod::None,
        redirect: RedirectHash::of("https://claude.ai/api/mcp/auth_callback"),
        code_challenge: opaque(43),
        resource: "/mcp".to_owned(),
        scope: scope(),
        grant: GrantId::from_bytes([1; 16]),
        instance: InstanceId::from_bytes([2; 16]),
        upstream: UpstreamName::new("keycloak"),
        fingerprint: UpstreamFingerprint::of_upstream("https://id.example.com", "mcp"),
        leg: UpstreamLeg::Late {
            code: secret(upstream_code),
            verifier: secret(43),
            nonce: secret(22),
        },
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(60)),
    }
}

/// An access token; `upstream_token` is the length of the forwarded one, if one is forwarded.
pub(crate) fn access(upstream_token: Option<usize>) -> AccessToken {
    AccessToken {
        iss: issuer().to_string(),
        sub: Subject::new("keycloak:f3b1c6a2-6d5e-4e0c-9d55-1b4b3f3f7a10"),
        aud: "https://mcp.example.com/mcp".to_owned(),
        client_id: ClientHash::of("client"),
        scope: scope(),
        iat: NOW,
        exp: NOW.plus(Duration::from_secs(3_600)),
        jti: TokenId::from_bytes([3; 16]),
        grant: GrantId::from_bytes([1; 16]),
        grant_issued_at: NOW,
        fingerprint: UpstreamFingerprint::of_upstream("https://id.example.com", "mcp"),
        email: Some("alice.liddell@example.com".to_owned()),
        preferred_username: Some("alice.liddell".to_owned()),
        groups: vec!["mcp-users".to_owned(), "engineering".to_owned()],
        upstream_token: upstream_token.map(secret),
    }
}

/// A refresh token around the upstream's of a given length.
pub(crate) fn refresh(upstream_token: usize) -> RefreshToken {
    RefreshToken {
        subject: Subject::new("keycloak:f3b1c6a2-6d5e-4e0c-9d55-1b4b3f3f7a10"),
        client: ClientHash::of("client"),
        auth_method: AuthMethod::None,
        resource: "/mcp".to_owned(),
        scope: scope(),
        grant: GrantId::from_bytes([1; 16]),
        grant_issued_at: NOW,
        generation: 7,
        grant_ends_at: NOW.plus(Duration::from_secs(90 * 86_400)),
        instance: InstanceId::from_bytes([2; 16]),
        upstream: UpstreamName::new("keycloak"),
        fingerprint: UpstreamFingerprint::of_upstream("https://id.example.com", "mcp"),
        credential: UpstreamCredential::Refresh(secret(upstream_token)),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(30 * 86_400)),
    }
}

/// A backend's session.
pub(crate) fn session() -> SessionId {
    SessionId {
        id: "3f0c2f4e-5b57-4c49-9a3b-51a0b8a4d6a1".to_owned(),
        subject: Some(Subject::new("github:583231")),
        resource: "/mcp".to_owned(),
    }
}

/// A remembered answer of `/token`, quotes and all.
pub(crate) fn memo() -> Memo {
    let (access_token, refresh_token) = (opaque(900), opaque(900));
    Memo {
        body: Secret::new(format!(
            r#"{{"access_token":"{access_token}","token_type":"Bearer","expires_in":3600,"refresh_token":"{refresh_token}","scope":"mcp"}}"#
        )),
        expires_at: NOW.plus(Duration::from_secs(120)),
    }
}
