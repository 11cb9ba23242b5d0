//! The wire: shapes of errors, methods, caps, headers; every token at every place.

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use serde_json::{Value, json};

use super::support::client::{Client, hidden};
use super::support::world::{World, form_request};

/// A token request with the secret in the header.
pub(crate) fn with_basic(client: &Client, secret: &str, form: &[(&str, &str)]) -> Request<Body> {
    let pair = format!("{}:{secret}", client.client_id);
    let mut request = form_request("/token", form);
    let value = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    );
    request
        .headers_mut()
        .insert("authorization", value.parse().unwrap());
    request
}

// R2, R5, H1
#[tokio::test]
async fn registration_answers_201_with_what_was_registered() {
    let world = World::new();
    let body = json!({
        "client_name": "Example", "redirect_uris": ["https://a.example/cb"], "scope": "mcp",
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
    });
    let answer = world.post_json("/register", &body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut body = answer.json();
    let id = body["client_id"].take();
    // R13: never a URL, small enough for every proxy.
    assert!(id.as_str().unwrap().starts_with("eyJ") && id.as_str().unwrap().len() <= 700);
    insta::assert_json_snapshot!(body);
}

// R12, E1
#[tokio::test]
async fn registration_errors_are_json_400() {
    let world = World::new();
    for (body, error) in [
        ("", "invalid_client_metadata"),
        ("[]", "invalid_client_metadata"),
        (
            "{\"redirect_uris\":[\"javascript:alert(1)\"]}",
            "invalid_redirect_uri",
        ),
        ("\u{0}", "invalid_client_metadata"),
    ] {
        let answer = world
            .send(Request::post("/register").body(Body::from(body)).unwrap())
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, error),
            "{body:?}"
        );
    }
}

// G15, F20: caps
#[tokio::test]
async fn bodies_over_the_cap_are_413_in_json() {
    let world = World::new();
    for (path, size) in [
        ("/register", 17 << 10),
        ("/register", 10 << 20),
        ("/token", 65 << 10),
        ("/revoke", 65 << 10),
        ("/consent", 65 << 10),
    ] {
        let request =
            Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        let answer = world
            .send(request.body(Body::from(vec![b'a'; size])).unwrap())
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (413, "application/json"),
            "{path}"
        );
    }
}

// T1, E1
#[tokio::test]
async fn other_methods_and_bodies_are_refused_in_json() {
    let world = World::new();
    for (method, path) in [
        ("GET", "/token"),
        ("PUT", "/token"),
        ("GET", "/register"),
        ("DELETE", "/revoke"),
        ("POST", "/.well-known/oauth-authorization-server"),
        ("GET", "/consent"),
        ("POST", "/callback/stub"),
    ] {
        let answer = world
            .send(
                Request::builder()
                    .method(method)
                    .uri(path)
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (405, "application/json"),
            "{method} {path}"
        );
    }
    let request = Request::post("/token").header("content-type", "application/json");
    let answer = world.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "invalid_request")
    );
}

// T1, T3, T10
#[tokio::test]
async fn token_errors_have_the_right_code() {
    let world = World::new();
    let client = Client::register(&world).await;
    let id = client.client_id.as_str();
    for (form, status, error) in [
        (vec![("client_id", id)], 400, "invalid_request"),
        (
            vec![("client_id", id), ("grant_type", "password")],
            400,
            "unsupported_grant_type",
        ),
        (
            vec![("client_id", id), ("grant_type", "authorization_code")],
            400,
            "invalid_request",
        ),
        (
            vec![
                ("client_id", id),
                ("grant_type", "refresh_token"),
                ("refresh_token", "x"),
            ],
            400,
            "invalid_grant",
        ),
        (
            vec![("client_id", id), ("client_id", id)],
            400,
            "invalid_request",
        ),
        (
            vec![("client_id", "nobody"), ("grant_type", "refresh_token")],
            401,
            "invalid_client",
        ), // T9
    ] {
        let answer = world.post_form("/token", &form).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (status, error),
            "{form:?}"
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

// T3
#[tokio::test]
async fn invalid_client_after_basic_asks_for_basic() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    client.client_id = "nobody".into();
    let answer = world
        .send(with_basic(&client, "s", &[("grant_type", "refresh_token")]))
        .await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Basic "));
    let answer = world.post_form("/token", &[("client_id", "nobody")]).await;
    assert!(answer.headers.get("www-authenticate").is_none());
}

// X1
#[tokio::test]
async fn preflights_are_answered_without_credentials() {
    let world = World::new();
    for path in [
        "/token",
        "/register",
        "/revoke",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let answer = world
            .send(
                Request::options(path)
                    .header("origin", "https://inspector.example")
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let allowed = answer
            .header("access-control-allow-headers")
            .to_ascii_lowercase();
        for name in ["content-type", "authorization", "mcp-protocol-version"] {
            assert!(allowed.contains(name), "{allowed}");
        }
        assert!(
            answer
                .headers
                .get("access-control-allow-credentials")
                .is_none()
        );
    }
}

// K3: every kind of token at every place that takes one.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "every kind at every place")]
async fn token_of_one_kind_is_not_taken_for_another() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    let consent = hidden(&page);
    let session = {
        client.allow(&world).await;
        client
            .browser
            .cookies
            .iter()
            .find(|(name, _)| name.contains("login"))
            .unwrap()
            .1
            .clone()
    };
    let code = client.code(&world, "alice.1").await;
    let tokens = client.login(&world, "alice.2").await;
    let kinds = [
        ("registration", client.client_id.as_str()),
        ("consent", &consent),
        ("login", &session),
        ("code", &code),
        ("access", &tokens.access),
        ("refresh", &tokens.refresh),
    ];
    for (kind, token) in kinds {
        if kind != "code" {
            assert_eq!(
                client.redeem(&world, token).await.error(),
                "invalid_grant",
                "{kind} as code"
            );
        }
        if kind != "refresh" {
            assert_eq!(
                client.refresh(&world, token).await.error(),
                "invalid_grant",
                "{kind} as refresh token"
            );
        }
        if kind != "consent" {
            let form = [("consent", token), ("decision", "allow")];
            let answer = client
                .browser
                .send(&world, super::support::client::consent_post(&form))
                .await;
            assert_eq!(answer.status, 400, "{kind} as consent");
        }
        if kind != "registration" {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", tokens.refresh.as_str()),
                ("client_id", token),
            ];
            assert_eq!(
                world.post_form("/token", &form).await.error(),
                "invalid_client",
                "{kind} as client_id"
            );
        }
    }
    assert_eq!(client.redeem(&world, &code).await.status, 200);
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
}

// E1, D5: garbage at every endpoint is the caller's fault, in the endpoint's own form.
#[tokio::test]
async fn garbage_is_never_our_fault() {
    let world = World::new();
    let garbage = [
        "%",
        "%00=%00",
        "=&=&==",
        "a=%ff",
        "\u{7f}\u{1}",
        "client_id=%00",
        "code=..&state=..",
        "resource=%5B%5D",
    ];
    for text in garbage {
        let query: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for raw in [text.replace(['\u{1}', '\u{7f}'], "%01"), query] {
            for path in [
                "/authorize",
                "/callback/stub",
                "/",
                "/.well-known/oauth-protected-resource/x",
            ] {
                let answer = world.get(&format!("{path}?{raw}")).await;
                assert!(
                    answer.status.is_client_error() || path == "/",
                    "{path}?{raw}: {}",
                    answer.status
                );
            }
        }
        for path in ["/token", "/revoke", "/register", "/consent"] {
            let request =
                Request::post(path).header("content-type", "application/x-www-form-urlencoded");
            let answer = world.send(request.body(Body::from(text)).unwrap()).await;
            assert!(
                answer.status.is_client_error(),
                "{path}: {text:?}: {}",
                answer.status
            );
            if path != "/consent" {
                assert!(serde_json::from_str::<Value>(&answer.body).is_ok());
            }
        }
    }
}

// D18: URLs come from the configuration, whatever the request says.
#[tokio::test]
async fn host_and_forwarded_headers_do_not_change_our_urls() {
    let world = World::new();
    let request = Request::get("/.well-known/oauth-authorization-server")
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "http");
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.json()["issuer"], "https://mcp.example.com");
}

#[tokio::test]
async fn index_shows_how_to_add_the_server() {
    let world = World::new();
    let answer = world.get("/").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .body
            .contains("claude mcp add --transport http example-tools https://mcp.example.com/mcp")
    );
    let machine = Request::get("/").header("accept", "application/json");
    let answer = world.send(machine.body(Body::empty()).unwrap()).await;
    assert_eq!(
        answer.json()["resources"][0]["resource"],
        "https://mcp.example.com/mcp"
    );
}
