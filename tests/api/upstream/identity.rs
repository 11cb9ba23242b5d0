//! Providers of plain OAuth 2.0: where each hides the person, and what is believed of it.

use serde_json::json;

use super::super::support::upstream::{EMAILS, Misbehaviour, TOKEN, USERINFO};
use super::{OAUTH2, OIDC, Provider, word};

const GITHUB: &str = "provider = 'github'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nuserinfo_url = 'ORIGIN/user'\nemail_url = 'ORIGIN/emails'\n";

async fn github() -> Provider {
    let provider = Provider::with(GITHUB).await;
    provider.fake.publish(
        "/user",
        json!({"id": 583_231, "login": "octocat", "email": "public@evil.example"}),
    );
    provider.fake.publish(
        EMAILS,
        json!([
            {"email": "old@example.com", "primary": false, "verified": true},
            {"email": "octocat@example.com", "primary": true, "verified": true},
        ]),
    );
    provider.fake.edit_tokens(|it| {
        it.remove("refresh_token");
        it.remove("expires_in");
        it.insert("scope".into(), json!("read:user,user:email"));
        it.insert("token_type".into(), json!("bearer"));
    });
    provider
}

// B10
#[tokio::test]
async fn github_signs_in_with_the_numeric_id_and_the_primary_address() {
    let provider = github().await;
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "583231");
    assert_eq!(
        sign_in.identity.preferred_username.as_deref(),
        Some("octocat")
    );
    assert_eq!(
        sign_in.identity.email.as_deref(),
        Some("octocat@example.com")
    );
    assert_eq!(sign_in.access_expires_at, None);
    let request = provider.fake.last("/user");
    assert!(request.header("user-agent").is_some());
    assert_eq!(
        provider.fake.last(TOKEN).header("accept"),
        Some("application/json")
    );
    let again = provider.refresh(&sign_in).await.unwrap();
    assert_eq!(again.id, "583231");
}

#[tokio::test]
async fn github_address_that_is_not_primary_and_verified_is_not_used() {
    for list in [
        json!([{"email": "a@example.com", "primary": true, "verified": false}]),
        json!([{"email": "a@example.com", "primary": false, "verified": true}]),
        json!([{"email": "a@example.com", "primary": true, "verified": "true"}]),
        json!([{"email": "a@b@example.com", "primary": true, "verified": true}]),
        json!([{"email": null, "primary": true, "verified": true}]),
        json!([]),
        json!({}),
    ] {
        let provider = github().await;
        provider.fake.publish(EMAILS, list.clone());
        assert_eq!(
            provider.sign_in().await.unwrap().identity.email,
            None,
            "{list}"
        );
    }
    // Without the scope the list is not to be had: no address, but a sign-in.
    for status in [403, 404] {
        let provider = github().await;
        provider
            .fake
            .misbehave(EMAILS, Misbehaviour::status(status));
        assert_eq!(provider.sign_in().await.unwrap().identity.email, None);
    }
    let provider = github().await;
    provider.fake.misbehave(EMAILS, Misbehaviour::status(503));
    assert_eq!(word(&provider.sign_in().await), "unavailable");
}

// Errors with status 200, and codes of its own for "for good".
#[tokio::test]
async fn github_refusals_come_with_status_200() {
    let provider = github().await;
    let sign_in = provider.sign_in().await.unwrap();
    let code = provider.code().await;
    for (error, expected) in [
        ("bad_verification_code", "refused"),
        ("bad_refresh_token", "refused"),
        ("incorrect_client_credentials", "unavailable"),
        ("redirect_uri_mismatch", "unavailable"),
    ] {
        provider
            .fake
            .misbehave(TOKEN, Misbehaviour::json(200, &json!({"error": error})));
        assert_eq!(word(&provider.exchange(&code).await), expected, "{error}");
        let form = Misbehaviour::says(
            200,
            "application/x-www-form-urlencoded; charset=utf-8",
            format!("error={error}&error_description=x"),
        );
        provider.fake.misbehave(TOKEN, form);
        assert_eq!(
            word(&provider.exchange(&code).await),
            expected,
            "{error} as a form"
        );
    }
    assert!(sign_in.identity.groups.is_empty());
}

#[tokio::test]
async fn form_encoded_tokens_are_read() {
    let provider = github().await;
    let sign_in = provider.sign_in().await.unwrap();
    let token = sign_in.access_token.expose().to_owned();
    for label in [
        "application/x-www-form-urlencoded; charset=utf-8",
        "text/plain",
    ] {
        let code = provider.code().await;
        let body =
            format!("access_token={token}&scope=read%3Auser&token_type=bearer&expires_in=60");
        provider
            .fake
            .misbehave(TOKEN, Misbehaviour::says(200, label, body));
        let sign_in = provider.exchange(&code).await.unwrap();
        assert_eq!(sign_in.access_token.expose(), token);
        assert!(sign_in.access_expires_at.is_some());
    }
}

const SLACK: &str = "provider = 'slack'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nuserinfo_url = 'ORIGIN/auth.test'\n";

// B10: ok:false, tokens below authed_user, no PKCE.
#[tokio::test]
async fn slack_tokens_are_found_in_either_place() {
    for nested in [false, true] {
        let provider = Provider::with(SLACK).await;
        provider.fake.publish(
            "/auth.test",
            json!({"ok": true, "team_id": "T1", "user_id": "U1", "user": "ada"}),
        );
        provider.fake.edit_tokens(move |it| {
            if nested {
                let inner = it.clone();
                it.clear();
                it.insert("authed_user".into(), inner.into());
            }
            it.insert("ok".into(), json!(true));
            it.insert("token_type".into(), json!("user"));
        });
        let sign_in = provider.sign_in().await.unwrap();
        assert_eq!(sign_in.id, "T1:U1");
        assert_eq!(sign_in.identity.preferred_username.as_deref(), Some("ada"));
        assert!(sign_in.access_expires_at.is_some());
        assert!(provider.fake.knows(super::refresh_token(&sign_in)));
        assert_eq!(provider.fake.last(TOKEN).form("code_verifier"), None);
        assert_eq!(provider.refresh(&sign_in).await.unwrap().id, "T1:U1");
    }
}

#[tokio::test]
async fn slack_failures_come_with_status_200() {
    let provider = Provider::with(SLACK).await;
    provider.fake.publish(
        "/auth.test",
        json!({"ok": true, "team_id": "T1", "user_id": "U1"}),
    );
    let sign_in = provider.sign_in().await.unwrap();
    for (error, expected) in [
        ("invalid_refresh_token", "refused"),
        ("token_revoked", "refused"),
        ("account_inactive", "refused"),
        ("ratelimited", "unavailable"),
        ("internal_error", "unavailable"),
        ("bad_client_secret", "unavailable"),
    ] {
        provider.fake.misbehave(
            TOKEN,
            Misbehaviour::json(200, &json!({"ok": false, "error": error})),
        );
        assert_eq!(word(&provider.refresh(&sign_in).await), expected, "{error}");
    }
    provider.fake.behave();
    provider.fake.misbehave(
        "/auth.test",
        Misbehaviour::json(200, &json!({"ok": false, "error": "invalid_auth"})),
    );
    assert_eq!(word(&provider.refresh(&sign_in).await), "refused");
}

#[tokio::test]
async fn linear_is_asked_in_graphql() {
    let settings = "provider = 'linear'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nuserinfo_url = 'ORIGIN/graphql'\n";
    let provider = Provider::with(settings).await;
    provider.fake.publish(
        "/graphql",
        json!({"data": {"viewer": {"id": "v-1", "name": "Ada", "email": "ada@example.com"}}}),
    );
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "v-1");
    assert_eq!(
        sign_in.identity.email, None,
        "nothing says that it is verified"
    );
    let request = provider.fake.last("/graphql");
    assert_eq!(request.method, "POST");
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body, json!({"query": "{ viewer { id name email } }"}));
    // GraphQL's errors come with 200 and without the person.
    provider.fake.publish(
        "/graphql",
        json!({"errors": [{"message": "x"}], "data": null}),
    );
    assert_eq!(word(&provider.sign_in().await), "unavailable");
}

#[tokio::test]
async fn hubspot_is_asked_by_introspection() {
    let settings = "provider = 'hubspot'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nintrospection_url = 'ORIGIN/introspect'\n";
    let provider = Provider::with(settings).await;
    provider.fake.publish(
        "/introspect",
        json!({"active": true, "hub_id": 7, "user_id": 9, "user": "ada@example.com"}),
    );
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "7:9");
    let request = provider.fake.last("/introspect");
    assert_eq!(
        request.form("token").as_deref(),
        Some(sign_in.access_token.expose())
    );
    assert!(request.form("client_secret").is_some());
    provider
        .fake
        .publish("/introspect", json!({"active": false}));
    assert_eq!(word(&provider.sign_in().await), "refused");
    // Our own credentials being wrong is nobody's logout.
    provider
        .fake
        .misbehave("/introspect", Misbehaviour::status(401));
    assert_eq!(word(&provider.sign_in().await), "unavailable");
}

#[tokio::test]
async fn dropbox_is_asked_by_an_empty_post() {
    let settings = "provider = 'dropbox'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nuserinfo_url = 'ORIGIN/account'\n";
    let provider = Provider::with(settings).await;
    provider.fake.publish("/account", json!({"account_id": "dbid:1", "email": "a@example.com", "email_verified": true, "name": {"display_name": "Ada"}}));
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "dbid:1");
    assert_eq!(sign_in.identity.email.as_deref(), Some("a@example.com"));
    let request = provider.fake.last("/account");
    assert_eq!(
        (request.method.as_str(), request.body.as_str()),
        ("POST", "")
    );
}

#[tokio::test]
async fn notion_and_tidal_tell_the_person_with_the_tokens() {
    let settings =
        "provider = 'notion'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\n";
    let provider = Provider::with(settings).await;
    provider.fake.edit_tokens(|it| {
        it.remove("expires_in");
        it.insert("workspace_id".into(), json!("w-1"));
        it.insert(
            "owner".into(),
            json!({"type": "user", "user": {"id": "u-1", "name": "Ada"}}),
        );
    });
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "w-1:u-1");
    assert_eq!(sign_in.identity.preferred_username.as_deref(), Some("Ada"));
    assert!(!provider.url(false).await.query().unwrap().contains("scope"));
    assert_eq!(provider.refresh(&sign_in).await.unwrap().id, "w-1:u-1");

    let settings =
        "provider = 'tidal'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\n";
    let provider = Provider::with(settings).await;
    provider
        .fake
        .edit_tokens(|it| drop(it.insert("user_id".into(), json!(1_234_567_890_123_u64))));
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "1234567890123");
    assert_eq!(
        provider.fake.last(TOKEN).form("scope").as_deref(),
        Some("user.read")
    );
    // Without the id there is no telling who it is.
    provider.fake.edit_tokens(|_| {});
    assert_eq!(word(&provider.sign_in().await), "unacceptable");
}

#[tokio::test]
async fn gitlab_and_figma_refresh_in_their_own_ways() {
    let provider = Provider::with("provider = 'gitlab'\nissuer = 'ORIGIN'\nuserinfo_url = 'ORIGIN/userinfo'\ngroups_claim = 'groups'\n").await;
    provider.fake.describe(
        "alice",
        json!({"sub": "alice", "groups": ["staff", "staff/core"]}),
    );
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.identity.groups, ["staff", "staff/core"]);
    provider.refresh(&sign_in).await.unwrap();
    assert_eq!(
        provider.fake.last(TOKEN).form("redirect_uri").as_deref(),
        Some(super::CALLBACK)
    );

    let settings = "provider = 'figma'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nrefresh_url = 'ORIGIN/token'\nuserinfo_url = 'ORIGIN/me'\n";
    let provider = Provider::with(settings).await;
    provider.fake.publish(
        "/me",
        json!({"id": "f-1", "handle": "ada", "email": "a@example.com"}),
    );
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(
        (sign_in.id.as_str(), sign_in.identity.email.as_deref()),
        ("f-1", None)
    );
    provider
        .fake
        .edit_tokens(|it| drop(it.remove("refresh_token")));
    let again = provider.refresh(&sign_in).await.unwrap();
    assert_eq!(super::refresh_token(&again), super::refresh_token(&sign_in));
}

// An e-mail address counts by `email_verified` or `trust_email`, never in a shared tenant.
#[tokio::test]
async fn email_counts_only_when_it_is_verified() {
    let told = |verified: serde_json::Value| json!({"sub": "alice", "email": "alice@example.com", "email_verified": verified});
    for settings in [
        OIDC.to_owned(),
        format!("{OAUTH2}email = 'email'\nemail_verified = 'email_verified'\n"),
    ] {
        for (verified, trusted, counts) in [
            (json!(true), false, true),
            (json!("true"), false, true),
            (json!(false), false, false),
            (json!(null), false, false),
            (json!(1), false, false),
            (json!(false), true, true),
        ] {
            let provider = Provider::with(&format!("{settings}trust_email = {trusted}\n")).await;
            provider.fake.describe("alice", told(verified.clone()));
            let email = provider.sign_in().await.unwrap().identity.email;
            assert_eq!(email.is_some(), counts, "{verified} {trusted}");
        }
    }
}

#[tokio::test]
async fn groups_come_from_the_claim_that_is_named() {
    for (told, expected) in [
        (json!(["a", "b"]), vec!["a", "b"]),
        (json!("a"), vec!["a"]),
        (json!([1, "b", null]), vec!["b"]),
        (json!({"a": 1}), vec![]),
    ] {
        let provider = Provider::with(&format!("{OIDC}groups_claim = 'roles'\n")).await;
        provider.fake.describe(
            "alice",
            json!({"sub": "alice", "roles": told, "groups": ["ignored"]}),
        );
        assert_eq!(provider.sign_in().await.unwrap().identity.groups, expected);
    }
    let provider = Provider::with(OIDC).await;
    provider.fake.describe(
        "alice",
        json!({"sub": "alice", "email": "a@example.com", "email_verified": true, "groups": ["x"]}),
    );
    assert!(provider.sign_in().await.unwrap().identity.groups.is_empty());
    assert_eq!(provider.fake.count(USERINFO), 0);
}
