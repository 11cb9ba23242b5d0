//! `mcp-oauth demo`: the whole system on this computer, without configuration, account or network.

use std::io::{IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::{Failure, Terminal, serve};
use crate::config::{Log, LogFormat};
use crate::demo::parts::{self, Part};
use crate::demo::{ANY_PORT, Demo, DemoError, LISTEN, Paint, RootKeys, selfcheck};
use crate::telemetry;
use crate::time::{Clock as _, SystemClock};

/// Try everything on this computer: server, identity provider and MCP server in one
///
/// Prints the MCP URL and how to add it to a client. Sign in as Alice or Bob. Needs no
/// configuration, no account and no network; root keys are kept in `keys/`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Address to listen on, of this computer [default: 127.0.0.1:8080; with --selfcheck any free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// Drive the complete flow without a browser, print each step, and exit with 0 or 1
    #[arg(long, conflicts_with = "only")]
    selfcheck: bool,

    /// Check the demo behind this MCP URL instead of one of its own
    #[arg(long, value_name = "URL", requires = "selfcheck")]
    url: Option<String>,

    #[command(flatten)]
    several: Several,
}

/// What only a demo in several processes needs.
#[derive(Args, Debug)]
struct Several {
    /// Run one part alone, beside real servers: `deploy/compose.yaml` shows how
    #[arg(long, value_name = "PART", requires = "directory")]
    only: Option<Only>,

    /// Directory of the secrets that the parts and the servers have in common
    #[arg(long, value_name = "DIR", requires = "only")]
    directory: Option<PathBuf>,

    /// Origin by which the identity provider is known [default: where it listens]
    #[arg(long, value_name = "URL", requires = "only")]
    issuer: Option<String>,

    /// Origin of the servers, where people come back from the identity provider
    #[arg(
        long,
        value_name = "URL",
        requires = "only",
        default_value = "http://127.0.0.1:8080"
    )]
    public_url: String,
}

/// A part of the demo.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Only {
    /// Make the secrets, where there are none yet, and exit
    Secrets,
    /// Alice and Bob
    IdentityProvider,
    /// The MCP server
    Backend,
}

/// The selfcheck found something.
#[derive(Debug, thiserror::Error)]
#[error("the selfcheck failed")]
struct CheckFailed;

/// Runs `demo` until the process is asked to stop, or until everything is checked.
pub fn run(args: &DemoArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let paint = Paint::new(is_coloured(terminal));
    let out = &mut *terminal.out;
    // The steps of a thief would be warned about.
    let level = if args.selfcheck { "error" } else { "warn" };
    let log = Log {
        format: LogFormat::Auto,
        level: level.to_owned(),
    };
    let _entered = runtime.enter();
    let _telemetry = telemetry::init(&log).map_err(|error| Failure::Failed(error.into()))?;
    if let (Some(only), Some(directory)) = (args.several.only, &args.several.directory) {
        let listen = args.listen.unwrap_or(LISTEN);
        let several = &args.several;
        return runtime.block_on(part(only, directory, listen, several, out));
    }
    if let Some(mcp_url) = &args.url {
        return verdict(runtime.block_on(selfcheck::run_elsewhere(mcp_url, out, paint))?);
    }
    if args.selfcheck {
        runtime.block_on(check(args.listen.unwrap_or(ANY_PORT), out, paint))
    } else {
        runtime.block_on(show(args.listen.unwrap_or(LISTEN), out, paint))
    }
}

/// Colours belong to a terminal whose owner did not ask for none (no-color.org).
fn is_coloured(terminal: &Terminal<'_>) -> bool {
    let is_unwanted = |(name, value): &(String, String)| match name.as_str() {
        "NO_COLOR" => !value.is_empty(),
        "TERM" => value == "dumb",
        _ => false,
    };
    std::io::stdout().is_terminal() && !terminal.env.iter().any(is_unwanted)
}

async fn show(listen: SocketAddr, out: &mut dyn Write, paint: Paint) -> Result<(), Failure> {
    let stop = serve::asked_to_stop()?;
    let demo = start(listen, RootKeys::Kept).await?;
    demo.introduce(out, paint)?;
    out.flush()?;
    demo.serve(stop).await;
    writeln!(out, "\nThe demo has stopped.")?;
    Ok(())
}

async fn check(listen: SocketAddr, out: &mut dyn Write, paint: Paint) -> Result<(), Failure> {
    let demo = start(listen, RootKeys::Passing).await?;
    let mcp_url = demo.mcp_url().to_owned();
    let serving = tokio::spawn(demo.serve(std::future::pending()));
    let passed = selfcheck::run(&mcp_url, out, paint).await;
    serving.abort();
    verdict(passed?)
}

fn verdict(passed: bool) -> Result<(), Failure> {
    if passed {
        Ok(())
    } else {
        Err(Failure::Failed(Box::new(CheckFailed)))
    }
}

async fn part(
    only: Only,
    directory: &std::path::Path,
    listen: SocketAddr,
    several: &Several,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::start());
    let stop = serve::asked_to_stop()?;
    let (issuer, public_url) = (several.issuer.as_deref(), &several.public_url);
    let made = match only {
        Only::Secrets => {
            parts::make_secrets(directory, clock.now()).map_err(refused)?;
            writeln!(out, "the secrets are in {}", directory.display())?;
            return Ok(());
        }
        Only::IdentityProvider => {
            Part::identity_provider(directory, listen, issuer, public_url, clock).await
        }
        Only::Backend => Part::backend(directory, listen).await,
    };
    let part = made.map_err(refused)?;
    writeln!(out, "serving at {}", part.url())?;
    out.flush()?;
    part.serve(stop).await;
    Ok(())
}

async fn start(listen: SocketAddr, keys: RootKeys) -> Result<Demo, Failure> {
    let clock = Arc::new(SystemClock::start());
    let started = Demo::start(listen, keys, clock).await;
    started.map_err(refused)
}

fn refused(error: DemoError) -> Failure {
    match error {
        DemoError::NotLoopback(_) => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.into()),
    }
}
