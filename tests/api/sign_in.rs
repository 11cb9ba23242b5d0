//! The whole dance with a provider behind a socket: what it is asked for, how often, and what its
//! faults cost the client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_oauth::net::{TrustedClient, TrustedOptions};
use mcp_oauth::oauth::names::{Secret, UpstreamName};
use mcp_oauth::upstream::{self, RawUpstream, Secrets};
use serde_json::json;

use super::support::client::{Client, Tokens, VERIFIER};
use super::support::upstream::{
    AUTHORIZE, CLIENT_ID, CLIENT_SECRET, DISCOVERY, FakeUpstream, KEYS, Misbehaviour, TOKEN,
    USERINFO,
};
use super::support::world::{Answer, World, encode};

/// A world whose upstream is a real one, toward a provider on this computer.
async fn world() -> (World, FakeUpstream) {
    let world = World::new();
    let fake = FakeUpstream::start_at(Arc::clone(&world.clock) as _).await;
    let raw = RawUpstream {
        provider: Some("oidc".to_owned()),
        issuer: Some(fake.issuer()),
        client_id: Some(CLIENT_ID.to_owned()),
        client_secret: Some(Secret::new(CLIENT_SECRET)),
        ..RawUpstream::default()
    };
    let name = UpstreamName::new("stub");
    let settings = raw.resolve(name.clone(), Secrets::default()).unwrap();
    let app = &world.app;
    let callback = app
        .config
        .public_url
        .join(&settings.profile().callback_path);
    let http = TrustedClient::new(TrustedOptions::default()).unwrap();
    let upstream = upstream::build(settings, callback, &http, Arc::clone(&world.clock) as _);
    let config = Arc::clone(&world.app.config);
    (world.rebuilt(config, [(name, upstream.unwrap())]), fake)
}

/// From "Allow" through the provider to the answer of our callback.
async fn through(world: &World, fake: &FakeUpstream, client: &mut Client) -> Answer {
    let allowed = client.allow(world).await;
    let callback = fake.visit(&allowed.location()).await;
    let query: Vec<_> = callback
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let uri = format!("/callback/stub?{}", encode(&query));
    client.browser.get(world, &uri).await
}

async fn code(world: &World, fake: &FakeUpstream, client: &mut Client) -> String {
    let answer = through(world, fake, client).await;
    answer.sent("code").unwrap_or_else(|| panic!("{answer:?}"))
}

// B3, B6, B8, B11: late exchange, one request of each kind, nothing of the client's passed on.
#[tokio::test]
async fn person_signs_in_at_a_provider() {
    let (world, fake) = world().await;
    let mut client = Client::register(&world).await;
    let allowed = client.allow(&world).await;
    let query: Vec<_> = allowed.location().query_pairs().into_owned().collect();
    let sent = |name: &str| {
        query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(sent("scope"), Some("openid profile email"));
    assert_eq!(
        sent("redirect_uri"),
        Some("https://mcp.example.com/callback/stub")
    );
    assert_eq!(sent("code_challenge_method"), Some("S256"));
    assert_ne!(
        sent("code_challenge"),
        client.request().get("code_challenge").map(String::as_str)
    );
    assert_ne!(sent("state"), Some("the client's state"));
    assert_eq!((sent("resource"), sent("response_mode")), (None, None));

    let code = code(&world, &fake, &mut client).await;
    assert_eq!(fake.count(TOKEN), 0, "the code is exchanged late");
    let tokens = Tokens::of(&client.redeem(&world, &code).await);
    let tokens = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    let counts = fake.counts();
    assert_eq!((counts[DISCOVERY], counts[KEYS], counts[TOKEN]), (1, 1, 3));
    assert_eq!(counts.get(USERINFO), None);
    for request in fake.requests(TOKEN) {
        assert_eq!(
            (request.form("resource"), request.form("scope")),
            (None, None)
        );
        assert!(!request.path.contains('?'));
    }
    assert_eq!(fake.count(AUTHORIZE), 1);
}

// B4: missing where it was promised, or another's.
#[tokio::test]
async fn promised_iss_must_come() {
    let (world, fake) = world().await;
    let mut client = Client::register(&world).await;
    for iss in [None, Some("https://evil.example".to_owned())] {
        let allowed = client.allow(&world).await;
        let mut callback = fake.visit(&allowed.location()).await;
        match iss {
            Some(iss) => callback.insert("iss".to_owned(), iss),
            None => callback.remove("iss"),
        };
        let query: Vec<_> = callback
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        let uri = format!("/callback/stub?{}", encode(&query));
        let answer = client.browser.get(&world, &uri).await;
        assert!(answer.status.as_u16() >= 400, "{callback:?}");
        assert!(answer.headers.get("location").is_none());
    }
    assert_eq!(fake.count(TOKEN), 0);
}

// B12, F10, F11
#[tokio::test]
async fn trouble_of_the_provider_costs_nothing_and_a_refusal_ends_the_grant() {
    let (world, fake) = world().await;
    let mut client = Client::register(&world).await;
    let code = code(&world, &fake, &mut client).await;
    for how in [
        Misbehaviour::status(500),
        Misbehaviour::status(429).with("retry-after", "7"),
        Misbehaviour::says(200, "text/html", "<html></html>"),
        Misbehaviour::Reset,
        Misbehaviour::json(
            401,
            &json!({"error": "invalid_client", "error_description": "S3CRET"}),
        ),
    ] {
        fake.misbehave(TOKEN, how.clone());
        let answer = client.redeem(&world, &code).await;
        assert_eq!(answer.status, 503, "{how:?}: {}", answer.body);
        assert!(!answer.header("retry-after").is_empty());
        assert!(
            !answer.body.contains("S3CRET") && !answer.body.contains("invalid_client"),
            "{}",
            answer.body
        );
    }
    fake.behave();
    let tokens = Tokens::of(&client.redeem(&world, &code).await);

    fake.misbehave(TOKEN, Misbehaviour::status(502));
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 503);
    fake.behave();
    let tokens = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    fake.end_sessions();
    let answer = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "invalid_grant")
    );
    assert!(!answer.body.contains("secret detail"), "{}", answer.body);
}

// TC4: the provider sees each code once, whatever the client does.
#[tokio::test]
async fn provider_sees_each_code_once() {
    let (world, fake) = world().await;
    let mut client = Client::register(&world).await;
    let code = code(&world, &fake, &mut client).await;
    let redemptions = (0..20).map(|_| client.redeem(&world, &code));
    let answers = futures_util::future::join_all(redemptions).await;
    let winners = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((winners, fake.count(TOKEN)), (1, 1));
}

// F13: an ID token from a clock that is five minutes off is refused; nobody is signed in by it.
#[tokio::test]
async fn provider_whose_clock_is_off_is_not_believed() {
    let (world, fake) = world().await;
    let mut client = Client::register(&world).await;
    for (ahead, accepted) in [(59_i64, true), (-290, true), (300, false), (-400, false)] {
        fake.edit_claims(move |claims| {
            for name in ["iat", "exp"] {
                let moved = claims[name].as_i64().unwrap() + ahead;
                claims.insert(name.into(), json!(moved));
            }
        });
        let code = code(&world, &fake, &mut client).await;
        let answer = client.redeem(&world, &code).await;
        assert_eq!(answer.status == 200, accepted, "{ahead}: {}", answer.body);
        if !accepted {
            assert_eq!(answer.error(), "invalid_grant");
        }
        world.clock.advance(Duration::from_secs(1));
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// B11: neither a sign-in nor its failures leave a secret in the log, at any level, of any library.
#[tokio::test]
async fn logs_of_a_sign_in_hold_no_secret_at_any_level() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let (world, fake) = world().await;
    let mut client = Client::register(&world).await;
    let ours = code(&world, &fake, &mut client).await;
    fake.misbehave(
        TOKEN,
        Misbehaviour::json(
            400,
            &json!({"error": "S3CRET !", "error_description": "S3CRET"}),
        ),
    );
    client.redeem(&world, &ours).await;
    fake.misbehave(TOKEN, Misbehaviour::says(200, "text/html", "S3CRET"));
    client.redeem(&world, &ours).await;
    fake.behave();
    let tokens = Tokens::of(&client.redeem(&world, &ours).await);
    let refreshed = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    fake.edit_claims(|claims| drop(claims.insert("aud".into(), json!("S3CRET"))));
    let bad = code(&world, &fake, &mut client).await;
    client.redeem(&world, &bad).await;
    fake.end_sessions();
    client.refresh(&world, &refreshed.refresh).await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.contains("invalid_grant") && text.contains("aud is another client"),
        "{text}"
    );
    let mut secrets = vec![
        "S3CRET".to_owned(),
        CLIENT_SECRET.to_owned(),
        VERIFIER.to_owned(),
        ours,
        bad,
        tokens.access,
        tokens.refresh,
        refreshed.access,
        refreshed.refresh,
    ];
    for request in fake.requests(TOKEN) {
        secrets.push(request.header("authorization").unwrap().to_owned());
        for name in ["code", "code_verifier", "refresh_token"] {
            secrets.extend(request.form(name));
        }
    }
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret}");
    }
}
