//! Every client that we know of, as it registers and signs in. The bodies in `clients/` are our own,
//! made after public reports of what each sends; what is answered stands beside them.

mod fixture;
pub(crate) mod walk;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::fixture::{Fixture, Way};
use self::walk::Site;

/// The clients that must have a fixture.
const KNOWN: [&str; 18] = [
    "ChatGPT",
    "Claude",
    "Claude Code",
    "Codex CLI",
    "Copilot Studio",
    "Cursor",
    "Gemini CLI",
    "GitHub Copilot CLI",
    "Goose",
    "Grok",
    "Kiro and others",
    "MCP Inspector",
    "Postman",
    "Smithery",
    "VS Code",
    "mcp-remote",
    "n8n",
    "opencode",
];

#[test]
fn every_known_client_has_a_fixture() {
    let names: BTreeSet<_> = Fixture::all().into_iter().map(|it| it.client).collect();
    assert_eq!(names, KNOWN.map(str::to_owned).into());
}

// R2, R3, R4, R6, R10, R11: body in, answer out, for every client that registers.
#[tokio::test]
async fn each_client_s_registration_is_answered_as_it_needs() {
    let site = Site::new(&[]).await;
    let mut answered = 0;
    for fixture in Fixture::all() {
        for way in &fixture.ways {
            let Way::Registers { body, answer } = way else {
                continue;
            };
            let got = site.world.post_json("/register", body).await;
            assert_eq!(got.status, 201, "{}: {}", fixture.client, got.body);
            assert_eq!(got.header("content-type"), "application/json");
            assert_eq!(got.header("cache-control"), "no-store");
            let mut got = got.json();
            let members = got.as_object_mut().unwrap();
            let id = members.remove("client_id").unwrap();
            assert!(id.as_str().unwrap().len() <= 1_200, "{}", fixture.client);
            assert!(members.remove("client_id_issued_at").unwrap().is_u64());
            let secret = members.remove("client_secret");
            // R4: a secret if and only if one is meant.
            let needs_one = answer["token_endpoint_auth_method"] != "none";
            assert_eq!(secret.is_some(), needs_one, "{}", fixture.client);
            assert_eq!(&got, answer, "{}", fixture.client);
            answered += 1;
        }
    }
    assert!(answered >= 17, "{answered}");
}

// D1, W1, R2, M3, A4, A5, A8, C2, T2, S2, TR2: register, authorize, consent, callback, token, call,
// refresh, call, for every client, each way it can be known, and each redirect that it uses.
#[tokio::test]
async fn each_client_gets_from_nothing_to_its_tools() {
    let fixtures = Fixture::all();
    let site = Site::new(&fixtures).await;
    let mut walked = BTreeSet::new();
    for fixture in &fixtures {
        for way in &fixture.ways {
            for ask in way.asks(fixture) {
                let got = site.walk(fixture, way, &ask).await;
                assert_eq!(got["x-forwarded-user"], json!("stub:alice"));
                walked.insert(fixture.client.clone());
            }
        }
    }
    assert_eq!(walked, KNOWN.map(str::to_owned).into());
}

// A3, A4, A5, M7, R9: what is close to a client's redirect but not it gets a page and no redirect.
#[tokio::test]
async fn each_client_s_near_misses_are_a_page() {
    let fixtures = Fixture::all();
    let site = Site::new(&fixtures).await;
    let mut refused = 0;
    for fixture in &fixtures {
        for way in &fixture.ways {
            let mut client = site.client(fixture, way).await;
            for redirect in fixture.refused(way) {
                client.redirect_uri.clone_from(&redirect);
                let page = client.authorize(&site.world, &client.request()).await;
                assert_eq!(page.status, 400, "{}: {redirect}", fixture.client);
                assert!(page.headers.get("location").is_none());
                assert!(page.body.contains("What to do:"), "{}", page.body);
                refused += 1;
            }
        }
    }
    assert!(refused >= 30, "{refused}");
}

// T9, A3: a registration that this server cannot open is 401 for the program, and for the person a
// page that says what to do in that app.
#[tokio::test]
async fn each_client_s_dead_identity_is_told_what_heals_it() {
    let fixtures = Fixture::all();
    let (here, elsewhere) = (Site::new(&fixtures).await, Site::new(&fixtures).await);
    for fixture in &fixtures {
        for way in &fixture.ways {
            let (Way::Registers { .. }, Some(ask)) = (way, way.asks(fixture).into_iter().next())
            else {
                continue;
            };
            let mut client = elsewhere.client(fixture, way).await;
            client.redirect_uri.clone_from(&ask.redirect_uri);
            let page = client.authorize(&here.world, &client.request()).await;
            assert_eq!(page.status, 400, "{}", fixture.client);
            assert!(page.headers.get("location").is_none());
            assert!(page.body.contains("needs to register again"));
            let named = format!("In {}:", fixture.heals_as());
            assert!(page.body.contains(&named), "{named} {}", page.body);
            let answer = client.refresh(&here.world, "whatever").await;
            let got = (answer.status.as_u16(), answer.error());
            assert_eq!(got, (401, "invalid_client".to_owned()));
        }
    }
}

// R14: the largest set of a client, with all that a URL carries, stays below what proxies pass.
#[tokio::test]
async fn each_client_s_authorization_url_fits_into_4_kib() {
    let fixtures = Fixture::all();
    let site = Site::new(&fixtures).await;
    for fixture in &fixtures {
        for way in &fixture.ways {
            for ask in way.asks(fixture) {
                let mut client = site.client(fixture, way).await;
                client.redirect_uri.clone_from(&ask.redirect_uri);
                let mut request = client.request();
                request.insert("state".into(), "s".repeat(512));
                let length: usize = request.iter().map(|(a, b)| a.len() + 3 * b.len() + 2).sum();
                // A sealed client_id and the state need no escapes; tripled they are counted twice over.
                let unescaped = 2 * (client.client_id.len() + 512);
                assert!(length - unescaped < 4 << 10, "{} {length}", fixture.client);
            }
        }
    }
}

// R3: what a client may add to its body changes nothing for it.
#[tokio::test]
async fn each_client_s_registration_survives_what_it_might_add() {
    let site = Site::new(&[]).await;
    for fixture in Fixture::all() {
        for way in &fixture.ways {
            let Way::Registers { body, answer } = way else {
                continue;
            };
            let mut more = body.clone();
            for (name, value) in [
                ("jwks", json!({"keys": []})),
                ("contacts", json!(["x@example.com", 7])),
                ("software_statement", json!("eyJhbGciOiJub25lIn0.e30.")),
                ("tos_uri", Value::Null),
                ("logo_uri", json!("http://127.0.0.1/logo.png")),
                ("default_max_age", json!(-1)),
                ("x-vendor", json!({"deep": [[[[{}]]]]})),
            ] {
                more[name] = value;
            }
            let mut got = site.world.post_json("/register", &more).await.json();
            for name in ["client_id", "client_id_issued_at", "client_secret"] {
                got.as_object_mut().unwrap().remove(name);
            }
            assert_eq!(&got, answer, "{}", fixture.client);
        }
    }
}
