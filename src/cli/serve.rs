//! `mcp-oauth serve`: reads the configuration, hardens the process, starts the server, and stops it
//! when it is asked to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{Failure, Terminal, providers};
use crate::audit::{Event, Kind};
use crate::config::{self, Change, Flags, Loaded, Problems, Watch};
use crate::entropy;
use crate::replay::Revocations;
use crate::seal::Keys;
use crate::server::{Server, StartError};
use crate::telemetry::{self, TelemetryError};
use crate::time::{Clock as _, SystemClock};
use crate::tls::Tls;

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What `serve` says at its end.
const EXAMPLE: &str = "\
Without a file, for an MCP server on this computer:
  mcp-oauth serve --public-url http://127.0.0.1:8080 --backend http://127.0.0.1:3000/mcp \\
      --provider github --client-id Iv1.0123 --client-secret-file github-secret

Everything else is set in the file or in MCP_OAUTH_* variables: see `mcp-oauth config schema`.";

/// Let people sign in, and pass their requests on to the MCP server.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub struct ServeArgs {
    /// Configuration file [default: mcp-oauth.toml, if it exists]
    #[arg(
        long,
        value_name = "FILE",
        env = "MCP_OAUTH_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,
}

/// Runs `serve` until the process is asked to stop.
pub fn run(args: &ServeArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let env = std::mem::take(&mut terminal.env);
    let public_url = public_url(&args.flags, &env);
    let (loaded, watch) = match config::watch(args.config.as_deref(), env, &args.flags) {
        Ok(watched) => watched,
        Err(problems) => {
            let provider = args.flags.provider.as_deref();
            advise(provider, public_url.as_deref(), &problems, terminal)?;
            return Err(problems.into());
        }
    };
    keep_memory_private();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(loaded, watch))
}

/// Where this server is reached, as far as flags and environment say.
fn public_url(flags: &Flags, env: &[(String, String)]) -> Option<String> {
    let variable = env.iter().find(|(name, _)| name == "MCP_OAUTH_PUBLIC_URL");
    let variable = variable.map(|(_, value)| value.clone());
    flags.public_url.clone().or(variable)
}

/// Tells somebody who has no credentials at a provider yet how to get them.
fn advise(
    provider: Option<&str>,
    public_url: Option<&str>,
    problems: &Problems,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let lacks = |provider: &&str| {
        ["client_id", "client_secret"]
            .iter()
            .any(|key| problems.concern(&format!("upstreams.{provider}.{key}")))
    };
    let recipe = provider
        .filter(lacks)
        .and_then(|it| providers::recipe(it, public_url));
    if let Some(recipe) = recipe {
        writeln!(terminal.err, "{recipe}")?;
    }
    Ok(())
}

async fn serve(loaded: Loaded, watch: Option<Watch>) -> Result<(), Failure> {
    let config = loaded.config.clone();
    let telemetry = telemetry::init(&config.log).map_err(|error| match error {
        TelemetryError::Level(_) => Failure::Unusable(error.into()),
        error => failed(error),
    })?;
    for warning in &config.warnings {
        let hint = warning.hint.as_deref().unwrap_or_default();
        tracing::warn!(place = warning.place, hint, "{}", warning.message);
    }
    let listen = config.listen;
    let public_url = config.public_url.issuer.clone();
    let stop = asked_to_stop()?;
    // Taken in any case: nobody's SIGHUP should end the server.
    let hangup = signal(SignalKind::hangup())?;
    let clock = Arc::new(SystemClock::start());
    let server = Server::assemble(config, clock)
        .await
        .map_err(|error| not_started(error, &loaded))?;
    // Not before everything is ready: a server that cannot start never listens.
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|source| failed(BindError { listen, source }))?;
    if let Some(watch) = watch {
        tokio::spawn(follow(watch, hangup, loaded, server.revocations()));
    }
    let metrics = telemetry.metrics();
    server
        .serve_admin(Arc::new(move || metrics.render()))
        .await?;
    server.guarantees().log();
    tracing::info!(%public_url, %listen, "serving");
    server.serve(listener, stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// Follows the configuration file, every two seconds and on SIGHUP. Never ends.
async fn follow(
    mut watch: Watch,
    mut hangup: Signal,
    started: Loaded,
    revocations: Arc<Revocations>,
) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = hangup.recv() => {}
        }
        let look = tokio::task::spawn_blocking(move || {
            let change = watch.look();
            (watch, change)
        });
        // Fails only when the runtime is shutting down.
        let Ok((same, change)) = look.await else {
            return;
        };
        watch = same;
        match change {
            Some(Change::Valid(loaded)) => apply(&loaded, &started, &revocations),
            Some(Change::Invalid(problems)) => {
                for problem in &problems {
                    let hint = problem.hint.as_deref().unwrap_or_default();
                    tracing::error!(place = problem.place, hint, "{}", problem.message);
                }
                tracing::error!("the changed configuration cannot be used; the old one stays");
            }
            None => {}
        }
    }
}

/// Lets the changed `[revocation]` count, and says what else changed.
fn apply(loaded: &Loaded, started: &Loaded, revocations: &Revocations) {
    revocations.set_epochs(loaded.config.revocation.clone());
    let mut changed = started.changed_tables(loaded);
    Event::new(Kind::ConfigurationChange)
        .tables(&changed.join(", "))
        .record();
    changed.retain(|table| table != "revocation");
    if !changed.is_empty() {
        let tables = changed.join(", ");
        tracing::warn!(tables, "these changes count only after a restart");
    }
}

/// Why the server could not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}")]
struct BindError {
    listen: std::net::SocketAddr,
    source: std::io::Error,
}

/// What the operator named and cannot be used is a matter of the configuration; a store that is away
/// is not.
fn not_started(error: StartError, loaded: &Loaded) -> Failure {
    match error {
        StartError::Keys(_) | StartError::Tls(_) => Failure::Usage(unusable(loaded)),
        StartError::Store(_) | StartError::Net(_) => failed(error),
        error => Failure::Unusable(error.into()),
    }
}

/// Every file that the configuration names and that cannot be used, each with its place.
fn unusable(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let issuer = &config.public_url.issuer;
    let now = SystemClock::start().now();
    let keys = Keys::load(&config.keys, issuer, now, &mut entropy::rng());
    let keys = keys
        .err()
        .map(|error| ("keys.directory", on_one_line(&error)));
    let tls = config.tls.as_ref().and_then(|tls| Tls::load(tls).err());
    let tls = tls.map(|error| ("tls.certificate", on_one_line(&error)));
    let found = keys.into_iter().chain(tls);
    let lines = found.map(|(key, what)| format!("\n  {}: {what}", loaded.place_of(key)));
    format!("files cannot be used{}", lines.collect::<String>())
}

fn on_one_line(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", on_one_line(cause)),
        None => error.to_string(),
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed(Box::new(error))
}

/// Completes when the process is asked to stop: by the service manager, or at the terminal.
pub(super) fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Asked once, the server stops in good order; asked twice, at once.
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            #[expect(clippy::exit, reason = "the second signal means now")]
            std::process::exit(1);
        });
    })
}

/// Keeps keys and tokens out of core dumps and away from debuggers.
#[cfg(target_os = "linux")]
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Best effort: a sandbox that forbids this is no reason not to serve.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(not(target_os = "linux"))]
fn keep_memory_private() {}
