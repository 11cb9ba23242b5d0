//! Requests that try to put words into the gateway's mouth, written byte by byte.

use super::backend::{Backend, Front};

/// Sends extra header lines with a good token, and returns what the backend saw of them.
async fn headers_after(lines: &str) -> Vec<(String, String)> {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let head = front.raw_head();
    let answer = front
        .raw(&format!("{head}{lines}Content-Length: 2\r\n\r\n{{}}"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{lines:?}: {answer}");
    let seen = backend.only();
    assert_eq!(seen.body, b"{}");
    let pairs = seen.headers.iter().map(|(name, value)| {
        let value = value.to_str().unwrap();
        (name.as_str().to_owned(), value.to_owned())
    });
    pairs.collect()
}

/// A name as a CGI-like server reads it.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

// S4, S5
#[tokio::test]
async fn no_spelling_reaches_the_backend_as_identity() {
    for lines in [
        "X-Forwarded-User: evil\r\n",
        "x-forwarded-user: evil\r\n",
        "X-FORWARDED-USER: evil\r\n",
        "X_Forwarded_User: evil\r\n",
        "X-Forwarded_User: evil\r\n",
        "X_FORWARDED-USER: evil\r\n",
        "X.Forwarded.User: evil\r\n",
        "X-Forwarded-User: evil\r\nX-Forwarded-User: evil\r\n",
        "X-Forwarded-User:\r\n",
        "X-Forwarded-User: \tevil\t \r\n",
        "X-Forwarded-Groups: evil\r\nX_Forwarded_Groups: evil\r\n",
        "X-Forwarded-Email: evil\r\nX_Forwarded_Email: evil\r\n",
        "X-Forwarded-Preferred-Username: evil\r\n",
        "X-Forwarded-Access-Token: evil\r\nX_Forwarded_Access_Token: evil\r\n",
        // The name is dropped as a connection option, so it would be missing if it were not set later.
        "Connection: close, X-Forwarded-User\r\n",
        "Connection: x-forwarded-user, x_forwarded_user\r\nX-Forwarded-User: evil\r\n",
        "Connection: X-Request-Id, Traceparent, Host\r\n",
        "Proxy-Connection: X-Forwarded-User\r\nKeep-Alive: X-Forwarded-User\r\n",
    ] {
        let seen = headers_after(lines).await;
        let identity: Vec<_> = seen
            .iter()
            .filter(|(name, _)| folded(name).starts_with("x_forwarded"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(identity, [("x-forwarded-user", "idp:alice")], "{lines:?}");
        assert!(!seen.iter().any(|(_, value)| value.contains("evil")));
        for always in ["x-request-id", "traceparent", "host"] {
            assert_eq!(seen.iter().filter(|(name, _)| name == always).count(), 1);
        }
    }
}

#[tokio::test]
async fn credentials_and_hop_headers_stay_here() {
    let lines = "Cookie: a=evil\r\nProxy-Authorization: evil\r\nTE: trailers\r\n\
                 Upgrade: websocket\r\nForwarded: for=evil\r\nX-Real-IP: evil\r\n\
                 X-Hop: evil\r\nConnection: x-hop, upgrade\r\nExpect: 100-continue\r\n\
                 Trailer: X-Forwarded-User\r\n";
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let head = front.raw_head();
    let answer = front
        .raw(&format!("{head}{lines}Content-Length: 2\r\n\r\n{{}}"))
        .await;
    assert!(answer.contains("HTTP/1.1 200 "), "{answer}");
    let seen = backend.only();
    let mut names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-length",
            "host",
            "traceparent",
            "x-forwarded-user",
            "x-request-id"
        ]
    );
}

// Requests that do not parse, or that two parsers could cut differently.
#[tokio::test]
async fn malformed_requests_never_reach_the_backend() {
    for lines in [
        "X-A: 1\r\n X-Forwarded-User: evil\r\n",
        "X-A: 1\r\n\tfolded\r\n",
        "X-Forwarded-User : evil\r\n",
        " X-Forwarded-User: evil\r\n",
        "X-Forwarded-User\r\n",
        ": evil\r\n",
        "X-A: 1\rX-Forwarded-User: evil\r\n",
        "X-A: a\0b\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -2\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let backend = Backend::start().await;
        let front = Front::before(&backend, "").await;
        let head = front.raw_head();
        let answer = front
            .raw(&format!("{head}{lines}Content-Length: 2\r\n\r\n{{}}"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines:?}: {answer}");
        assert!(backend.seen().is_empty(), "{lines:?}");
    }
}

// RFC 9112 §6.1: the chunks count, and what reaches the backend has one length.
#[tokio::test]
async fn two_lengths_become_one_request() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let head = front.raw_head();
        let chunks = "2\r\n{}\r\n0\r\n\r\n";
        let smuggled = "POST /mcp/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        let answer = front
            .raw(&format!("{head}{lines}\r\n{chunks}{smuggled}"))
            .await;
        // Connection: close, so that nothing after the chunks is read as a request.
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    for seen in backend.seen() {
        assert_eq!(seen.target, "/mcp");
        assert_eq!(seen.body, b"{}");
        let lengths = seen.all("content-length").len() + seen.all("transfer-encoding").len();
        assert_eq!(lengths, 1);
    }
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn trailers_do_not_become_headers() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let head = front.raw_head();
    let body = "2\r\n{}\r\n0\r\nX-Forwarded-User: evil\r\nAuthorization: Bearer evil\r\n\r\n";
    let answer = front
        .raw(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(backend.only().all("x-forwarded-user"), ["idp:alice"]);
    assert!(backend.only().all("authorization").is_empty());
}
