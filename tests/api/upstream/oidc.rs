//! OpenID Connect: discovery, keys, and the sign-in as a whole.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::super::support::upstream::{DISCOVERY, KEYS, Misbehaviour, SigningKey, TOKEN, USERINFO};
use super::{OIDC, Provider, word};

// B5
#[tokio::test]
async fn sign_in_tells_who_it_is() {
    let provider = Provider::with(OIDC).await;
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "alice");
    assert_eq!(sign_in.identity.email.as_deref(), Some("alice@example.com"));
    assert_eq!(
        sign_in.identity.preferred_username.as_deref(),
        Some("alice")
    );
    assert_eq!(
        sign_in.access_expires_at.unwrap().as_secs(),
        super::NOW.as_secs() + 3600
    );
    assert!(provider.fake.knows(super::refresh_token(&sign_in)));
    assert_eq!(provider.fake.count(USERINFO), 0, "the ID token said it all");
    assert!(provider.upstream.requires_iss().await);
    assert_eq!(
        provider.upstream.profile().issuer,
        Some(provider.fake.issuer())
    );
}

// Nothing is asked at the start, and one document serves all.
#[tokio::test]
async fn discovery_happens_once_and_when_it_is_needed() {
    let provider = Provider::with(OIDC).await;
    assert!(provider.fake.counts().is_empty());
    for person in ["alice", "bob", "carol"] {
        provider.fake.sign_in_as(person);
        assert_eq!(provider.sign_in().await.unwrap().id, person);
    }
    assert_eq!(
        (provider.fake.count(DISCOVERY), provider.fake.count(KEYS)),
        (1, 1)
    );
}

#[tokio::test]
async fn concurrent_sign_ins_share_one_discovery() {
    let provider = Provider::with(OIDC).await;
    let urls = (0..20).map(|_| provider.url(false));
    futures_util::future::join_all(urls).await;
    assert_eq!(provider.fake.count(DISCOVERY), 1);
}

#[tokio::test]
async fn provider_that_is_away_is_asked_again_after_a_moment() {
    let provider = Provider::with(OIDC).await;
    let state = super::Secret::new("s");
    provider
        .fake
        .misbehave(DISCOVERY, Misbehaviour::status(503));
    let ask = || {
        provider
            .upstream
            .authorization_url(provider.redirect(&state))
    };
    for _ in 0..50 {
        assert_eq!(word(&ask().await), "unavailable");
    }
    assert_eq!(provider.fake.count(DISCOVERY), 1, "nobody hammers");
    provider.fake.behave();
    provider.clock.advance(Duration::from_secs(3));
    assert_eq!(word(&ask().await), "ok");
}

#[tokio::test]
async fn old_document_is_better_than_none() {
    let provider = Provider::with(OIDC).await;
    provider.sign_in().await.unwrap();
    for path in [DISCOVERY, KEYS] {
        provider.fake.misbehave(path, Misbehaviour::status(500));
    }
    provider.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(word(&provider.sign_in().await), "ok");
    assert_eq!(provider.fake.count(DISCOVERY), 2, "it was tried");
    provider.clock.advance(Duration::from_secs(25 * 3600));
    let state = super::Secret::new("s");
    let url = provider
        .upstream
        .authorization_url(provider.redirect(&state))
        .await;
    assert_eq!(word(&url), "unavailable", "but not for ever");
}

// B5: Discovery §4.3, and endpoints that keep a secret.
#[tokio::test]
async fn unfit_discovery_documents_are_not_used() {
    type Edit = fn(&mut serde_json::Map<String, serde_json::Value>);
    let edits: [(&str, Edit); 9] = [
        ("another issuer", |it| {
            drop(it.insert("issuer".into(), json!("https://evil.example")));
        }),
        ("a slash more", |it| {
            let issuer = format!("{}/", it["issuer"].as_str().unwrap());
            it.insert("issuer".into(), json!(issuer));
        }),
        ("a template", |it| {
            drop(it.insert("issuer".into(), json!("http://{tenantid}")));
        }),
        ("no issuer", |it| drop(it.remove("issuer"))),
        ("issuer of another type", |it| {
            drop(it.insert("issuer".into(), json!(["x"])));
        }),
        ("plain http", |it| {
            drop(it.insert("token_endpoint".into(), json!("http://idp.example/token")));
        }),
        ("plain http keys", |it| {
            drop(it.insert("jwks_uri".into(), json!("http://idp.example/keys")));
        }),
        ("no keys", |it| drop(it.remove("jwks_uri"))),
        ("no URL", |it| {
            drop(it.insert("userinfo_endpoint".into(), json!("userinfo")));
        }),
    ];
    for (name, edit) in edits {
        let provider = Provider::with(OIDC).await;
        provider.fake.edit_discovery(edit);
        let state = super::Secret::new("s");
        let outcome = provider
            .upstream
            .authorization_url(provider.redirect(&state))
            .await;
        assert_eq!(word(&outcome), "unavailable", "{name}");
    }
    for body in ["", "[]", "<html>", "{\"issuer\":1,\"issuer\":1}"] {
        let provider = Provider::with(OIDC).await;
        provider
            .fake
            .misbehave(DISCOVERY, Misbehaviour::says(200, "application/json", body));
        let state = super::Secret::new("s");
        let outcome = provider
            .upstream
            .authorization_url(provider.redirect(&state))
            .await;
        assert_eq!(word(&outcome), "unavailable", "{body}");
    }
}

// F12: rotation is noticed at the first token of the new key.
#[tokio::test]
async fn rotated_keys_are_fetched_at_once() {
    let provider = Provider::with(OIDC).await;
    provider.sign_in().await.unwrap();
    provider.clock.advance(Duration::from_secs(31));
    provider.fake.rotate_keys(SigningKey::fresh("key-2"));
    assert_eq!(word(&provider.sign_in().await), "ok");
    assert_eq!(provider.fake.count(KEYS), 2);
}

// F12: at most one refetch per 30 s, however many tokens name an unknown key.
#[tokio::test]
async fn unknown_keys_do_not_make_us_hammer_the_provider() {
    let provider = Provider::with(OIDC).await;
    provider.sign_in().await.unwrap();
    let stranger = SigningKey::fresh("unknown");
    for round in 1..=3 {
        provider.clock.advance(Duration::from_secs(31));
        for _ in 0..20 {
            let forged = stranger.sign(&json!({ "sub": "mallory" }));
            provider
                .fake
                .edit_tokens(move |it| drop(it.insert("id_token".into(), json!(forged))));
            assert_eq!(word(&provider.sign_in().await), "unacceptable");
        }
        assert_eq!(provider.fake.count(KEYS), 1 + round);
    }
}

#[tokio::test]
async fn every_algorithm_of_the_list_is_accepted() {
    for algorithm in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::EdDSA,
    ] {
        let provider = Provider::with(OIDC).await;
        provider.fake.rotate_keys(SigningKey::fixed("k", algorithm));
        // at_hash follows the algorithm; it is left out here, and proved in `forged`.
        provider
            .fake
            .edit_claims(|claims| drop(claims.remove("at_hash")));
        let outcome = provider.sign_in().await;
        assert_eq!(word(&outcome), "ok", "{algorithm:?}: {outcome:?}");
    }
}

// Core §3.1.3.3
#[tokio::test]
async fn sign_in_without_an_id_token_is_not_believed() {
    let provider = Provider::with(OIDC).await;
    provider.fake.edit_tokens(|it| drop(it.remove("id_token")));
    assert_eq!(word(&provider.sign_in().await), "unacceptable");
    // Where identity comes from userinfo, there may be none (GitLab without openid).
    let provider = Provider::with(&format!("{OIDC}identity = 'userinfo'\n")).await;
    provider.fake.edit_tokens(|it| drop(it.remove("id_token")));
    assert_eq!(provider.sign_in().await.unwrap().id, "alice");
}

// Core §5.3.2
#[tokio::test]
async fn userinfo_about_somebody_else_is_not_believed() {
    let provider = Provider::with(&format!("{OIDC}identity = 'userinfo'\n")).await;
    provider.fake.misbehave(
        USERINFO,
        Misbehaviour::json(200, &json!({ "sub": "mallory" })),
    );
    assert_eq!(word(&provider.sign_in().await), "unacceptable");
}

#[tokio::test]
async fn userinfo_completes_what_the_id_token_leaves_out() {
    let provider = Provider::with(OIDC).await;
    provider
        .fake
        .edit_claims(|claims| drop(claims.remove("email")));
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.identity.email.as_deref(), Some("alice@example.com"));
    assert_eq!(provider.fake.count(USERINFO), 1);

    // A token for an API of its own is refused there: who it is, is known all the same.
    let provider = Provider::with(OIDC).await;
    provider
        .fake
        .edit_claims(|claims| drop(claims.remove("email")));
    provider.fake.misbehave(USERINFO, Misbehaviour::status(401));
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(
        (sign_in.id.as_str(), sign_in.identity.email),
        ("alice", None)
    );
}

#[tokio::test]
async fn operator_s_endpoints_win_over_discovery() {
    let provider = Provider::with(&format!("{OIDC}token_url = 'ORIGIN/elsewhere'\n")).await;
    provider.sign_in().await.unwrap_err();
    assert_eq!(
        (
            provider.fake.count("/elsewhere"),
            provider.fake.count(TOKEN)
        ),
        (1, 0)
    );
}

/// A tenant, and the issuer that a token claims.
type Wrong = (&'static str, fn(&str) -> String);

// B5: an issuer for each tenant, and no e-mail address that counts.
#[tokio::test]
async fn shared_tenant_of_entra_checks_the_issuer_by_tid() {
    let claims = |tid: &'static str, issuer: fn(&str) -> String| {
        move |claims: &mut serde_json::Map<String, serde_json::Value>| {
            let origin = claims["iss"].as_str().unwrap().to_owned();
            claims.insert("iss".into(), json!(issuer(&origin)));
            claims.insert("tid".into(), json!(tid));
            claims.insert("oid".into(), json!("object-1"));
        }
    };
    let settings =
        "provider = 'entra'\nissuer = 'ORIGIN/common'\ntenant = 'common'\ntrust_email = true\n";
    let document = |provider: &Provider| {
        let issuer = format!("{}/{{tenantid}}", provider.fake.issuer());
        provider
            .fake
            .edit_discovery(move |it| drop(it.insert("issuer".into(), json!(issuer))));
        let mut document = json!({});
        for (name, path) in [
            ("authorization_endpoint", "/authorize"),
            ("token_endpoint", "/token"),
            ("jwks_uri", "/keys"),
        ] {
            document[name] = json!(provider.fake.url(path));
        }
        document["issuer"] = json!(format!("{}/{{tenantid}}", provider.fake.issuer()));
        let path = "/common/.well-known/openid-configuration";
        provider
            .fake
            .misbehave(path, Misbehaviour::json(200, &document));
    };
    let provider = Provider::with(settings).await;
    document(&provider);
    provider
        .fake
        .edit_claims(claims("tenant-1", |origin| format!("{origin}/tenant-1")));
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "tenant-1:object-1");

    let wrong: [Wrong; 4] = [
        ("tenant-2", |origin| format!("{origin}/tenant-1")),
        ("tenant-1", |_| "https://evil.example/tenant-1".into()),
        ("../tenant-1", |origin| format!("{origin}/../tenant-1")),
        ("", |origin| format!("{origin}/")),
    ];
    for (tid, issuer) in wrong {
        provider.fake.edit_claims(claims(tid, issuer));
        assert_eq!(word(&provider.sign_in().await), "unacceptable", "{tid}");
    }
}
