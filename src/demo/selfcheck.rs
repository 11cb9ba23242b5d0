//! Drives the complete flow without a browser: first what a client does, then what a thief would.
//!
//! ```text
//! challenge ▶ metadata ▶ registration ▶ authorize ▶ consent ▶ sign-in ▶ callback ▶ token
//!           ▶ MCP of both eras, a streamed answer ▶ refresh, and again
//!           ▶ code replayed, token tampered with, token misused ▶ revoked ▶ used after that
//! ```
//!
//! Knows the MCP URL and nothing else: everything besides is discovered, as a client would. Refuses
//! what a strict client refuses: an issuer or resource that differs in a byte, a `state` or `iss`
//! that is missing, answers with tokens that may be cached.

mod agent;
mod client;
mod discovery;
mod form;
mod mcp;
mod report;
mod thief;

use std::io::{self, Write};
use std::time::Duration;

use url::Url;

use self::agent::{Agent, Browser};
use self::client::Client;
use self::report::{Noted, Report, Stop};
use super::Paint;

/// How long replicas with a store may take to hear of a revocation, and some more.
const HEARD: Duration = Duration::from_millis(2500);

/// Checks the server at `mcp_url`, where Alice and Bob can sign in. One line for each step; returns
/// whether all was as it should be.
///
/// # Errors
///
/// What could not be written to `out`, or a URL that is none.
pub async fn run(mcp_url: &str, out: &mut dyn Write, paint: Paint) -> io::Result<bool> {
    check(mcp_url, Duration::ZERO, out, paint).await
}

/// As [`run`], for a server that may be several replicas: what is revoked has ended a little later.
///
/// # Errors
///
/// As [`run`].
pub async fn run_elsewhere(mcp_url: &str, out: &mut dyn Write, paint: Paint) -> io::Result<bool> {
    check(mcp_url, HEARD, out, paint).await
}

async fn check(
    mcp_url: &str,
    heard: Duration,
    out: &mut dyn Write,
    paint: Paint,
) -> io::Result<bool> {
    let url = Url::parse(mcp_url).map_err(io::Error::other)?;
    let agent = Agent::new().map_err(io::Error::other)?;
    let mut report = Report::new(out, paint);
    match drive(&url, heard, &agent, &mut report).await {
        Ok(()) | Err(Stop::Failed) => report.finish(),
        Err(Stop::Output(error)) => Err(error),
    }
}

/// The steps in their order. The next ones need what a [`Report::needed`] one finds out.
async fn drive(
    mcp_url: &Url,
    heard: Duration,
    agent: &Agent,
    report: &mut Report<'_>,
) -> Result<(), Stop> {
    let client = introduce(mcp_url, agent, report).await?;
    let (code, tokens) = sign_in(&client, report).await?;

    let session = report
        .needed("MCP initialize", mcp::initialize(agent, mcp_url, &tokens))
        .await?;
    report.checked("MCP tools/list", session.list()).await?;
    report
        .checked("MCP tools/call whoami", session.whoami("alice"))
        .await?;
    report
        .checked("MCP tools/call count, streamed", session.count())
        .await?;
    let stateless = mcp::stateless(agent, mcp_url, &tokens);
    report
        .checked("MCP 2026-07-28, without a session", stateless)
        .await?;

    let renewed = report.needed("refresh", client.refreshed(&tokens)).await?;
    let again = client.refreshed_again(&tokens, &renewed);
    report
        .checked("the same refresh token again", again)
        .await?;

    let replayed = thief::code_replayed(&client, heard);
    report.checked("code replayed", replayed).await?;
    let tampered = thief::token_tampered_with(&client, &renewed);
    report.checked("token tampered with", tampered).await?;
    let misused = thief::tokens_misused(&client, &renewed, &code);
    report
        .checked("token of one kind used as another", misused)
        .await?;

    report.needed("revoke", client.revoked(&renewed)).await?;
    let after = thief::used_after_revocation(&client, &renewed, heard);
    report.checked("use after revoke", after).await
}

/// From the bare URL to a `client_id`.
async fn introduce(mcp_url: &Url, agent: &Agent, report: &mut Report<'_>) -> Result<Client, Stop> {
    let challenge = report
        .needed("challenge", discovery::challenge(agent, mcp_url))
        .await?;
    let resource = report
        .needed(
            "resource metadata",
            discovery::resource(agent, mcp_url, &challenge),
        )
        .await?;
    let server = report
        .needed(
            "server metadata",
            discovery::server(agent, &resource.issuer),
        )
        .await?;
    let registering = Client::register(agent.clone(), resource, server);
    report.needed("registration", registering).await
}

/// From the authorization request to tokens: the code that was used, and what it was worth.
async fn sign_in(
    client: &Client,
    report: &mut Report<'_>,
) -> Result<(client::Code, client::Tokens), Stop> {
    let mut browser = Browser::new(client.agent.clone());
    let request = client.request();
    let page = report
        .needed("authorize", client.consent_page(&mut browser, &request))
        .await?;
    let upstream = report
        .needed("consent", client.allow(&mut browser, &page))
        .await?;
    let callback = report
        .needed(
            "upstream sign-in",
            client.sign_in_upstream(&mut browser, &upstream, "alice"),
        )
        .await?;
    let code = report
        .needed("callback", client.code(&mut browser, &callback, request))
        .await?;
    let tokens = report.needed("token", client.redeemed(&code)).await?;
    Ok((code, tokens))
}

/// A step's result with something to show beside it.
fn noted<T>(value: T, note: impl Into<String>) -> Noted<T> {
    Noted {
        value,
        note: note.into(),
    }
}
