//! `mcp-oauth doctor`: asks a deployment what its clients would ask, and says what is wrong.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Failure, Terminal};
use crate::config::{self, Flags};
use crate::doctor::{self, Status};
use crate::time::{Clock, SystemClock};

/// Examine a deployment as its clients see it, and say what is wrong and which line to change
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Configuration file of the deployment [default: mcp-oauth.toml, if it exists]
    #[arg(
        long,
        value_name = "FILE",
        env = "MCP_OAUTH_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// A check failed; the report is already written.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the checks failed")]
struct Unhealthy(usize);

/// Runs `doctor`.
pub fn run(args: &DoctorArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let env = std::mem::take(&mut terminal.env);
    let loaded = config::inspect(args.config.as_deref(), env, &Flags::default())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime
        .block_on(doctor::examine(&loaded, &clock))
        .map_err(|error| Failure::Failed(error.into()))?;
    let public_url = loaded.config.public_url.issuer.to_string();
    if args.json {
        writeln!(terminal.out, "{:#}", report.json(&public_url))?;
    } else {
        report.write(&public_url, terminal.out)?;
    }
    match report.count(Status::Failed) {
        0 => Ok(()),
        failed => Err(Failure::Failed(Unhealthy(failed).into())),
    }
}
