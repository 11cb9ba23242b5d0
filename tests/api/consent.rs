//! The person's decision: bound to the browser, asked every time.

use axum::body::Body;
use axum::http::Request;

use super::support::client::{Browser, Client, LOOPBACK, consent_post, hidden};
use super::support::stub::Mood;
use super::support::world::{PUBLIC_URL, World, encode};

// C1, B1: nothing is sent upstream and no login cookie exists before the person allowed.
#[tokio::test]
async fn nothing_happens_before_the_person_allows() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    assert_eq!(
        client.browser.cookies.keys().collect::<Vec<_>>(),
        ["__Host-mcp-oauth-browser"]
    );
    let answer = client.browser.decide(&world, &page, "allow").await;
    assert_eq!(answer.status, 303);
    assert!(
        answer
            .header("location")
            .starts_with("https://idp.example/authorize")
    );
    assert!(
        client
            .browser
            .cookies
            .keys()
            .any(|name| name.starts_with("__Host-mcp-oauth-login-"))
    );
}

// B11: nothing sealed and nothing secret rides the URL to the upstream.
#[tokio::test]
async fn upstream_sees_a_short_random_state() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let state = client.allow(&world).await.sent("state").unwrap();
    assert_eq!(state.len(), 43);
    assert!(!state.contains('.'));
}

// C5: cookie attributes
#[tokio::test]
async fn cookies_are_for_this_host_only() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    let allowed = client.browser.decide(&world, &page, "allow").await;
    for answer in [page, allowed] {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with("__Host-"), "{cookie}");
            for attribute in [
                "; Path=/;",
                "; HttpOnly",
                "; SameSite=Lax",
                "; Secure",
                "; Max-Age=600",
            ] {
                assert!(cookie.contains(attribute), "{cookie}");
            }
            assert!(!cookie.contains("Domain"));
        }
    }
}

// C8, A9
#[tokio::test]
async fn deny_tells_the_client() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    let answer = client.browser.decide(&world, &page, "deny").await;
    assert_eq!(answer.status, 303);
    assert!(answer.header("location").starts_with(LOOPBACK));
    assert_eq!(answer.sent("error").as_deref(), Some("access_denied"));
    assert_eq!(answer.sent("state").as_deref(), Some("the client's state"));
    assert_eq!(answer.sent("iss").as_deref(), Some(PUBLIC_URL));
}

// C3 (FastMCP GHSA-rww4): a form that an attacker minted in their own browser is refused in the
// victim's, with or without a cookie of the victim's own.
#[tokio::test]
async fn form_of_another_browser_is_refused() {
    let world = World::new();
    let mut attacker = Client::register(&world).await;
    let page = attacker.authorize(&world, &attacker.request()).await;
    let mut victim = Browser::default();
    assert_eq!(victim.decide(&world, &page, "allow").await.status, 400);
    let mut other = Client::register(&world).await;
    other.authorize(&world, &other.request()).await;
    assert_eq!(
        other.browser.decide(&world, &page, "allow").await.status,
        400
    );
    assert_eq!(
        other.browser.decide(&world, &page, "deny").await.status,
        400
    );
    assert_eq!(world.upstream.counts().exchanges, 0);
}

// C3: posted from another site
#[tokio::test]
async fn form_from_another_site_is_refused() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    let body = encode(&[("consent", &hidden(&page)), ("decision", "allow")]);
    for (name, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "none", 403),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", PUBLIC_URL, 303),
        ("x-none", "", 303),
    ] {
        let request = Request::post("/consent")
            .header("content-type", "application/x-www-form-urlencoded")
            .header(name, value)
            .body(Body::from(body.clone()))
            .unwrap();
        assert_eq!(
            client.browser.send(&world, request).await.status,
            status,
            "{name}: {value}"
        );
    }
}

// FastMCP #4818: two tabs both work, and a reload does not break the first form.
#[tokio::test]
async fn two_tabs_and_a_reload_both_work() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let first = client.authorize(&world, &client.request()).await;
    let second = client.authorize(&world, &client.request()).await;
    for page in [first, second] {
        let allowed = client.browser.decide(&world, &page, "allow").await;
        let answer = client.callback(&world, &allowed, "alice").await;
        assert!(answer.sent("code").is_some());
    }
}

// C6, FastMCP GHSA-c2jp: asked every time, also right after a login.
#[tokio::test]
async fn person_is_asked_every_time() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    client.login(&world, "alice").await;
    let page = client.authorize(&world, &client.request()).await;
    assert!(page.status == 200 && page.body.contains("name=\"decision\""));
}

// C7, FastMCP #3784: hundreds of logins that are never finished leave a bounded jar.
#[tokio::test]
async fn unfinished_logins_do_not_fill_the_cookie_jar() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    for n in 0..60 {
        let mut request = client.request();
        request.insert("state".into(), "s".repeat(n * 40));
        let page = client.authorize(&world, &request).await;
        client.browser.decide(&world, &page, "allow").await;
        let size: usize = client
            .browser
            .cookies
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(size <= 6 * 1024 + 200, "{size}");
        assert!(client.browser.cookies.len() <= 9);
    }
    // The newest is the one that works.
    let allowed = client.allow(&world).await;
    assert!(
        client
            .callback(&world, &allowed, "alice")
            .await
            .sent("code")
            .is_some()
    );
}

// The largest request still makes a cookie that browsers keep.
#[tokio::test]
async fn login_cookie_of_the_largest_request_fits() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let mut request = client.request();
    request.insert("state".into(), "s".repeat(2_400 - LOOPBACK.len() - 3));
    let page = client.authorize(&world, &request).await;
    assert_eq!(page.status, 200);
    client.browser.decide(&world, &page, "allow").await;
    let (name, value) = client
        .browser
        .cookies
        .iter()
        .find(|(name, _)| name.contains("login"))
        .unwrap();
    assert!(
        name.len() + value.len() <= 3_891,
        "{}",
        name.len() + value.len()
    );
}

#[tokio::test]
async fn form_expires_after_ten_minutes() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    world.clock.advance(std::time::Duration::from_secs(601));
    let answer = client.browser.decide(&world, &page, "allow").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("took too long"));
}

// Trouble at the upstream costs nothing: the same form works afterwards.
#[tokio::test]
async fn unreachable_upstream_is_a_page_and_the_form_works_later() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    world.upstream.mood(Mood::Down);
    let answer = client.browser.decide(&world, &page, "allow").await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    world.upstream.mood(Mood::Well);
    assert_eq!(
        client.browser.decide(&world, &page, "allow").await.status,
        303
    );
}

#[tokio::test]
async fn other_account_adds_the_account_picker() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let page = client.authorize(&world, &client.request()).await;
    let sealed = hidden(&page);
    let form = [
        ("consent", sealed.as_str()),
        ("decision", "allow"),
        ("account", "other"),
    ];
    let answer = client.browser.send(&world, consent_post(&form)).await;
    assert_eq!(answer.sent("prompt").as_deref(), Some("select_account"));
}
