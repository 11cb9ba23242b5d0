//! Every preset makes an upstream, and says what it needs.

use std::sync::Arc;

use mcp_oauth::net::{TrustedClient, TrustedOptions};
use mcp_oauth::oauth::names::{Secret, UpstreamName};
use mcp_oauth::time::ManualClock;
use mcp_oauth::upstream::presets::{self, Kind, Loopback};
use mcp_oauth::upstream::{self, AuthorizationRedirect, RawUpstream, Secrets};

use super::{CALLBACK, NOW};

fn filled(name: &str) -> RawUpstream {
    let text = |it: &str| Some(it.to_owned());
    let mut raw = RawUpstream {
        provider: text(name),
        client_id: text("client"),
        client_secret: Some(Secret::new("secret")),
        host: text("host.example"),
        domain: text("domain.example"),
        tenant: text("tenant"),
        realm: text("realm"),
        ..RawUpstream::default()
    };
    match name {
        "oidc" => raw.issuer = text("https://idp.example"),
        "oauth2" => {
            raw.authorize_url = text("https://idp.example/authorize");
            raw.token_url = text("https://idp.example/token");
            raw.userinfo_url = text("https://idp.example/userinfo");
            raw.subject = text("id");
        }
        _ => {}
    }
    raw
}

#[tokio::test]
async fn every_preset_makes_an_upstream() {
    let http = TrustedClient::new(TrustedOptions::default()).unwrap();
    for (name, preset) in presets::all() {
        let settings = filled(name).resolve(UpstreamName::new("idp"), Secrets::default());
        let settings = settings.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        // A protocol is nothing that people sign in with: there it is the provider's host.
        let shown = match name {
            "oidc" | "oauth2" => "idp.example",
            _ => preset.display.as_str(),
        };
        assert_eq!(settings.profile().display_name, shown);
        assert!(
            !preset.notes.is_empty() && !preset.sources.is_empty(),
            "{name}"
        );
        let is_oidc = preset.kind == Kind::Oidc;
        assert_eq!(settings.profile().issuer.is_some(), is_oidc, "{name}");
        let clock = Arc::new(ManualClock::at(NOW));
        let upstream = upstream::build(settings, CALLBACK.to_owned(), &http, clock).unwrap();
        if is_oidc {
            continue;
        }
        let (state, nonce, verifier) = (Secret::new("s"), Secret::new("n"), Secret::new("v"));
        for choose_account in [false, true] {
            let redirect = AuthorizationRedirect {
                state: &state,
                nonce: &nonce,
                verifier: &verifier,
                redirect_uri: CALLBACK,
                choose_account,
            };
            let url = upstream.authorization_url(redirect).await.unwrap();
            assert_eq!(url.scheme(), "https", "{name}");
            assert!(
                !url.as_str().contains(['{', '}']) && !url.as_str().contains("%7B"),
                "{name}: {url}"
            );
            let resource = url.query_pairs().any(|(key, _)| key == "resource");
            assert!(!resource, "{name}: B8");
        }
    }
}

#[test]
fn facts_of_the_presets_hold_together() {
    for (name, preset) in presets::all() {
        assert!(
            name.bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_'),
            "{name}"
        );
        assert!(
            preset.at_ttl_s >= -1 && preset.rt_ttl_s >= -1 && preset.rt_reuse_leeway_s >= -1,
            "{name}"
        );
        let at = preset.register_at.as_deref().unwrap_or("https://");
        assert!(at.starts_with("https://"), "{name}");
        let generic = matches!(name, "oidc" | "oauth2");
        assert_eq!(preset.register_at.is_none(), generic, "{name}");
    }
    assert_eq!(
        presets::find("spotify").unwrap().http_loopback,
        Loopback::IpOnly
    );
    assert!(presets::find("github").unwrap().is_verified("token_url"));
    assert!(
        !presets::find("github")
            .unwrap()
            .is_verified("revocation_url")
    );
    assert!(presets::find("nobody").is_none());
}
