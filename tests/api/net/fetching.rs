//! M2, M8, M9, F10: the fetch behaviours of the corpus, each against a live server.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use mcp_oauth::net::budget::BudgetLimits;
use mcp_oauth::net::fetcher::{FetcherOptions, Resolver};
use mcp_oauth::net::{Failure, FetchError, Fetched, Guard, GuardedFetcher, Limits};
use mcp_oauth::oauth::document::{ClientDocument, DocumentUrl};
use mcp_oauth::time::{ManualClock, Timestamp};
use serde_json::{Value, json};

use super::super::support::upstream::soon;
use super::guard::corpus;
use super::{Server, endless};

const LIMITS: Limits = Limits {
    max_body: 5 * 1024,
    total: Duration::from_secs(5),
};

fn options() -> FetcherOptions {
    FetcherOptions {
        guard: Guard {
            allow_loopback: true,
        },
        ..FetcherOptions::default()
    }
}

fn fetcher(options: FetcherOptions) -> GuardedFetcher {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(0)));
    GuardedFetcher::new(options, clock).unwrap()
}

async fn get(url: &str) -> Result<Fetched, FetchError> {
    soon(fetcher(options()).get(url, LIMITS)).await
}

/// Fetches and judges a document as the authorization server does.
async fn document(server: &Server) -> Result<ClientDocument, String> {
    let url = server.url("/client.json");
    let fetched = get(&url).await.map_err(|error| error.to_string())?;
    let body = fetched.document().map_err(|error| error.to_string())?;
    let url = DocumentUrl::parse(&url, true).unwrap();
    ClientDocument::parse(&url, body, &[]).map_err(|error| error.to_string())
}

/// A resolver with a script.
#[derive(Debug, Default)]
struct Script {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolver for Script {
    async fn addresses(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers.lock().unwrap().remove(0))
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn scripted(answers: &[&[&str]], guard: Guard) -> (GuardedFetcher, Arc<Script>) {
    let answers = answers
        .iter()
        .map(|list| list.iter().map(|it| ip(it)).collect());
    let script = Arc::new(Script {
        answers: Mutex::new(answers.collect()),
        asked: AtomicUsize::new(0),
    });
    let resolver = Arc::clone(&script) as _;
    let options = FetcherOptions {
        guard,
        resolver,
        ..FetcherOptions::default()
    };
    (fetcher(options), script)
}

fn is_blocked(outcome: &Result<Fetched, FetchError>) -> bool {
    matches!(outcome, Err(FetchError::Address(_)))
}

// dns-rebind: the name is resolved once, and the address that was checked is connected to.
#[tokio::test]
async fn rebinding_a_name_leads_nowhere() {
    // This computer plays the public address of the first answer.
    let server = Server::start(|_| super::json("{}")).await;
    let guard = Guard {
        allow_loopback: true,
    };
    let (fetcher, script) = scripted(&[&["127.0.0.1"], &["10.0.0.1"]], guard);
    let url = format!("http://localhost:{}/c", server.address.port());
    assert!(soon(fetcher.get(&url, LIMITS)).await.is_ok());
    assert_eq!(
        (script.asked.load(Ordering::SeqCst), server.connections()),
        (1, 1)
    );
    // No connection was kept: the next fetch is checked again, and the second answer is refused.
    assert!(is_blocked(&soon(fetcher.get(&url, LIMITS)).await));
    assert_eq!(
        (script.asked.load(Ordering::SeqCst), server.connections()),
        (2, 1)
    );
}

// dns-mixed, dns-cname-private, dns-aaaa-mapped, jwks-uri-private: any address that is not public
// spoils the answer, and nobody is connected to.
#[tokio::test]
async fn names_that_lead_inside_are_refused() {
    let answers: [&[&str]; 8] = [
        &["93.184.215.14", "10.0.0.1"],
        &["127.0.0.1"],
        &["169.254.169.254"],
        &["::ffff:10.0.0.1"],
        &["::ffff:93.184.215.14"],
        &["fd00:ec2::254"],
        &["2606:4700::1111", "::1"],
        &["64:ff9b::a9fe:a9fe"],
    ];
    let (fetcher, script) = scripted(&answers, Guard::default());
    for (n, answer) in answers.iter().enumerate() {
        let outcome = soon(fetcher.get("https://app.example/c.json", LIMITS)).await;
        assert!(is_blocked(&outcome), "{answer:?}: {outcome:?}");
        assert_eq!(script.asked.load(Ordering::SeqCst), n + 1);
    }
    let (fetcher, _) = scripted(&[&[]], Guard::default());
    let outcome = soon(fetcher.get("https://app.example/c.json", LIMITS)).await;
    assert_eq!(outcome.unwrap_err(), FetchError::Failed(Failure::Name));
}

// redirect-302, redirect-to-private: never followed; status-201, status-304-uncached: not a document.
#[tokio::test]
async fn only_status_200_is_a_document() {
    for status in [
        201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 401, 404, 500,
    ] {
        let server = Server::start(move |_| {
            Response::builder()
                .status(status)
                .header("location", "http://127.0.0.1:1/other")
                .header("content-type", "application/json")
                .body(Body::from("{}"))
                .unwrap()
        })
        .await;
        let fetched = get(&server.url("/c")).await.unwrap();
        assert_eq!(fetched.status.as_u16(), status);
        assert_eq!(server.requests(), 1);
        assert!(
            matches!(fetched.document(), Err(FetchError::Status(_))),
            "{status}"
        );
    }
}

// body-5121, body-chunked-endless
#[tokio::test]
async fn bodies_are_capped_while_they_stream() {
    let full = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
    let server = Server::start(move |_| super::json(full(5120))).await;
    assert!(get(&server.url("/c")).await.unwrap().document().is_ok());
    for body in [|| Body::from(vec![b' '; 5121]), endless as fn() -> Body] {
        let server = Server::start(move |_| super::json(body())).await;
        let outcome = get(&server.url("/c")).await;
        assert_eq!(
            outcome.unwrap_err(),
            FetchError::Failed(Failure::TooLarge(5120))
        );
    }
}

// gzip-bomb: no coding is offered, and a coded answer is refused before it is read.
#[tokio::test]
async fn compressed_answers_are_refused() {
    for coding in ["gzip", "br", "deflate", "zstd", "identity, gzip"] {
        let server = Server::start(move |request| {
            assert_eq!(request.headers()["accept-encoding"], "identity");
            let mut response = super::json(endless());
            response
                .headers_mut()
                .insert("content-encoding", coding.parse().unwrap());
            response
        })
        .await;
        let outcome = get(&server.url("/c")).await;
        assert_eq!(
            outcome.unwrap_err(),
            FetchError::Failed(Failure::Encoded),
            "{coding}"
        );
    }
}

// slow-1-byte-s, no-reply
#[tokio::test]
async fn slow_servers_are_given_up() {
    let limits = Limits {
        total: Duration::from_millis(300),
        ..LIMITS
    };
    let dripping = || {
        let drops = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, io::Error>(" "), ()))
        });
        super::json(Body::from_stream(drops))
    };
    let silent = || {
        super::json(Body::from_stream(futures_util::stream::pending::<
            io::Result<&str>,
        >()))
    };
    for answer in [dripping as fn() -> _, silent] {
        let server = Server::start(move |_| answer()).await;
        let outcome = soon(fetcher(options()).get(&server.url("/c"), limits)).await;
        assert_eq!(outcome.unwrap_err(), FetchError::Failed(Failure::Timeout));
    }
    // A socket that accepts and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/c", listener.local_addr().unwrap());
    let outcome = soon(fetcher(options()).get(&url, limits)).await;
    assert_eq!(outcome.unwrap_err(), FetchError::Failed(Failure::Timeout));
}

// html
#[tokio::test]
async fn content_type_must_say_json() {
    let rows = [
        (Some("application/json"), true),
        (Some("application/json; charset=utf-8"), true),
        (Some("APPLICATION/JSON"), true),
        (Some("application/client-metadata+json"), true),
        (Some("text/html"), false),
        (Some("text/json"), false),
        (Some("application/jsonp"), false),
        (Some("text/x+json"), false),
        (Some("text/html; application/json"), false),
        (None, false),
    ];
    for (label, is_json) in rows {
        let server = Server::start(move |_| {
            let mut response = Response::new(Body::from("{}"));
            if let Some(label) = label {
                response
                    .headers_mut()
                    .insert("content-type", label.parse().unwrap());
            }
            response
        })
        .await;
        let outcome = get(&server.url("/c")).await.unwrap();
        assert_eq!(outcome.document().is_ok(), is_json, "{label:?}");
    }
}

// client-id-mismatch, client-id-case, has-client-secret, auth-method-secret, redirect-uris-missing,
// dup-key; logo-uri-private: nobody asks for the logo.
#[tokio::test]
async fn documents_are_judged_after_they_are_fetched() {
    type Edit = fn(&mut Value);
    async fn judged(edit: Edit) -> (Result<ClientDocument, String>, usize) {
        let server = Server::start(move |request| {
            let host = request.headers()["host"].to_str().unwrap();
            let mut document = json!({
                "client_id": format!("http://{host}/client.json"),
                "client_name": "App",
                "redirect_uris": ["https://app.example/callback"],
                "logo_uri": format!("http://{host}/logo.png"),
            });
            edit(&mut document);
            super::json(document.to_string())
        })
        .await;
        (document(&server).await, server.requests())
    }
    let (outcome, requests) = judged(|_| {}).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(requests, 1, "the logo is never fetched");
    let edits: [(&str, Edit); 7] = [
        ("mismatch", |it| {
            it["client_id"] = json!("https://other.example/client.json");
        }),
        ("case", |it| {
            it["client_id"] = json!(it["client_id"].as_str().unwrap().to_uppercase());
        }),
        ("slash", |it| {
            it["client_id"] = json!(format!("{}/", it["client_id"].as_str().unwrap()));
        }),
        ("secret", |it| it["client_secret"] = json!("x")),
        ("basic", |it| {
            it["token_endpoint_auth_method"] = json!("client_secret_basic");
        }),
        ("jwt", |it| {
            it["token_endpoint_auth_method"] = json!("client_secret_jwt");
        }),
        ("redirects", |it| {
            drop(it.as_object_mut().unwrap().remove("redirect_uris"));
        }),
    ];
    for (name, edit) in edits {
        assert!(judged(edit).await.0.is_err(), "{name}");
    }
    let server = Server::start(|_| super::json("{\"client_id\":\"a\",\"client_id\":\"b\"}")).await;
    let error = document(&server).await.unwrap_err();
    assert_eq!(error, "not JSON, or JSON with a repeated member");
}

/// A certificate for a name, and the authority that made it.
fn certificate(
    name: &str,
    expired: bool,
    authority: Option<&rcgen::CertifiedIssuer<'_, rcgen::KeyPair>>,
) -> Arc<rustls::ServerConfig> {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], key)
    .unwrap();
    Arc::new(config)
}

// tls-self-signed, tls-expired, tls-wrong-name
#[tokio::test]
async fn certificates_are_verified() {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let rows = [
        (
            "good",
            certificate("localhost", false, Some(&authority)),
            true,
        ),
        ("self-signed", certificate("localhost", false, None), false),
        (
            "expired",
            certificate("localhost", true, Some(&authority)),
            false,
        ),
        (
            "wrong name",
            certificate("app.example", false, Some(&authority)),
            false,
        ),
    ];
    for (name, tls, accepted) in rows {
        let server = Server::behind(Some(tls), Arc::new(|_| super::json("{}"))).await;
        let options = FetcherOptions {
            extra_ca: Some(authority.pem().into_bytes()),
            ..options()
        };
        let url = format!("https://localhost:{}/c", server.address.port());
        let outcome = soon(fetcher(options).get(&url, LIMITS)).await;
        match outcome {
            Ok(_) => assert!(accepted, "{name}"),
            Err(FetchError::Failed(Failure::Tls(_))) => assert!(!accepted, "{name}"),
            Err(error) => panic!("{name}: {error:?}"),
        }
        assert_eq!(server.requests(), usize::from(accepted), "{name}");
    }
}

// error-cached: nothing is remembered here, errors least of all.
#[tokio::test]
async fn nothing_is_remembered_between_fetches() {
    let answers = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answers);
    let server = Server::start(move |_| {
        let mut response = super::json("{}");
        response
            .headers_mut()
            .insert("cache-control", "max-age=3600".parse().unwrap());
        if counter.fetch_add(1, Ordering::SeqCst) == 0 {
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    })
    .await;
    let fetcher = fetcher(options());
    let url = server.url("/c");
    assert!(fetcher.get(&url, LIMITS).await.unwrap().document().is_err());
    assert!(fetcher.get(&url, LIMITS).await.unwrap().document().is_ok());
    assert_eq!((server.requests(), server.connections()), (2, 2));
}

// M8: a stranger cannot make us hammer a host, or keep us busy.
#[tokio::test]
async fn fetches_are_budgeted() {
    let server = Server::start(|_| super::json("{}")).await;
    let budget = BudgetLimits {
        per_minute_per_host: 3,
        ..BudgetLimits::default()
    };
    let fetcher = fetcher(FetcherOptions {
        budget,
        ..options()
    });
    let url = server.url("/c");
    for _ in 0..3 {
        assert!(fetcher.get(&url, LIMITS).await.is_ok());
    }
    assert!(matches!(
        fetcher.get(&url, LIMITS).await,
        Err(FetchError::Busy(_))
    ));
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn unsafe_urls_are_refused_before_anything_is_asked() {
    let (fetcher, script) = scripted(&[], Guard::default());
    for url in [
        "http://app.example/c",
        "https://127.0.0.1/c",
        "https://localhost/c",
        "file:///etc/passwd",
    ] {
        assert!(
            matches!(fetcher.get(url, LIMITS).await, Err(FetchError::Url(_))),
            "{url}"
        );
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
}

/// Where each fetch behaviour of the corpus is tested.
const TESTED: [(&str, &str); 27] = [
    ("dns-rebind", "rebinding_a_name_leads_nowhere"),
    ("dns-mixed", "names_that_lead_inside_are_refused"),
    ("dns-cname-private", "names_that_lead_inside_are_refused"),
    ("dns-aaaa-mapped", "names_that_lead_inside_are_refused"),
    ("redirect-302", "only_status_200_is_a_document"),
    ("redirect-to-private", "only_status_200_is_a_document"),
    ("status-201", "only_status_200_is_a_document"),
    ("status-304-uncached", "only_status_200_is_a_document"),
    ("body-5121", "bodies_are_capped_while_they_stream"),
    (
        "body-chunked-endless",
        "bodies_are_capped_while_they_stream",
    ),
    ("gzip-bomb", "compressed_answers_are_refused"),
    ("slow-1-byte-s", "slow_servers_are_given_up"),
    ("no-reply", "slow_servers_are_given_up"),
    ("html", "content_type_must_say_json"),
    (
        "client-id-mismatch",
        "documents_are_judged_after_they_are_fetched",
    ),
    (
        "client-id-case",
        "documents_are_judged_after_they_are_fetched",
    ),
    (
        "has-client-secret",
        "documents_are_judged_after_they_are_fetched",
    ),
    (
        "auth-method-secret",
        "documents_are_judged_after_they_are_fetched",
    ),
    (
        "redirect-uris-missing",
        "documents_are_judged_after_they_are_fetched",
    ),
    ("dup-key", "documents_are_judged_after_they_are_fetched"),
    ("tls-self-signed", "certificates_are_verified"),
    ("tls-expired", "certificates_are_verified"),
    ("tls-wrong-name", "certificates_are_verified"),
    (
        "logo-uri-private",
        "documents_are_judged_after_they_are_fetched",
    ),
    ("jwks-uri-private", "names_that_lead_inside_are_refused"),
    ("error-cached", "nothing_is_remembered_between_fetches"),
    ("via-env-proxy", "proxies_of_the_environment_are_ignored"),
];

#[test]
fn every_fetch_behaviour_of_the_corpus_has_a_test() {
    let corpus = corpus();
    let ids: BTreeSet<_> = corpus["fetches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["id"].as_str().unwrap())
        .collect();
    let tested: BTreeSet<_> = TESTED.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, tested);
    let source = concat!(include_str!("fetching.rs"), include_str!("trusted.rs"));
    for (id, test) in TESTED {
        assert!(source.contains(&format!("fn {test}(")), "{id}: {test}");
    }
}
