//! The authorization request.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::support::client::{Client, LOOPBACK};
use super::support::world::{PUBLIC_URL, World};

const WEB: &str = "https://client.example/cb";

async fn web_client(world: &World) -> Client {
    let body =
        json!({"client_name": "Web", "redirect_uris": [WEB], "token_endpoint_auth_method": "none"});
    Client::register_with(world, &body).await
}

// A3, A14, C2, C4, C9, M12
#[tokio::test]
async fn consent_page_shows_who_asks_and_where_the_answer_goes() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    assert_eq!(page.status, 200);
    for text in [
        "Test client",
        "chose its own name",
        "127.0.0.1:33418",
        "Only continue if you just started this yourself",
        "Example tools",
        "https://mcp.example.com/mcp",
        "Stub",
        "mcp",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(
        policy.contains("frame-ancestors 'none'") && !policy.contains("form-action"),
        "{policy}"
    );
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("referrer-policy"), "same-origin");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(page.headers.get("cross-origin-opener-policy").is_none());
    assert!(!page.body.contains("<script"));
}

// A3: unregistered redirect at /authorize is a page, never a redirect (workers-oauth-provider CVE-2025-4143).
#[tokio::test]
async fn unknown_client_or_redirect_is_a_page() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    for (name, value) in [
        ("client_id", "unknown"),
        ("client_id", "eyJ.a.b.c.d"),
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "http://127.0.0.1:33418/other"),
        ("redirect_uri", "http://localhost:33418/callback"),
        ("client_id", ""),
    ] {
        let mut request = client.request();
        request.insert(name.to_owned(), value.to_owned());
        let answer = client.authorize(&world, &request).await;
        assert_eq!(answer.status, 400, "{name}={value}");
        assert!(answer.headers.get("location").is_none());
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.body.contains("What to do:") && answer.body.contains("Error id:"));
    }
}

// A5
#[tokio::test]
async fn loopback_port_is_free() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let mut request = client.request();
    request.insert(
        "redirect_uri".into(),
        "http://127.0.0.1:50000/callback".into(),
    );
    let page = client.authorize(&world, &request).await;
    assert!(page.body.contains("127.0.0.1:50000"));
}

// A6, A7, A9, A10
#[tokio::test]
async fn other_errors_go_to_a_loopback_client_with_state_and_iss() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("resource", "https://other.example/mcp", "invalid_target"),
        ("scope", "a\"b", "invalid_scope"),
    ] {
        let mut request = client.request();
        request.insert(name.to_owned(), value.to_owned());
        let answer = client.authorize(&world, &request).await;
        assert_eq!(answer.status, 303, "{name}={value}: {}", answer.body);
        assert!(answer.header("location").starts_with(LOOPBACK));
        assert_eq!(
            answer.sent("error").as_deref(),
            Some(error),
            "{name}={value}"
        );
        assert_eq!(answer.sent("state").as_deref(), Some("the client's state"));
        assert_eq!(answer.sent("iss").as_deref(), Some(PUBLIC_URL));
        assert!(answer.sent("code").is_none());
    }
}

// A12: anybody can register a web client, so we do not send people there before they act.
#[tokio::test]
async fn errors_of_a_self_registered_web_client_are_a_page_with_a_link() {
    let world = World::new();
    let mut client = web_client(&world).await;
    let mut request = client.request();
    request.insert("response_type".into(), "token".into());
    let answer = client.authorize(&world, &request).await;
    assert_eq!(answer.status, 400);
    assert!(answer.headers.get("location").is_none());
    assert!(
        answer
            .body
            .contains("https://client.example/cb?error=unsupported_response_type")
    );
}

#[tokio::test]
async fn errors_of_a_configured_client_are_redirected() {
    use mcp_oauth::config::StaticClient;

    let world = World::with(|config| {
        config.clients.fixed.push(StaticClient {
            client_id: "fixed".into(),
            secret: None,
            redirect_uris: vec![WEB.into()],
        });
    });
    let mut client = web_client(&world).await;
    client.client_id = "fixed".into();
    let mut request = client.request();
    request.insert("response_type".into(), "token".into());
    let answer = client.authorize(&world, &request).await;
    assert_eq!(
        (answer.status.as_u16(), answer.sent("error").as_deref()),
        (303, Some("unsupported_response_type"))
    );
}

// A1
#[tokio::test]
async fn repeated_parameters_are_refused_and_unknown_ones_ignored() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let mut request = client.request();
    for (name, value) in [
        ("prompt", "none"),
        ("nonce", "n"),
        ("audience", "x"),
        ("login_hint", "a"),
        ("request_uri", "urn:x"),
    ] {
        request.insert(name.to_owned(), value.to_owned()); // A13
    }
    assert_eq!(client.authorize(&world, &request).await.status, 200);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&request)
        .finish();
    let answer = world.get(&format!("/authorize?{query}&state=again")).await;
    assert_eq!(answer.status, 400);
}

// A10, A11, R15
#[tokio::test]
async fn missing_resource_and_scope_mean_the_usual_ones() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let mut request = client.request();
    request.remove("resource");
    request.insert("scope".into(), "openid offline_access junk".into());
    assert_eq!(client.authorize(&world, &request).await.status, 200);
}

// A8: what does not fit into a login cookie is refused before anybody signs in.
#[tokio::test]
async fn oversized_state_is_refused_on_a_page() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let mut request = client.request();
    request.insert("state".into(), "s".repeat(2_300));
    assert_eq!(client.authorize(&world, &request).await.status, 200);
    for state in ["s".repeat(2_500), "\u{1}".repeat(500)] {
        request.insert("state".into(), state);
        assert_eq!(client.authorize(&world, &request).await.status, 400);
    }
}

// A1: a posted request is sent on as GET, so that a page can be reloaded.
#[tokio::test]
async fn posted_request_is_sent_on_as_get() {
    let world = World::new();
    let request =
        Request::post("/authorize").header("content-type", "application/x-www-form-urlencoded");
    let answer = world
        .send(request.body(Body::from("client_id=a&state=b%20c")).unwrap())
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/authorize?client_id=a&state=b%20c")
    );
}

// A2, X3
#[tokio::test]
async fn browser_endpoints_have_no_cors() {
    let world = World::new();
    for path in ["/authorize", "/consent", "/callback/stub", "/"] {
        let preflight = Request::options(path).header("origin", "https://evil.example");
        let answer = world.send(preflight.body(Body::empty()).unwrap()).await;
        assert!(
            answer.headers.get("access-control-allow-origin").is_none(),
            "{path}"
        );
    }
}

// C11, R17
#[tokio::test]
async fn what_a_stranger_wrote_is_escaped() {
    let world = World::new();
    let name = r#"<img src=x onerror=alert(1)>"'&<b>"#;
    let body = json!({"client_name": name, "redirect_uris": [LOOPBACK], "token_endpoint_auth_method": "none"});
    let mut client = Client::register_with(&world, &body).await;
    let page = client.authorize(&world, &client.request()).await;
    assert!(
        !page.body.contains("<img") && page.body.contains("&#60;img"),
        "{}",
        page.body
    );
}

// R14: the largest usual registration and a long state fit into what proxies pass.
#[tokio::test]
async fn authorization_url_of_four_redirects_and_a_long_state_fits_into_8_kib() {
    let world = World::new();
    let body = json!({
        "client_name": "Visual Studio Code",
        "redirect_uris": ["https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"],
        "token_endpoint_auth_method": "none", "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    });
    let mut client = Client::register_with(&world, &body).await;
    assert!(
        client.client_id.len() <= 1_200,
        "{}",
        client.client_id.len()
    );
    let mut request = client.request();
    request.insert("redirect_uri".into(), "http://127.0.0.1:50001/".into());
    request.insert("state".into(), "s".repeat(2_048));
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&request)
        .finish();
    assert!(query.len() < 8_000, "{}", query.len());
    assert_eq!(client.authorize(&world, &request).await.status, 200);
}
