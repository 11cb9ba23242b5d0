//! `mcp-oauth config`: what is wrong with the configuration, what counts, what could be written.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Failure, Terminal};
use crate::config::{self, Flags};

/// Check and show the configuration.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every problem at once, with its line and what to do
    Check(FileArgs),
    /// Show the values that count, secrets redacted
    Show {
        #[command(flatten)]
        file: FileArgs,
        /// Show where each value came from: the file's line, a variable, or the default
        #[arg(long)]
        origin: bool,
    },
    /// Print the JSON schema of the file
    Schema,
}

#[derive(Args, Debug)]
struct FileArgs {
    /// The file [default: mcp-oauth.toml, if it exists]
    #[arg(env = "MCP_OAUTH_CONFIG", hide_env_values = true)]
    file: Option<PathBuf>,
}

/// Runs a `config` command.
pub fn run(args: &ConfigArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Check(args) => check(args.file.as_deref(), terminal),
        ConfigCommand::Show { file, origin } => {
            let env = std::mem::take(&mut terminal.env);
            let loaded = config::inspect(file.file.as_deref(), env, &Flags::default())?;
            write!(terminal.out, "{}", loaded.show(*origin))?;
            Ok(())
        }
        ConfigCommand::Schema => {
            writeln!(terminal.out, "{:#}", config::schema())?;
            Ok(())
        }
    }
}

fn check(file: Option<&Path>, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let env = std::mem::take(&mut terminal.env);
    let loaded = config::inspect(file, env, &Flags::default())?;
    let warnings = &loaded.config.warnings;
    for warning in warnings {
        writeln!(terminal.err, "{warning}")?;
    }
    let name = loaded.file().unwrap_or("environment");
    match warnings.len() {
        0 => writeln!(terminal.out, "{name}: no problems")?,
        1 => writeln!(terminal.out, "{name}: one warning")?,
        count => writeln!(terminal.out, "{name}: {count} warnings")?,
    }
    Ok(())
}
