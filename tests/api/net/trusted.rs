//! The client for URLs of the operator: its caps, and what it refuses to send.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response};
use mcp_oauth::net::{Answer, Failure, TrustedClient, TrustedOptions};
use url::Url;

use super::super::support::upstream::soon;
use super::{Server, endless};

fn client(options: TrustedOptions) -> TrustedClient {
    TrustedClient::new(options).unwrap()
}

async fn get(client: &TrustedClient, url: &str) -> Result<Answer, Failure> {
    let request = client.request(Method::GET, &Url::parse(url).unwrap());
    soon(client.send(request)).await
}

// B11: plain http is for this computer only.
#[tokio::test]
async fn plain_http_goes_no_further_than_this_computer() {
    let server = Server::start(|_| super::json("{}")).await;
    let client = client(TrustedOptions::default());
    assert_eq!(get(&client, &server.url("/")).await.unwrap().status, 200);
    for url in [
        "http://idp.example/",
        "http://10.0.0.1/",
        "http://localhost.example/",
        "ftp://localhost/",
    ] {
        assert_eq!(
            get(&client, url).await.unwrap_err(),
            Failure::NotConfidential,
            "{url}"
        );
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let server = Server::start(|_| {
        let response = Response::builder()
            .status(302)
            .header("location", "/elsewhere");
        response.body(Body::empty()).unwrap()
    })
    .await;
    let answer = get(&client(TrustedOptions::default()), &server.url("/"))
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), server.requests()), (302, 1));
}

// F10: 1 MB, also where the length is not announced.
#[tokio::test]
async fn bodies_are_capped() {
    let client = client(TrustedOptions::default());
    let full = Server::start(|_| super::json(vec![b' '; 1 << 20])).await;
    assert_eq!(
        get(&client, &full.url("/")).await.unwrap().body.len(),
        1 << 20
    );
    let over = Server::start(|_| super::json(vec![b' '; (1 << 20) + 1])).await;
    assert_eq!(
        get(&client, &over.url("/")).await.unwrap_err(),
        Failure::TooLarge(1 << 20)
    );
    let endless = Server::start(|_| super::json(endless())).await;
    assert_eq!(
        get(&client, &endless.url("/")).await.unwrap_err(),
        Failure::TooLarge(1 << 20)
    );
}

// F37
#[tokio::test]
async fn what_is_not_there_fails_with_a_reason() {
    let client = client(TrustedOptions {
        total: Duration::from_millis(300),
        ..TrustedOptions::default()
    });
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    assert_eq!(get(&client, &closed).await.unwrap_err(), Failure::Connect);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    assert_eq!(get(&client, &url).await.unwrap_err(), Failure::Timeout);
}

// B11: nothing of a request or answer is shown.
#[tokio::test]
async fn answers_and_failures_show_no_content() {
    let server = Server::start(|_| super::json("{\"access_token\":\"S3CRET\"}")).await;
    let client = client(TrustedOptions::default());
    let answer = get(&client, &server.url("/?code=S3CRET")).await.unwrap();
    assert!(!format!("{answer:?}").contains("S3CRET"));
    let failure = get(&client, "http://127.0.0.1:1/?code=S3CRET")
        .await
        .unwrap_err();
    assert!(!format!("{failure:?} {failure}").contains("S3CRET"));
}

// via-env-proxy: a proxy would resolve names again. Run in a process of its own, since the
// environment belongs to all tests.
#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    const CHILD: &str = "MCP_OAUTH_TEST_PROXY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let server = Server::start(|_| super::json("{}")).await;
        let client = client(TrustedOptions::default());
        assert!(get(&client, &server.url("/")).await.is_ok());
        assert_eq!(server.requests(), 1);
        return;
    }
    let proxy = Server::start(|_| super::json("{}")).await;
    let url = format!("http://{}", proxy.address);
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "api::net::trusted::proxies_of_the_environment_are_ignored",
    ]);
    child
        .env(CHILD, "1")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(name, &url);
    }
    let output = soon(child.kill_on_drop(true).output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn extra_authority_must_be_one() {
    let client = client(TrustedOptions::default());
    assert!(client.trusting(b"not PEM").is_err());
    assert!(client.trusting(b"").is_err());
}
