//! What a thief would try, and what must come of it.

use std::time::Duration;

use axum::http::StatusCode;

use super::client::{Client, Code, Tokens};
use super::mcp::probe;
use super::noted;
use super::report::{Mismatch, Noted, ensure};

const INVALID_GRANT: &str = "invalid_grant";

/// RFC 6749 §4.1.2: a code works once; a second use ends what the first one got. On a sign-in of its
/// own, for the same reason. Every replica has `heard` of it after that time.
pub(super) async fn code_replayed(client: &Client, heard: Duration) -> Result<Noted<()>, Mismatch> {
    let code = client.signed_in("bob").await?;
    let tokens = client.redeemed(&code).await?.value;
    accepted(client, tokens.access.expose()).await?;
    let replay = client.redeem(&code).await?;
    replay.expect_error(StatusCode::BAD_REQUEST, INVALID_GRANT)?;
    tokio::time::sleep(heard).await;
    refused(client, tokens.access.expose()).await?;
    let refresh = client.refresh(tokens.refresh.expose()).await?;
    refresh.expect_error(StatusCode::BAD_REQUEST, INVALID_GRANT)?;
    Ok(noted((), "refused, and its tokens with it"))
}

/// One character is another.
pub(super) async fn token_tampered_with(
    client: &Client,
    tokens: &Tokens,
) -> Result<Noted<()>, Mismatch> {
    let genuine = tokens.access.expose();
    accepted(client, genuine).await?;
    let (first, last) = (0, genuine.len().saturating_sub(1));
    for at in [first, genuine.len() / 2, genuine.len() * 3 / 4, last] {
        let tampered = with_another_character(genuine, at);
        ensure(tampered != genuine, "another token", "the same")?;
        refused(client, &tampered).await?;
    }
    Ok(noted((), "refused: invalid_token"))
}

/// The character at this place becomes another one of the alphabet, other than in its last bits.
fn with_another_character(token: &str, at: usize) -> String {
    let change = |c: char| if matches!(c, 'A'..='P') { 'y' } else { 'B' };
    token
        .char_indices()
        .map(|(index, c)| if index == at { change(c) } else { c })
        .collect()
}

/// Whatever opens one door opens no other.
pub(super) async fn tokens_misused(
    client: &Client,
    tokens: &Tokens,
    code: &Code,
) -> Result<Noted<()>, Mismatch> {
    for bearer in [tokens.refresh.expose(), code.code.expose(), &client.id] {
        refused(client, bearer).await?;
    }
    for refresh in [tokens.access.expose(), code.code.expose(), &client.id] {
        let answer = client.refresh(refresh).await?;
        answer.expect_error(StatusCode::BAD_REQUEST, INVALID_GRANT)?;
    }
    accepted(client, tokens.access.expose()).await?;
    Ok(noted((), "refused at every door but its own"))
}

/// RFC 7009 §2: nothing of the grant works any more.
pub(super) async fn used_after_revocation(
    client: &Client,
    tokens: &Tokens,
    heard: Duration,
) -> Result<Noted<()>, Mismatch> {
    tokio::time::sleep(heard).await;
    refused(client, tokens.access.expose()).await?;
    let answer = client.refresh(tokens.refresh.expose()).await?;
    answer.expect_error(StatusCode::BAD_REQUEST, INVALID_GRANT)?;
    Ok(noted((), "refused: access and refresh"))
}

async fn accepted(client: &Client, token: &str) -> Result<(), Mismatch> {
    let answer = probe(&client.agent, &client.resource.mcp_url, token).await?;
    answer.expect(StatusCode::OK)
}

/// RFC 6750 §3.1: 401, and the challenge says why.
async fn refused(client: &Client, token: &str) -> Result<(), Mismatch> {
    let answer = probe(&client.agent, &client.resource.mcp_url, token).await?;
    answer.expect(StatusCode::UNAUTHORIZED)?;
    let challenge = answer.header("www-authenticate");
    let says_why = challenge.contains(r#"error="invalid_token""#);
    ensure(
        says_why,
        r#"a challenge with error="invalid_token""#,
        challenge,
    )
}
