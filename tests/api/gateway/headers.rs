//! What the backend receives, and what comes back.

use std::sync::Arc;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Method, StatusCode};
use mcp_oauth::oauth::names::Subject;
use tokio::sync::Semaphore;

use super::backend::{Backend, Front, Seen};

fn names(seen: &Seen) -> Vec<&str> {
    let mut names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

// G4, G5, G14
#[tokio::test]
async fn protocol_headers_and_body_pass_byte_for_byte() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let batch = "[{\"jsonrpc\":\"2.0\",\"id\":1}, {\"jsonrpc\":\"2.0\",\"result\":{} ,\"id\":2}]\n";
    let sent = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?w6TDtg==?="),
        ("mcp-param-region_name", "a,b ; \"c\""),
        ("mcp-param-x", "1"),
        ("accept", "application/json, text/event-stream"),
        ("last-event-id", "%7e~7"),
        ("baggage", "a=1"),
        ("user-agent", "client/1"),
    ];
    let mut request = front.post();
    for (name, value) in sent {
        request = request.header(name, value);
    }
    let answer = front.send(request.body(Body::from(batch)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let seen = backend.only();
    for (name, value) in sent {
        assert_eq!(seen.all(name), [value], "{name}");
    }
    assert_eq!(seen.body, batch.as_bytes());
    assert_eq!(seen.all("content-type"), ["application/json"]);
    assert_eq!(seen.all("content-length"), [batch.len().to_string()]);
    assert_eq!(seen.all("host"), [backend.address.to_string()]);
}

// S4, S5: nothing but this arrives
#[tokio::test]
async fn header_set_toward_the_backend_is_built() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let mut request = front.post();
    for name in [
        "cookie",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-user",
        "x-forwarded-uri",
        "x-real-ip",
        "x-user",
        "x-auth-request-email",
        "remote-user",
        "proxy-authorization",
        "x-original-url",
        "x-http-method-override",
        "tailscale-user-login",
        "cf-access-authenticated-user-email",
        "x-request-id",
        "tracestate",
        "te",
        "referer_",
    ] {
        request = request.header(name, "spoofed");
    }
    front.send(request.body(Body::from("{}")).unwrap()).await;
    let seen = backend.only();
    assert_eq!(
        names(&seen),
        [
            "content-length",
            "content-type",
            "host",
            "traceparent",
            "x-forwarded-user",
            "x-request-id"
        ]
    );
    assert_eq!(seen.all("x-forwarded-user"), ["idp:alice"]);
    assert_ne!(seen.all("x-request-id"), ["spoofed"]);
}

// G8
#[tokio::test]
async fn answer_that_may_be_a_stream_is_not_asked_for_compressed() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    for accept in ["application/json, Text/Event-Stream", "application/json"] {
        let request = front
            .post()
            .header("accept", accept)
            .header("accept-encoding", "gzip");
        front.send(request.body(Body::empty()).unwrap()).await;
    }
    let seen = backend.seen();
    assert!(seen[0].all("accept-encoding").is_empty());
    assert_eq!(seen[1].all("accept-encoding"), ["gzip"]);
}

#[tokio::test]
async fn identity_is_encoded_and_complete() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let mut record = front.record();
    record.sub = Subject::new("idp:50%,\u{e4}\r\nx-evil: 1");
    record.email = Some("alice@example.com".to_owned());
    record.preferred_username = Some("Zo\u{eb} B".to_owned());
    record.groups = vec!["a,b".to_owned(), String::new(), "c d".to_owned()];
    let request = front
        .request(Method::POST, "/mcp")
        .header("authorization", format!("Bearer {}", front.seal(&record)));
    front.send(request.body(Body::empty()).unwrap()).await;
    let seen = backend.only();
    assert_eq!(
        seen.all("x-forwarded-user"),
        ["idp:50%25%2C%C3%A4%0D%0Ax-evil: 1"]
    );
    assert_eq!(seen.all("x-forwarded-email"), ["alice@example.com"]);
    assert_eq!(seen.all("x-forwarded-preferred-username"), ["Zo%C3%AB B"]);
    assert_eq!(seen.all("x-forwarded-groups"), ["a%2Cb,c d"]);
    assert!(seen.all("x-evil").is_empty());
}

// S3
#[tokio::test]
async fn upstream_token_goes_where_the_resource_says() {
    for (forward, authorization, access_token, user) in [
        ("[\"identity\"]", vec![], vec![], vec!["idp:alice"]),
        ("[\"access_token\"]", vec![], vec!["up-1"], vec![]),
        ("[\"authorization\"]", vec!["Bearer up-1"], vec![], vec![]),
        (
            "[\"identity\", \"authorization\", \"access_token\"]",
            vec!["Bearer up-1"],
            vec!["up-1"],
            vec!["idp:alice"],
        ),
    ] {
        let backend = Backend::start().await;
        let front = Front::before(&backend, &format!("forward = {forward}")).await;
        let request = front
            .request(Method::POST, "/mcp")
            .header("x-forwarded-access-token", "spoofed")
            .header(
                "authorization",
                format!("Bearer {}", front.token_with("up-1")),
            );
        front.send(request.body(Body::empty()).unwrap()).await;
        let seen = backend.only();
        assert_eq!(seen.all("authorization"), authorization, "{forward}");
        assert_eq!(seen.all("x-forwarded-access-token"), access_token);
        assert_eq!(seen.all("x-forwarded-user"), user, "{forward}");
    }
}

#[tokio::test]
async fn operators_headers_replace_the_clients() {
    let backend = Backend::start().await;
    let headers = "backend_headers = { X-Api-Key = \"ours\" }";
    let front = Front::before(&backend, headers).await;
    let request = front
        .post()
        .header("x-api-key", "theirs")
        .header("x_api_key", "theirs");
    front.send(request.body(Body::empty()).unwrap()).await;
    let seen = backend.only();
    assert_eq!(seen.all("x-api-key"), ["ours"]);
    assert!(seen.all("x_api_key").is_empty());
}

// G4
#[tokio::test]
async fn trace_is_continued_as_a_child() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let inbound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = front
        .post()
        .header("traceparent", inbound)
        .header("tracestate", "a=1");
    front.send(request.body(Body::empty()).unwrap()).await;
    let seen = backend.only();
    let parent = seen.all("traceparent")[0];
    assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_ne!(parent, inbound);
    assert_eq!(seen.all("tracestate"), ["a=1"]);
}

// G6, G8, G12, W10
#[tokio::test]
async fn answers_pass_without_what_is_bound_to_the_hop_or_the_origin() {
    let backend = Backend::with(|_| {
        async {
            http::Response::builder()
                .status(400)
                .header("content-type", "application/json")
                .header("www-authenticate", "Bearer realm=\"x\"")
                .header("set-cookie", "__Host-s=1")
                .header("strict-transport-security", "max-age=0")
                .header("clear-site-data", "\"*\"")
                .header("connection", "x-hop")
                .header("x-hop", "1")
                .header("mcp-protocol-version", "2026-07-28")
                .header("x-own", "a")
                .header("x-own", "b")
                .body(Body::from("{\"error\":{\"code\":-32020}}"))
                .unwrap()
        }
        .boxed()
    })
    .await;
    let front = Front::before(&backend, "").await;
    let answer = front.send(front.post().body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body, "{\"error\":{\"code\":-32020}}");
    let mut names: Vec<_> = answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "content-type",
            "date",
            "mcp-protocol-version",
            "transfer-encoding",
            "vary",
            "x-own"
        ]
    );
    assert_eq!(answer.headers.get_all("x-own").iter().count(), 2);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

// G6
#[tokio::test]
async fn every_backend_status_passes_with_its_body() {
    let backend = Backend::with(|request| {
        async move {
            let status = request.target.rsplit('/').next().unwrap().parse().unwrap();
            let mut response = http::Response::new(Body::from("as it is"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        .boxed()
    })
    .await;
    let front = Front::before(&backend, "").await;
    for status in [
        200, 202, 400, 403, 404, 405, 406, 409, 415, 422, 429, 500, 501, 503,
    ] {
        let request = front
            .request(Method::POST, &format!("/mcp/{status}"))
            .header("authorization", format!("Bearer {}", front.token()));
        let answer = front.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.body, "as it is");
    }
}

// G3, G16
#[tokio::test]
async fn get_delete_and_head_reach_the_backend() {
    let backend = Backend::with(|request| {
        async move {
            let mut response = http::Response::new(Body::empty());
            if request.method == Method::HEAD {
                let length = http::HeaderValue::from_static("16");
                response.headers_mut().insert("content-length", length);
            }
            response
        }
        .boxed()
    })
    .await;
    let front = Front::before(&backend, "").await;
    for method in [Method::GET, Method::DELETE, Method::HEAD, Method::PUT] {
        let request = front
            .request(method.clone(), "/mcp")
            .header("authorization", format!("Bearer {}", front.token()));
        let answer = front.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{method}");
        assert_eq!(backend.seen().last().unwrap().method, method);
        if method == Method::HEAD {
            assert_eq!(answer.header("content-length"), Some("16"));
        }
    }
}

// G11, and answers that crossed clients on a shared transport (CVE-2026-25536)
#[tokio::test]
async fn thousand_people_with_equal_ids_get_answers_of_their_own() {
    let backend = Backend::with(|request| {
        async move {
            let person = request.all("x-forwarded-user").join("");
            http::Response::builder()
                .header("cache-control", "max-age=60")
                .body(Body::from(person))
                .unwrap()
        }
        .boxed()
    })
    .await;
    let front = Front::before(&backend, "").await;
    let mut asked = tokio::task::JoinSet::new();
    let front = Arc::new(front);
    let turns = Arc::new(Semaphore::new(64));
    for n in 0..1_000 {
        let (front, turns) = (front.clone(), turns.clone());
        asked.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let person = format!("idp:{n}");
            let request = front
                .request(Method::POST, "/mcp")
                .header(
                    "authorization",
                    format!("Bearer {}", front.token_of(&person)),
                )
                .body(Body::from("{\"jsonrpc\":\"2.0\",\"id\":1}"));
            let answer = front.send(request.unwrap()).await;
            assert_eq!(answer.body, person);
            let mut vary = answer.headers.get_all("vary").iter();
            assert!(vary.any(|it| it == "Authorization"));
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
}

// G16
#[tokio::test]
async fn redirect_of_the_backend_names_the_public_address() {
    let backend = Backend::with(|request| {
        async move {
            let host = request.all("host")[0];
            http::Response::builder()
                .status(307)
                .header("location", format!("http://{host}/mcp/"))
                .body(Body::empty())
                .unwrap()
        }
        .boxed()
    })
    .await;
    let front = Front::before(&backend, "").await;
    let answer = front.send(front.post().body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    let expected = format!("{}/mcp/", front.issuer);
    assert_eq!(answer.header("location"), Some(&*expected));
}
