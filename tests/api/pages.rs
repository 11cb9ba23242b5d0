//! Pages at addresses that are for programs, and what they say.

use axum::body::Body;
use axum::http::Request;
use mcp_oauth::config::AuthMode;

use super::clients::walk::{opened, query, whole};
use super::support::client::Client;
use super::support::world::{Answer, World};

/// What a browser sends when a person goes to an address.
const BROWSER: [(&str, &str); 2] = [
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
];

fn site() -> World {
    let mut world = World::new();
    world.router = whole(&world);
    world
}

fn assert_safe_page(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(!policy.contains("form-action") && !policy.contains("unsafe"));
    assert!(!answer.headers.contains_key("cross-origin-opener-policy"));
    assert!(!answer.body.contains("<script"));
    assert!(answer.body.contains("<html lang=\"en\">"));
}

// W1, W9: the status and the challenge stay what a client needs; the body is for a person.
#[tokio::test]
async fn browser_at_the_mcp_url_gets_a_page_that_says_how_to_add_it() {
    let world = site();
    for path in ["/mcp", "/mcp/", "/mcp/below?x=1"] {
        let page = opened(&world, path, &BROWSER).await;
        assert_eq!(page.status, 401, "{path}");
        let challenge = page.header("www-authenticate");
        assert!(challenge.starts_with("Bearer resource_metadata="), "{path}");
        assert!(page.header("vary").contains("Accept"));
        assert_safe_page(&page);
        for text in [
            "This address is for an AI app",
            "Example tools",
            "https://mcp.example.com/mcp",
            "claude mcp add --transport http example-tools https://mcp.example.com/mcp",
            "codex mcp add example-tools --url https://mcp.example.com/mcp",
            "gemini mcp add --transport http example-tools https://mcp.example.com/mcp",
            "cursor://anysphere.cursor-deeplink/mcp/install?",
            "vscode:mcp/install?",
            "ChatGPT",
        ] {
            assert!(page.body.contains(text), "{text}: {}", page.body);
        }
    }
}

// W9: whoever is no person at a browser gets the short JSON, as before.
#[tokio::test]
async fn programs_at_the_mcp_url_get_json() {
    let world = site();
    let html = ("accept", "text/html");
    let headers: [&[(&str, &str)]; 6] = [
        &[],
        &[("accept", "application/json, text/event-stream")],
        &[("accept", "text/event-stream")],
        &[("accept", "*/*")],
        &[html, ("sec-fetch-mode", "cors")],
        &[html, ("authorization", "Bearer nonsense")],
    ];
    for headers in headers {
        let answer = opened(&world, "/mcp", headers).await;
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    for method in ["POST", "HEAD", "DELETE"] {
        let request = Request::builder().method(method).uri("/mcp");
        let request = request.header("accept", "text/html").body(Body::empty());
        let answer = world.send(request.unwrap()).await;
        assert_eq!(answer.status, 401, "{method}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

// G2: the wrong name is told the right one, in words and in a form that a program reads.
#[tokio::test]
async fn wrong_host_is_told_the_right_address_and_what_to_change() {
    let world = site();
    let other = ("host", "other.example");
    let program = opened(&world, "/mcp", &[other]).await;
    assert_eq!(program.status, 421);
    assert_eq!(program.error(), "misdirected_request");
    for text in ["https://mcp.example.com", "public_url", "Host"] {
        assert!(program.body.contains(text), "{text}: {}", program.body);
    }
    let [accept, mode] = BROWSER;
    for path in ["/mcp", "/", "/authorize?client_id=x", "/nothing"] {
        let page = opened(&world, path, &[other, accept, mode]).await;
        assert_eq!(page.status, 421, "{path}");
        assert_safe_page(&page);
        for text in ["https://mcp.example.com/mcp", "public_url", "Host"] {
            assert!(page.body.contains(text), "{text}: {}", page.body);
        }
        // What was asked for is not shown back.
        assert!(!page.body.contains("other.example"));
    }
}

#[tokio::test]
async fn browser_where_nothing_is_gets_a_page_with_what_there_is() {
    let world = site();
    let page = opened(&world, "/mcpp", &BROWSER).await;
    assert_eq!(page.status, 404);
    assert_safe_page(&page);
    assert!(page.body.contains("https://mcp.example.com/mcp"));
    let program = opened(&world, "/mcpp", &[]).await;
    assert_eq!(
        (program.status.as_u16(), program.error().as_str()),
        (404, "not_found")
    );
}

// W9: the other addresses that only programs use.
#[tokio::test]
async fn browser_at_a_program_s_endpoint_gets_a_page() {
    let world = site();
    for path in ["/token", "/register", "/revoke"] {
        let page = opened(&world, path, &BROWSER).await;
        assert_eq!(page.status, 405, "{path}");
        assert_safe_page(&page);
        assert!(page.body.contains("This address is for programs"), "{path}");
        let program = opened(&world, path, &[]).await;
        assert_eq!(program.status, 405, "{path}");
        assert_eq!(program.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn browser_at_a_path_with_two_readings_gets_a_page() {
    let world = site();
    let page = opened(&world, "/mcp/a%2Fb", &BROWSER).await;
    assert_eq!(page.status, 400);
    assert_safe_page(&page);
    assert!(page.body.contains("There is nothing at this address"));
}

// G7: where nobody has to sign in, a person may meet the backend's absence.
#[tokio::test]
async fn browser_before_a_backend_that_is_away_gets_a_page() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let mut world = World::with(|config| {
        config.resources[0].auth = AuthMode::Optional;
        config.resources[0].backend = format!("http://{address}/mcp").parse().unwrap();
    });
    world.router = whole(&world);
    let page = opened(&world, "/mcp", &BROWSER).await;
    assert_eq!(page.status, 502);
    assert_eq!(page.header("retry-after"), "5");
    assert_safe_page(&page);
    assert!(
        page.body
            .contains("The tools at this address do not answer")
    );
    let program = opened(&world, "/mcp", &[]).await;
    assert_eq!(program.status, 502);
    assert_eq!(program.header("content-type"), "application/json");
}

// D5: whatever is asked for, nothing below `/.well-known/` is ever a page.
#[tokio::test]
async fn well_known_addresses_are_never_a_page() {
    let world = site();
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/nothing/at/all",
    ] {
        let answer = opened(&world, path, &BROWSER).await;
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
}

// C10: a person who opens the form's address again is told where to start, and nothing loops.
#[tokio::test]
async fn consent_address_without_a_form_is_a_page() {
    let world = site();
    let page = opened(&world, "/consent", &BROWSER).await;
    assert_eq!(page.status, 405);
    assert_eq!(page.header("allow"), "POST");
    assert_safe_page(&page);
    assert!(page.body.contains("Start again from the app"));
}

// A3: what chooses the words of the page is never shown and never followed.
#[tokio::test]
async fn redirect_of_an_unknown_app_only_chooses_the_words() {
    let world = site();
    let redirect = "https://claude.ai/<script>alert(1)</script>";
    let query = query(&[
        ("client_id", "nobody\"><script>"),
        ("redirect_uri", redirect),
    ]);
    let page = opened(&world, &format!("/authorize?{query}"), &BROWSER).await;
    assert_eq!(page.status, 400);
    assert_safe_page(&page);
    assert!(page.body.contains("In Claude:"));
    assert!(!page.body.contains("nobody") && !page.body.contains("alert(1)"));
    assert!(!page.body.contains("<a "));
    let twice = "/authorize?client_id=a&client_id=b&redirect_uri=https://claude.ai/";
    let page = opened(&world, twice, &BROWSER).await;
    assert_eq!(page.status, 400);
    assert!(!page.body.contains("In Claude:"));
}

// C2: a scheme is shown as one, with what opens it.
#[tokio::test]
async fn consent_page_says_which_kind_of_app_gets_the_answer() {
    let world = site();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    assert!(page.body.contains("(a program on this computer)"));
    let body = serde_json::json!({
        "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback"],
        "token_endpoint_auth_method": "none",
    });
    let mut client = Client::register_with(&world, &body).await;
    let page = client.authorize(&world, &client.request()).await;
    assert!(page.body.contains("<b>cursor://</b>"));
    assert!(page.body.contains("that opens such links"));
}

// M13: nothing of a client's own is loaded by the page that asks about it.
#[tokio::test]
async fn logo_of_a_client_is_never_linked() {
    let world = site();
    let id = "https://client.example/oauth/client.json";
    let logo = "https://client.example/logo.png";
    let metadata = serde_json::json!({
        "client_id": id, "client_name": "With a logo", "logo_uri": logo,
        "redirect_uris": ["https://client.example/callback"], "token_endpoint_auth_method": "none",
    });
    world.web.publish(id, &metadata);
    let mut registered = Client::register_with(&world, &metadata).await;
    let mut documented = registered.clone();
    documented.client_id = id.to_owned();
    for client in [&mut registered, &mut documented] {
        let page = client.authorize(&world, &client.request()).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(!page.body.contains("<img") && !page.body.contains("logo.png"));
        let policy = page.header("content-security-policy");
        assert!(policy.contains("img-src 'self' data:"), "{policy}");
    }
    // The document alone: not the logo, nor anything else that it names.
    assert_eq!(world.web.fetches(), 1);
}
