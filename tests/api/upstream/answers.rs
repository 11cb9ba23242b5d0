//! Answers of the shape of providers that speak OpenID Connect, each with what is its own.

use serde_json::json;

use super::super::support::upstream::{Misbehaviour, TOKEN, USERINFO};
use super::{Provider, word};

// The person's id is in members named by URLs, and no PKCE is sent.
#[tokio::test]
async fn slack_login_finds_the_person_in_members_named_by_urls() {
    let provider = Provider::with(
        "provider = 'slack_login'\nissuer = 'ORIGIN'\nuserinfo_url = 'ORIGIN/userinfo'\n",
    )
    .await;
    provider.fake.edit_tokens(|it| {
        it.insert("ok".into(), json!(true));
        it.remove("refresh_token");
        it.remove("expires_in");
    });
    provider.fake.publish(
        USERINFO,
        json!({
            "ok": true,
            "sub": "alice",
            "https://slack.com/user_id": "U0R7JM",
            "https://slack.com/team_id": "T0R7GR",
            "email": "krane@example.com",
            "email_verified": true,
            "name": "Krane",
        }),
    );
    let sign_in = provider.sign_in().await.unwrap();
    assert!(
        sign_in.id.contains("T0R7GR") && sign_in.id.contains("U0R7JM"),
        "{}",
        sign_in.id
    );
    assert_eq!(sign_in.identity.email.as_deref(), Some("krane@example.com"));
    assert_eq!(provider.fake.last(TOKEN).form("code_verifier"), None);
    let code = provider.code().await;
    let refusal = json!({"ok": false, "error": "invalid_code"});
    provider
        .fake
        .misbehave(TOKEN, Misbehaviour::json(200, &refusal));
    assert_eq!(word(&provider.exchange(&code).await), "refused");
}

// The subject has a bar in it, groups come under a name that is a URL, and a refresh may rotate.
#[tokio::test]
async fn auth0_subject_and_named_claims_are_taken_as_they_are() {
    let provider = Provider::with(
        "provider = 'auth0'\ndomain = 'a.example'\nissuer = 'ORIGIN'\nrevocation_url = 'ORIGIN/revoke'\n\
         groups_claim = 'https://example.com/roles'\n\
         authorize_params = { audience = 'https://api.example.com' }\n",
    )
    .await;
    provider.fake.edit_claims(|claims| {
        claims.insert("sub".into(), json!("auth0|507f1f77bcf86cd799439020"));
        claims.insert("email".into(), json!("jane@example.com"));
        claims.insert("email_verified".into(), json!(true));
        claims.insert("nickname".into(), json!("jane"));
        claims.insert(
            "https://example.com/roles".into(),
            json!(["editor", "owner"]),
        );
    });
    provider.fake.describe(
        "alice",
        json!({"sub": "auth0|507f1f77bcf86cd799439020", "email": "jane@example.com"}),
    );
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.id, "auth0|507f1f77bcf86cd799439020");
    assert_eq!(sign_in.identity.email.as_deref(), Some("jane@example.com"));
    assert_eq!(sign_in.identity.groups, ["editor", "owner"]);
    let again = provider.refresh(&sign_in).await.unwrap();
    assert_eq!(again.id, sign_in.id);
    // What Auth0 says where a person is blocked, or its refresh token was rotated already.
    provider.fake.misbehave(
        TOKEN,
        Misbehaviour::json(
            403,
            &json!({"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}),
        ),
    );
    assert_eq!(word(&provider.refresh(&sign_in).await), "refused");
}

// A refresh names the scope again, and groups come under the name that the operator chose.
#[tokio::test]
async fn okta_is_told_the_scope_again_at_a_refresh() {
    let provider = Provider::with(
        "provider = 'okta'\ndomain = 'a.example'\nissuer = 'ORIGIN'\nrevocation_url = 'ORIGIN/revoke'\n\
         groups_claim = 'groups'\n",
    )
    .await;
    provider.fake.edit_claims(|claims| {
        claims.insert("preferred_username".into(), json!("isaac@example.com"));
        claims.insert("email".into(), json!("isaac@example.com"));
        claims.insert("email_verified".into(), json!(true));
        claims.insert("groups".into(), json!(["Everyone", "mcp-users"]));
    });
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(sign_in.identity.groups, ["Everyone", "mcp-users"]);
    assert_eq!(
        sign_in.identity.preferred_username.as_deref(),
        Some("isaac@example.com")
    );
    provider.refresh(&sign_in).await.unwrap();
    assert_eq!(
        provider.fake.last(TOKEN).form("scope").as_deref(),
        Some("openid profile email offline_access")
    );
}
