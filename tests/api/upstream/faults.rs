//! F10, F11, B12: what a provider's faults become. One row each; nothing is believed by accident,
//! nothing of an answer leaves the room, and only a plain no ends a session.

use std::time::Duration;

use mcp_oauth::upstream::UpstreamError;
use serde_json::json;

use super::super::support::upstream::{Misbehaviour, TOKEN, USERINFO, soon};
use super::{OAUTH2, OIDC, Provider, word};

#[expect(clippy::too_many_lines, reason = "one table")]
fn rows() -> Vec<(&'static str, Misbehaviour)> {
    let json = |status, body| Misbehaviour::json(status, &body);
    vec![
        ("refused", json(400, json!({"error": "invalid_grant"}))),
        // GitHub's shape: an error with status 200.
        ("refused", json(200, json!({"error": "invalid_grant"}))),
        (
            "refused",
            json(
                400,
                json!({"error": "interaction_required", "error_codes": [50076]}),
            ),
        ),
        // The operator's fault is nobody's logout.
        ("unavailable", json(401, json!({"error": "invalid_client"}))),
        ("unavailable", json(400, json!({"error": "invalid_scope"}))),
        ("unavailable", json(200, json!({"error": "something_new"}))),
        (
            "unavailable",
            json(200, json!({"ok": false, "error": "ratelimited"})),
        ),
        ("unavailable", json(200, json!({"ok": false}))),
        (
            "unavailable",
            json(200, json!({"error": {"code": "x", "message": "y"}})),
        ),
        ("unavailable", Misbehaviour::status(401)),
        ("unavailable", Misbehaviour::status(403)),
        ("unavailable", Misbehaviour::status(404)),
        ("unavailable", Misbehaviour::status(418)),
        ("unavailable", Misbehaviour::status(429)),
        ("unavailable", Misbehaviour::status(500)),
        ("unavailable", Misbehaviour::status(503)),
        // Even with a word that would be for good from a healthy server.
        ("unavailable", json(500, json!({"error": "invalid_grant"}))),
        ("unavailable", json(502, json!({"error": "invalid_grant"}))),
        (
            "unavailable",
            Misbehaviour::status(302).with("location", "/elsewhere"),
        ),
        (
            "unavailable",
            Misbehaviour::says(
                200,
                "text/html",
                "<html>access_token=x&error=invalid_grant</html>",
            ),
        ),
        (
            "unavailable",
            Misbehaviour::says(400, "text/html", "<html>no</html>"),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "text/html", "access_token=x"),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "application/json", "access_token=x"),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "application/json", "{\"access_token\":"),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "application/json", ""),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "application/json", "null"),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "application/json", "[]"),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "application/json", "\"x\""),
        ),
        (
            "unavailable",
            Misbehaviour::says(
                200,
                "application/json",
                "{\"access_token\":\"a\",\"access_token\":\"b\"}",
            ),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "application/json", "{\"access_token\":\"a\"} {}"),
        ),
        (
            "unavailable",
            Misbehaviour::says(
                200,
                "application/x-www-form-urlencoded",
                "access_token=a&access_token=b",
            ),
        ),
        ("unavailable", json(200, json!({"token_type": "Bearer"}))),
        ("unavailable", json(200, json!({"access_token": 7}))),
        ("unavailable", json(200, json!({"access_token": ""}))),
        ("unavailable", json(200, json!({"access_token": null}))),
        (
            "unavailable",
            json(200, json!({"access_token": "x"})).with("content-encoding", "gzip"),
        ),
        (
            "unacceptable",
            json(200, json!({"access_token": "x", "token_type": "DPoP"})),
        ),
        ("unavailable", Misbehaviour::Reset),
        ("unavailable", Misbehaviour::Truncated),
        ("unavailable", Misbehaviour::Endless),
    ]
}

#[tokio::test]
async fn faulty_token_endpoint_at_a_sign_in() {
    let provider = Provider::with(OAUTH2).await;
    let code = provider.code().await;
    for (expected, how) in rows() {
        provider.fake.misbehave(TOKEN, how.clone());
        let outcome = soon(provider.exchange(&code)).await;
        assert_eq!(word(&outcome), expected, "{how:?}: {outcome:?}");
    }
    provider.fake.behave();
    assert_eq!(
        word(&provider.exchange(&code).await),
        "ok",
        "no fault used the code up"
    );
}

#[tokio::test]
async fn faulty_token_endpoint_at_a_refresh() {
    let provider = Provider::with(OIDC).await;
    let sign_in = provider.sign_in().await.unwrap();
    for (expected, how) in rows() {
        provider.fake.misbehave(TOKEN, how.clone());
        let outcome = soon(provider.refresh(&sign_in)).await;
        assert_eq!(word(&outcome), expected, "{how:?}: {outcome:?}");
    }
    provider.fake.behave();
    assert_eq!(word(&provider.refresh(&sign_in).await), "ok");
}

// F10: time.
#[tokio::test]
async fn silent_provider_is_unavailable_in_time() {
    let provider = Provider::impatient(OAUTH2).await;
    let code = provider.code().await;
    provider.fake.misbehave(TOKEN, Misbehaviour::Silence);
    let outcome = soon(provider.exchange(&code)).await;
    let Err(UpstreamError::Unavailable { reason, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(reason, "no answer in time");
}

// B12: the provider's wish to wait is passed on, within reason.
#[tokio::test]
async fn wish_to_wait_is_passed_on() {
    let provider = Provider::with(OAUTH2).await;
    let code = provider.code().await;
    for (value, expected) in [
        ("7", Some(7)),
        ("999999999", Some(3600)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("-1", None),
    ] {
        provider
            .fake
            .misbehave(TOKEN, Misbehaviour::status(429).with("retry-after", value));
        let outcome = provider.exchange(&code).await;
        let Err(UpstreamError::Unavailable { retry_after, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(retry_after, expected.map(Duration::from_secs), "{value}");
    }
}

// B7, B11: reasons are for the log, and hold no text of the answer but codes.
#[tokio::test]
async fn reasons_hold_nothing_of_the_answer_but_codes() {
    let provider = Provider::with(OAUTH2).await;
    let code = provider.code().await;
    let secret = "S3CRET";
    let answers = [
        json!({"error": "invalid_grant", "error_description": format!("code {secret}"), "access_token": secret}),
        json!({"error": format!("your code {secret}!"), "trace": secret}),
        json!({"error": {"code": format!("{secret} {secret}"), "message": secret}}),
        json!({"ok": false, "needed": secret}),
        json!({"tokens": secret}),
    ];
    for answer in answers {
        for status in [200, 400, 401, 500] {
            provider
                .fake
                .misbehave(TOKEN, Misbehaviour::json(status, &answer));
            let error = provider.exchange(&code).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(secret), "{answer}: {shown}");
            assert!(
                !shown.contains(code.expose()) && !shown.contains("http"),
                "{shown}"
            );
        }
    }
    provider.fake.misbehave(
        TOKEN,
        Misbehaviour::json(
            400,
            &json!({"error": "invalid_grant", "error_codes": [70008]}),
        ),
    );
    let error = provider.exchange(&code).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the upstream refused: invalid_grant (70008), status 400 Bad Request"
    );
}

#[tokio::test]
async fn faulty_userinfo() {
    let provider = Provider::with(OAUTH2).await;
    let settings = OAUTH2;
    assert!(settings.contains("userinfo"));
    let sign_in = provider.sign_in().await.unwrap();
    let access = mcp_oauth::oauth::records::UpstreamCredential::Access {
        token: sign_in.access_token.clone(),
        expires_at: None,
    };
    let json = |status, body| Misbehaviour::json(status, &body);
    let rows = [
        ("refused", Misbehaviour::status(401)),
        ("refused", Misbehaviour::status(403)),
        ("refused", json(401, json!({"error": "invalid_token"}))),
        ("refused", json(403, json!({"error": "insufficient_scope"}))),
        // GitHub's way to say "too many requests".
        (
            "unavailable",
            Misbehaviour::status(403).with("x-ratelimit-remaining", "0"),
        ),
        (
            "unavailable",
            Misbehaviour::status(403).with("retry-after", "60"),
        ),
        ("unavailable", Misbehaviour::status(429)),
        ("unavailable", Misbehaviour::status(500)),
        ("unavailable", Misbehaviour::status(404)),
        (
            "unavailable",
            Misbehaviour::status(302).with("location", "/elsewhere"),
        ),
        (
            "unavailable",
            Misbehaviour::says(200, "text/html", "<html></html>"),
        ),
        (
            "unavailable",
            Misbehaviour::says(
                200,
                "application/json",
                "{\"sub\":\"alice\",\"sub\":\"bob\"}",
            ),
        ),
        (
            "unavailable",
            json(200, json!({"ok": false, "error": "fatal_error"})),
        ),
        ("unavailable", json(200, json!({"name": "nobody"}))),
        ("unavailable", json(200, json!({"sub": 1.5}))),
        ("unacceptable", json(200, json!({"sub": "mallory"}))),
        ("unavailable", Misbehaviour::Reset),
        ("unavailable", Misbehaviour::Truncated),
        ("unavailable", Misbehaviour::Endless),
    ];
    for (expected, how) in rows {
        provider.fake.misbehave(USERINFO, how.clone());
        let outcome = soon(provider.refresh_with(&access, "alice")).await;
        assert_eq!(word(&outcome), expected, "{how:?}: {outcome:?}");
    }
    provider.fake.behave();
    assert_eq!(word(&provider.refresh_with(&access, "alice").await), "ok");
}

// A question costs nothing: it is asked twice before anybody is bothered.
#[tokio::test]
async fn one_lost_answer_to_a_question_is_not_noticed() {
    for how in [Misbehaviour::Reset, Misbehaviour::status(502)] {
        let provider = Provider::with(OAUTH2).await;
        let code = provider.code().await;
        provider.fake.misbehave_once(USERINFO, how);
        assert_eq!(word(&provider.exchange(&code).await), "ok");
        assert_eq!(
            (provider.fake.count(TOKEN), provider.fake.count(USERINFO)),
            (1, 2)
        );
    }
}

// TC4: a code that was exchanged is not sent again because the identity was not to be had.
#[tokio::test]
async fn sign_in_that_broke_off_goes_on_without_sending_the_code_again() {
    for settings in [OAUTH2.to_owned(), format!("{OIDC}identity = 'userinfo'\n")] {
        let provider = Provider::with(&settings).await;
        let code = provider.code().await;
        provider.fake.misbehave(USERINFO, Misbehaviour::status(503));
        assert_eq!(word(&provider.exchange(&code).await), "unavailable");
        provider.fake.behave();
        assert_eq!(provider.exchange(&code).await.unwrap().id, "alice");
        assert_eq!(provider.fake.count(TOKEN), 1, "{settings}");
        // What is finished is forgotten: the provider's own single use decides again.
        assert_eq!(word(&provider.exchange(&code).await), "refused");
    }
}

#[tokio::test]
async fn refresh_that_broke_off_keeps_the_new_refresh_token() {
    let provider = Provider::with(OAUTH2).await;
    let sign_in = provider.sign_in().await.unwrap();
    provider.fake.misbehave(USERINFO, Misbehaviour::status(503));
    assert_eq!(word(&provider.refresh(&sign_in).await), "unavailable");
    provider.fake.behave();
    let next = provider.refresh(&sign_in).await.unwrap();
    assert_eq!(provider.fake.count(TOKEN), 2);
    assert!(provider.fake.knows(super::refresh_token(&next)));

    // A minute later nothing is left of it.
    let before = provider.refresh(&next).await.unwrap();
    provider.fake.misbehave(USERINFO, Misbehaviour::status(503));
    assert_eq!(word(&provider.refresh(&before).await), "unavailable");
    provider.fake.behave();
    provider.clock.advance(Duration::from_secs(61));
    assert_eq!(word(&provider.refresh(&before).await), "refused");
}
