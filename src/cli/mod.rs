//! The command line: one file per command, the words around them, and what a shell gets back.

pub mod config;
pub mod demo;
pub mod doctor;
pub mod keys;
pub mod providers;
pub mod serve;
pub mod token;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::config::ConfigArgs;
use self::demo::DemoArgs;
use self::doctor::DoctorArgs;
use self::keys::KeysArgs;
use self::providers::ProvidersArgs;
use self::serve::ServeArgs;
use self::token::{Deployment, TokenArgs};
use crate::config::{Flags, Problems};
use crate::entropy;
use crate::time::{Clock as _, SystemClock};

/// OAuth 2.1 in front of a remote MCP server: stateless, sealed tokens, no database
#[derive(Debug, Parser)]
#[command(name = "mcp-oauth", version, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(DemoArgs),
    /// Let people sign in, and pass their requests on to the MCP server
    Serve(Box<ServeArgs>),
    /// Make, list, rotate, retire and revoke root keys
    Keys(KeysArgs),
    /// Check and show the configuration
    Config(ConfigArgs),
    Doctor(DoctorArgs),
    /// Look up the presets of providers, and what to register there
    Providers(ProvidersArgs),
    /// Look into a token
    Token(TokenArgs),
}

/// What a command works with.
pub struct Terminal<'a> {
    /// Standard input: a token, or the answer to a question.
    pub input: &'a mut dyn BufRead,
    /// Standard output: the answer.
    pub out: &'a mut dyn Write,
    /// Standard error: problems and warnings.
    pub err: &'a mut dyn Write,
    /// The environment.
    pub env: Vec<(String, String)>,
}

impl std::fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminal(…)")
    }
}

/// What the shell is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It failed at run time, or a check failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// What the configuration names cannot be used: a resource, say.
    #[error(transparent)]
    Unusable(Box<dyn Error + Send + Sync>),
    /// Something went wrong while it ran.
    #[error(transparent)]
    Failed(#[from] Box<dyn Error + Send + Sync>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the command that the arguments name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> Exit {
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(error) => return explain(&error, terminal),
    };
    let done = match command {
        Command::Demo(args) => demo::run(&args, terminal),
        Command::Serve(args) => serve::run(&args, terminal),
        Command::Keys(args) => keys(&args, terminal),
        Command::Config(args) => config::run(&args, terminal),
        Command::Doctor(args) => doctor::run(&args, terminal),
        Command::Providers(args) => providers::run(&args, terminal),
        Command::Token(args) => token(&args, terminal),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(failure) => report(&failure, terminal.err),
    }
}

fn keys(args: &KeysArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let now = SystemClock::start().now();
    keys::run_keys(args, terminal.input, terminal.out, now, &mut entropy::rng())
        .map_err(|error| Failure::Failed(error.into()))
}

fn token(args: &TokenArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let env = std::mem::take(&mut terminal.env);
    let configured = if args.needs_deployment() {
        let config = crate::config::load(args.config(), env, &Flags::default())?;
        Some(Deployment {
            keys: config.keys,
            issuer: config.public_url.issuer,
        })
    } else {
        None
    };
    let now = SystemClock::start().now();
    token::run_token(
        args,
        configured,
        terminal.input,
        terminal.out,
        now,
        &mut entropy::rng(),
    )
    .map_err(|error| Failure::Failed(error.into()))
}

/// Every command that there is, from the program itself to each last subcommand.
pub fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        found.push(path.to_vec());
        for command in command.get_subcommands() {
            let path = [path, &[command.get_name().to_owned()]].concat();
            below(command, &path, found);
        }
    }

    let mut found = Vec::new();
    below(&Cli::command(), &[], &mut found);
    found
}

/// The help of a command, as `--help` prints it: `["config", "check"]`.
pub fn help(path: &[&str]) -> Option<String> {
    let mut command = Cli::command();
    command.build();
    let found = path.iter().try_fold(&mut command, |command, name| {
        command.find_subcommand_mut(name)
    })?;
    Some(found.render_long_help().to_string())
}

/// Help and version go to standard output, usage errors to standard error.
fn explain(error: &clap::Error, terminal: &mut Terminal<'_>) -> Exit {
    let text = error.render();
    // Nobody is left to be told when the terminal is gone.
    if error.use_stderr() {
        let _ = write!(terminal.err, "{text}");
        Exit::Usage
    } else {
        let _ = write!(terminal.out, "{text}");
        Exit::Done
    }
}

fn report(failure: &Failure, err: &mut dyn Write) -> Exit {
    let (lines, exit) = match failure {
        Failure::Configuration(problems) => {
            let count = match problems.errors() {
                1 => "one problem".to_owned(),
                count => format!("{count} problems"),
            };
            (
                format!("{problems}\nerror: {count} in the configuration\n"),
                Exit::Usage,
            )
        }
        Failure::Usage(message) => (format!("error: {message}\n"), Exit::Usage),
        Failure::Unusable(error) => (with_causes(error.as_ref()), Exit::Usage),
        Failure::Failed(error) => (with_causes(error.as_ref()), Exit::Failed),
    };
    let _ = err.write_all(lines.as_bytes());
    exit
}

/// `error: …` with a line for each cause.
fn with_causes(error: &dyn Error) -> String {
    use std::fmt::Write as _;

    let mut lines = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(lines, "  caused by: {error}");
        cause = error.source();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot serve")]
    struct Outer(#[source] io::Error);

    #[test]
    fn errors_name_their_causes() {
        let error = Outer(io::Error::other("address in use"));
        let mut err = Vec::new();
        let exit = report(&Failure::Failed(Box::new(error)), &mut err);
        assert_eq!(exit, Exit::Failed);
        let text = String::from_utf8(err).unwrap();
        assert_eq!(text, "error: cannot serve\n  caused by: address in use\n");
    }

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
