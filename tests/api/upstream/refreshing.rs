//! Refreshing: the refresh grant, or the identity, or nothing; and whom the answer is about.

use std::time::Duration;

use mcp_oauth::oauth::names::Secret;
use mcp_oauth::oauth::records::UpstreamCredential;
use serde_json::json;

use super::super::support::upstream::{TOKEN, USERINFO};
use super::{NOW, OAUTH2, OIDC, Provider, refresh_token, word};

// TR4: one request to the provider, and the pair that it gave.
#[tokio::test]
async fn refresh_hands_out_the_rotated_token() {
    let provider = Provider::with(OIDC).await;
    let first = provider.sign_in().await.unwrap();
    let second = provider.refresh(&first).await.unwrap();
    assert_ne!(refresh_token(&first), refresh_token(&second));
    assert_ne!(first.access_token.expose(), second.access_token.expose());
    assert_eq!(second.id, "alice");
    assert!(provider.fake.knows(refresh_token(&second)));
    // F11
    assert_eq!(word(&provider.refresh(&first).await), "refused");
}

// RFC 6749 §6: a missing refresh token keeps the old one.
#[tokio::test]
async fn missing_refresh_token_keeps_the_old_one() {
    let provider = Provider::with(OAUTH2).await;
    let first = provider.sign_in().await.unwrap();
    provider
        .fake
        .edit_tokens(|it| drop(it.remove("refresh_token")));
    let second = provider.refresh(&first).await.unwrap();
    assert_eq!(refresh_token(&second), refresh_token(&first));

    // null and empty are missing too (Notion).
    for value in [json!(null), json!("")] {
        let provider = Provider::with(OAUTH2).await;
        let first = provider.sign_in().await.unwrap();
        provider
            .fake
            .edit_tokens(move |it| drop(it.insert("refresh_token".into(), value.clone())));
        assert_eq!(
            refresh_token(&provider.refresh(&first).await.unwrap()),
            refresh_token(&first)
        );
    }
}

// B10: a missing lifetime is unknown, not an hour.
#[tokio::test]
async fn lifetimes_are_read_as_they_come() {
    let rows = [
        (json!(7200), Some(7200)),
        (json!("7200"), Some(7200)),
        (json!(0), None),
        (json!(-5), None),
        (json!(null), None),
        (json!("soon"), None),
        (json!(1.5), None),
        (json!([60]), None),
    ];
    for (value, expected) in rows {
        let provider = Provider::with(OAUTH2).await;
        let told = value.clone();
        provider
            .fake
            .edit_tokens(move |it| drop(it.insert("expires_in".into(), told.clone())));
        let ends = provider.sign_in().await.unwrap().access_expires_at;
        let expected = expected.map(|life| NOW.plus(Duration::from_secs(life)));
        assert_eq!(ends, expected, "{value}");
    }
    let provider = Provider::with(OAUTH2).await;
    provider
        .fake
        .edit_tokens(|it| drop(it.remove("expires_in")));
    assert_eq!(provider.sign_in().await.unwrap().access_expires_at, None);
}

// TR10: without a refresh token, the identity is asked each time.
#[tokio::test]
async fn without_a_refresh_token_the_identity_is_asked() {
    for settings in [OAUTH2, OIDC] {
        let provider = Provider::with(settings).await;
        provider.fake.edit_tokens(|it| {
            it.remove("refresh_token");
            it.remove("expires_in");
        });
        let first = provider.sign_in().await.unwrap();
        assert!(matches!(
            first.credential,
            UpstreamCredential::Access { .. }
        ));
        let asked = provider.fake.count(USERINFO);
        let second = provider.refresh(&first).await.unwrap();
        assert_eq!(second.id, "alice");
        assert_eq!(
            second.identity.preferred_username,
            first.identity.preferred_username
        );
        assert_eq!(second.access_token.expose(), first.access_token.expose());
        assert_eq!(
            (provider.fake.count(USERINFO), provider.fake.count(TOKEN)),
            (asked + 1, 1)
        );
        // The person took the app's access away.
        provider.fake.end_sessions();
        assert_eq!(word(&provider.refresh(&second).await), "refused");
    }
}

#[tokio::test]
async fn access_token_that_ended_is_not_asked_with() {
    let provider = Provider::with(OAUTH2).await;
    provider
        .fake
        .edit_tokens(|it| drop(it.remove("refresh_token")));
    let first = provider.sign_in().await.unwrap();
    let asked = provider.fake.count(USERINFO);
    provider.clock.advance(Duration::from_secs(3600));
    assert_eq!(word(&provider.refresh(&first).await), "refused");
    assert_eq!(provider.fake.count(USERINFO), asked);
}

/// A provider that answers nothing but the token request.
const MUTE: &str = "provider = 'oauth2'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nidentity = 'token_response'\nsubject = 'user.id'\nusername = 'user.name'\nscopes = ['read']\n";

fn mute(provider: &Provider) {
    provider.fake.edit_tokens(|it| {
        it.remove("refresh_token");
        it.insert("user".into(), json!({"id": 42, "name": "ada"}));
    });
}

// An upstream with neither ends the grant with the access token …
#[tokio::test]
async fn upstream_that_can_be_asked_nothing_ends_the_grant() {
    let provider = Provider::with(MUTE).await;
    mute(&provider);
    let first = provider.sign_in().await.unwrap();
    assert_eq!(first.id, "42");
    assert!(matches!(first.credential, UpstreamCredential::Nothing));
    assert_eq!(word(&provider.refresh(&first).await), "refused");
}

// … unless `reauth = "never"`: then the sign-in holds, with what was known of the person.
#[tokio::test]
async fn upstream_that_can_be_asked_nothing_may_be_kept() {
    let provider = Provider::with(&format!("{MUTE}reauth = 'never'\n")).await;
    mute(&provider);
    let first = provider.sign_in().await.unwrap();
    provider.clock.advance(Duration::from_secs(86_400));
    let second = provider.refresh(&first).await.unwrap();
    assert_eq!(second.id, "42");
    assert_eq!(second.identity.preferred_username.as_deref(), Some("ada"));
    assert_eq!(second.access_token.expose(), first.access_token.expose());
    let third = provider.refresh(&second).await.unwrap();
    assert_eq!(third.identity, first.identity);
    assert_eq!(
        provider.fake.counts().len(),
        2,
        "nobody was asked but at the sign-in"
    );
}

#[tokio::test]
async fn kept_sign_in_survives_being_sealed() {
    let kept = UpstreamCredential::Kept {
        token: Secret::new("t"),
        expires_at: Some(NOW),
        identity: mcp_oauth::oauth::records::Identity::default(),
    };
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(
        text,
        format!(
            "{{\"k\":{{\"t\":\"t\",\"e\":{},\"i\":{{}}}}}}",
            NOW.as_secs()
        )
    );
    let UpstreamCredential::Kept { token, .. } = serde_json::from_str(&text).unwrap() else {
        panic!("{text}");
    };
    assert!(token.matches("t"));
}

// A token that names the person at the sign-in need not do so again.
#[tokio::test]
async fn refresh_that_does_not_name_the_person_is_about_the_same() {
    let provider = Provider::with(MUTE).await;
    provider
        .fake
        .edit_tokens(|it| drop(it.insert("user".into(), json!({"id": 42}))));
    let first = provider.sign_in().await.unwrap();
    provider.fake.edit_tokens(|_| {});
    assert_eq!(provider.refresh(&first).await.unwrap().id, "42");
    provider
        .fake
        .edit_tokens(|it| drop(it.insert("user".into(), json!({"id": 43}))));
    let again = provider.sign_in().await.unwrap();
    assert_eq!(again.id, "43");
    assert_eq!(
        word(&provider.refresh_with(&again.credential, "42").await),
        "unacceptable"
    );
}

// A refresh must be about the person that it was for.
#[tokio::test]
async fn refresh_about_somebody_else_is_not_believed() {
    let provider = Provider::with(OIDC).await;
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(
        word(&provider.refresh_with(&sign_in.credential, "mallory").await),
        "unacceptable"
    );
}

// Core §12.2: a refresh may come without an ID token; userinfo says the rest.
#[tokio::test]
async fn refresh_without_an_id_token_asks_userinfo() {
    let provider = Provider::with(OIDC).await;
    let first = provider.sign_in().await.unwrap();
    provider.fake.edit_tokens(|it| drop(it.remove("id_token")));
    let second = provider.refresh(&first).await.unwrap();
    assert_eq!(second.identity.email.as_deref(), Some("alice@example.com"));
    assert_eq!(provider.fake.count(USERINFO), 1);
}

// Figma's shape: refreshes go elsewhere.
#[tokio::test]
async fn refresh_url_of_its_own_is_used_for_refreshes_only() {
    let provider = Provider::with(&format!("{OAUTH2}refresh_url = 'ORIGIN/refresh'\n")).await;
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(
        word(&provider.refresh(&sign_in).await),
        "unavailable",
        "there is nothing there"
    );
    let request = provider.fake.last("/refresh");
    assert_eq!(request.form("grant_type").as_deref(), Some("refresh_token"));
    assert_eq!(provider.fake.count(TOKEN), 1);
}
