//! The authorization request and the token requests.

use std::collections::HashMap;

use super::super::support::upstream::{CLIENT_SECRET, REVOKE, TOKEN};
use super::{CALLBACK, OAUTH2, OIDC, Provider, refresh_token};
use mcp_oauth::oauth::records::UpstreamCredential;

fn query(url: &url::Url) -> HashMap<String, String> {
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let map: HashMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter is repeated: {url}");
    map
}

// B3, B6, B8, B9: our parameters, PKCE, and nothing of a client's.
#[tokio::test]
async fn authorization_request_is_ours_alone() {
    let provider = Provider::with(OIDC).await;
    let sent = query(&provider.url(false).await);
    assert_eq!(sent["response_type"], "code");
    assert_eq!(sent["client_id"], "us");
    assert_eq!(sent["redirect_uri"], CALLBACK);
    assert_eq!(sent["scope"], "openid profile email");
    assert_eq!(sent["state"], "the-state");
    assert_eq!(sent["nonce"], "the-nonce");
    assert_eq!(sent["code_challenge_method"], "S256");
    assert_eq!(sent["code_challenge"].len(), 43);
    for never in [
        "resource",
        "response_mode",
        "prompt",
        "audience",
        "code_verifier",
    ] {
        assert!(!sent.contains_key(never), "{never}");
    }
}

#[tokio::test]
async fn plain_oauth_sends_no_nonce() {
    let provider = Provider::with(OAUTH2).await;
    let sent = query(&provider.url(false).await);
    assert!(!sent.contains_key("nonce"));
    assert_eq!(sent["scope"], "read");
    assert!(sent.contains_key("code_challenge"));
}

#[tokio::test]
async fn account_is_chosen_when_the_person_asks() {
    let provider = Provider::with(OIDC).await;
    assert_eq!(query(&provider.url(true).await)["prompt"], "select_account");

    let google = format!(
        "provider = 'google'\nissuer = 'ORIGIN'\n{}",
        "token_url = 'ORIGIN/token'"
    );
    let provider = Provider::with(&google).await;
    let usual = query(&provider.url(false).await);
    assert_eq!(
        (usual["access_type"].as_str(), usual["prompt"].as_str()),
        ("offline", "consent")
    );
    assert_eq!(
        query(&provider.url(true).await)["prompt"],
        "consent select_account"
    );
}

#[tokio::test]
async fn scope_follows_the_provider_s_spelling() {
    let provider =
        Provider::with(&format!("{OAUTH2}scope_sep = ','\n").replace("['read']", "['a', 'b']"))
            .await;
    assert_eq!(query(&provider.url(false).await)["scope"], "a,b");
    let provider = Provider::with(&format!("{OAUTH2}scope_param = ''\n")).await;
    assert!(!query(&provider.url(false).await).contains_key("scope"));
    let provider = Provider::with(&format!("{OAUTH2}scope_param = 'user_scope'\n")).await;
    assert_eq!(query(&provider.url(false).await)["user_scope"], "read");
}

#[tokio::test]
async fn query_of_an_endpoint_is_kept() {
    let settings = OAUTH2.replace("ORIGIN/authorize", "ORIGIN/authorize?flow=x");
    let sent = query(&Provider::with(&settings).await.url(false).await);
    assert_eq!(sent["flow"], "x");
    assert_eq!(sent["client_id"], "us");
}

// B3: sent unless the provider says that it does not know it.
#[tokio::test]
async fn pkce_is_left_out_only_where_it_is_unknown() {
    let provider = Provider::with(OIDC).await;
    provider.fake.edit_discovery(|document| {
        document.insert(
            "code_challenge_methods_supported".into(),
            serde_json::json!(["plain"]),
        );
    });
    assert!(!query(&provider.url(false).await).contains_key("code_challenge"));
    assert!(provider.sign_in().await.is_ok());
    assert_eq!(provider.fake.last(TOKEN).form("code_verifier"), None);

    let provider = Provider::with(OIDC).await;
    provider.fake.edit_discovery(|document| {
        document.remove("code_challenge_methods_supported");
    });
    assert!(query(&provider.url(false).await).contains_key("code_challenge"));

    let provider = Provider::with(&format!("{OAUTH2}pkce = 'unknown'\n")).await;
    assert!(!query(&provider.url(false).await).contains_key("code_challenge"));
    let provider = Provider::with(&format!("{OAUTH2}pkce = 'unknown'\nsend_pkce = true\n")).await;
    assert!(query(&provider.url(false).await).contains_key("code_challenge"));
}

// B11: credentials in the header or the body, never in a URL.
#[tokio::test]
async fn client_authenticates_as_the_provider_wants() {
    let provider = Provider::with(OIDC).await;
    provider.sign_in().await.unwrap();
    let request = provider.fake.last(TOKEN);
    assert!(
        request
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
    assert_eq!(request.form("client_secret"), None);
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert!(
        request
            .header("user-agent")
            .unwrap()
            .starts_with("mcp-oauth/")
    );

    let provider = Provider::with(OIDC).await;
    provider.fake.edit_discovery(|document| {
        document.insert(
            "token_endpoint_auth_methods_supported".into(),
            serde_json::json!(["client_secret_post"]),
        );
    });
    provider.sign_in().await.unwrap();
    let request = provider.fake.last(TOKEN);
    assert_eq!(request.header("authorization"), None);
    assert_eq!(
        request.form("client_secret").as_deref(),
        Some(CLIENT_SECRET)
    );
}

// RFC 6749 §2.3.1
#[tokio::test]
async fn basic_credentials_are_form_encoded_first() {
    use base64::Engine as _;
    let settings =
        format!("{OAUTH2}client_auth = 'basic'\nclient_id = 'a:b c'\nclient_secret = 'p%+/='\n");
    let provider = Provider::with(&settings).await;
    provider.sign_in().await.unwrap_err();
    let request = provider.fake.last(TOKEN);
    let sent = request
        .header("authorization")
        .unwrap()
        .strip_prefix("Basic ")
        .unwrap();
    let sent = base64::engine::general_purpose::STANDARD
        .decode(sent)
        .unwrap();
    assert_eq!(String::from_utf8(sent).unwrap(), "a%3Ab+c:p%25%2B%2F%3D");
}

#[tokio::test]
async fn public_client_sends_its_id_only() {
    let settings = format!("{OAUTH2}client_auth = 'none'\n");
    let provider = Provider::with(&settings).await;
    provider.sign_in().await.unwrap_err();
    let request = provider.fake.last(TOKEN);
    assert_eq!(request.form("client_id").as_deref(), Some("us"));
    assert_eq!(request.form("client_secret"), None);
    assert_eq!(request.header("authorization"), None);
}

// Notion's shape: JSON and Basic together, and headers of its own.
#[tokio::test]
async fn token_request_may_be_json_with_basic() {
    let settings = format!(
        "{OAUTH2}token_body = 'json'\nclient_auth = 'basic'\ntoken_headers = {{ Notion-Version = '2025-09-03' }}\n"
    );
    let provider = Provider::with(&settings).await;
    provider.sign_in().await.unwrap();
    let request = provider.fake.last(TOKEN);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("notion-version"), Some("2025-09-03"));
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["grant_type"], "authorization_code");
    assert!(
        request
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
    assert!(body.get("client_secret").is_none());
}

#[tokio::test]
async fn refresh_repeats_what_the_provider_wants_repeated() {
    let settings = format!("{OAUTH2}repeat_scope = true\nrepeat_redirect_uri = true\n");
    let provider = Provider::with(&settings).await;
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(
        provider.fake.last(TOKEN).form("scope").as_deref(),
        Some("read")
    );
    provider.refresh(&sign_in).await.unwrap();
    let request = provider.fake.last(TOKEN);
    assert_eq!(request.form("scope").as_deref(), Some("read"));
    assert_eq!(request.form("redirect_uri").as_deref(), Some(CALLBACK));

    let provider = Provider::with(OAUTH2).await;
    let sign_in = provider.sign_in().await.unwrap();
    assert_eq!(provider.fake.last(TOKEN).form("scope"), None);
    provider.refresh(&sign_in).await.unwrap();
    let request = provider.fake.last(TOKEN);
    assert_eq!(
        (request.form("scope"), request.form("redirect_uri")),
        (None, None)
    );
    for never in ["resource", "audience"] {
        assert_eq!(request.form(never), None, "B8");
    }
}

// V3: RFC 7009 with our credentials; the other ways as data.
#[tokio::test]
async fn revocation_goes_the_provider_s_way() {
    let provider = Provider::with(OIDC).await;
    let sign_in = provider.sign_in().await.unwrap();
    provider.upstream.revoke(&sign_in.credential).await.unwrap();
    let request = provider.fake.last(REVOKE);
    assert_eq!(
        request.form("token").as_deref(),
        Some(refresh_token(&sign_in))
    );
    assert_eq!(
        request.form("token_type_hint").as_deref(),
        Some("refresh_token")
    );
    assert!(
        request
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
    assert!(!provider.fake.knows(refresh_token(&sign_in)));

    let access = UpstreamCredential::Access {
        token: sign_in.access_token.clone(),
        expires_at: None,
    };
    let settings =
        format!("{OAUTH2}revocation_url = 'ORIGIN/revoke'\nrevocation_style = 'bearer-self'\n");
    let provider = Provider::with(&settings).await;
    provider.upstream.revoke(&sign_in.credential).await.unwrap();
    assert_eq!(
        provider.fake.count(REVOKE),
        0,
        "only an access token can be ended this way"
    );
    provider.upstream.revoke(&access).await.unwrap();
    let request = provider.fake.last(REVOKE);
    assert_eq!(
        request.header("authorization"),
        Some(&*format!("Bearer {}", sign_in.access_token.expose()))
    );

    let settings =
        format!("{OAUTH2}revocation_url = 'ORIGIN/revoke'\nrevocation_style = 'github'\n");
    let provider = Provider::with(&settings).await;
    provider.upstream.revoke(&access).await.unwrap();
    let request = provider.fake.last(REVOKE);
    assert_eq!(request.method, "DELETE");
    assert!(
        request
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
    assert_eq!(
        request.body,
        format!("{{\"access_token\":\"{}\"}}", sign_in.access_token.expose())
    );
}

#[tokio::test]
async fn only_a_revocation_of_one_token_is_passed_on() {
    let passes_on = |settings: &'static str| async move {
        Provider::with(settings)
            .await
            .upstream
            .profile()
            .revokes_one_token
    };
    assert!(passes_on("provider = 'github'").await);
    assert!(!passes_on("provider = 'google'").await);
    assert!(passes_on("provider = 'google'\nrevoke_upstream = true").await);
    assert!(!passes_on("provider = 'entra'\ntenant = 'x'\nrevoke_upstream = true").await);
}
