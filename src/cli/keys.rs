//! `mcp-oauth keys`: makes, lists and turns the root keys in a directory.
//!
//! Rotation takes two steps, so that no replica ever meets a token whose key it has not read yet: a
//! client that is told `invalid_grant` throws its credentials away. Refuses to promote a key that
//! is younger than ten minutes, and to take away the key that seals without putting another in its
//! place. Never prints key material, except where `generate --stdout` is asked for it.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use rand::CryptoRng;

use crate::seal::{KeyDirectory, KeyError, KeyFile, KeyState, Kid, RootKey};
use crate::time::Timestamp;

/// How long every replica gets to read a new key before it may seal.
const SETTLE: Duration = Duration::from_secs(600);

/// Make, list, rotate, retire and revoke root keys.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The directory of the key files
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "keys",
        env = "MCP_OAUTH_KEYS_DIRECTORY",
        hide_env_values = true
    )]
    directory: PathBuf,
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make the first key
    Generate {
        /// Print a JWK set for `MCP_OAUTH_KEYS` instead of writing a file
        #[arg(long)]
        stdout: bool,
    },
    /// Show every key, its state and its age
    List,
    /// Add a key that opens but does not seal yet; with `--promote`, let it seal
    Rotate {
        /// Let the added key seal, once every replica has read it
        #[arg(long)]
        promote: bool,
        /// Promote even a key younger than ten minutes
        #[arg(long, requires = "promote")]
        now: bool,
    },
    /// Let a key open nothing but client registrations
    Retire {
        /// The key, as `list` shows it
        #[arg(value_parser = kid)]
        kid: Kid,
    },
    /// Let a key open nothing at all: for a key that has leaked
    Revoke {
        /// The key, as `list` shows it
        #[arg(value_parser = kid)]
        kid: Kid,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Why a command on keys did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysCommandError {
    /// The keys themselves.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The terminal.
    #[error("cannot write the answer")]
    Output(#[from] io::Error),
    /// There are keys already.
    #[error("{} holds keys already: add one with `mcp-oauth keys rotate`", .0.display())]
    NotFirst(PathBuf),
    /// A key waits to be promoted.
    #[error("key {0} waits already: let it seal with `mcp-oauth keys rotate --promote`")]
    Waiting(Kid),
    /// No key waits to be promoted.
    #[error("no key waits to be promoted: add one with `mcp-oauth keys rotate`")]
    NoneWaiting,
    /// A key that some replica may not have read yet.
    #[error(
        "key {kid} is {age} old: wait {left}, until every replica has read it, or add `--now` if there is only this process"
    )]
    TooYoung {
        /// The key.
        kid: Kid,
        /// How old it is.
        age: String,
        /// What is missing.
        left: String,
    },
    /// No such key.
    #[error("there is no key {0}: `mcp-oauth keys list` shows them")]
    Unknown(Kid),
    /// The key that seals.
    #[error("key {0} seals: promote another first, with `mcp-oauth keys rotate`")]
    Sealing(Kid),
    /// The key is further down that road.
    #[error("key {0} is revoked")]
    Revoked(Kid),
    /// The question was not answered with yes.
    #[error("nothing was revoked: answer `yes`, or add `--yes`")]
    Declined,
}

fn kid(text: &str) -> Result<Kid, &'static str> {
    Kid::parse(text).ok_or("a key id is 12 hexadecimal digits, as `mcp-oauth keys list` shows it")
}

/// Runs a `keys` command. Questions are read from `input`.
pub fn run_keys(
    args: &KeysArgs,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(), KeysCommandError> {
    let directory = KeyDirectory::new(&args.directory);
    match &args.command {
        KeysCommand::Generate { stdout: true } => {
            let key = RootKey::generate(KeyState::Active, now, rng);
            writeln!(out, "{{\"keys\":[{}]}}", key.to_jwk().expose())?;
            Ok(())
        }
        KeysCommand::Generate { stdout: false } => generate(&directory, out, now, rng),
        KeysCommand::List => list(&directory, out, now),
        KeysCommand::Rotate { promote: false, .. } => add(&directory, out, now, rng),
        KeysCommand::Rotate {
            promote: true,
            now: at_once,
        } => promote(&directory, *at_once, out, now),
        KeysCommand::Retire { kid } => retire(&directory, kid, out),
        KeysCommand::Revoke { kid, yes } => {
            let mut keys = directory.read()?;
            let file = find(&mut keys, kid)?;
            announce(file, out, now)?;
            if !yes && !confirmed(input, out)? {
                return Err(KeysCommandError::Declined);
            }
            revoke(&directory, kid, out, now, rng)
        }
    }
}

fn generate(
    directory: &KeyDirectory,
    out: &mut dyn Write,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(), KeysCommandError> {
    if !directory.read()?.is_empty() {
        return Err(KeysCommandError::NotFirst(directory.path().to_owned()));
    }
    let file = directory.create_first(now, rng)?;
    let path = file.path.display();
    writeln!(out, "made key {} in {path}; it seals", file.key.kid())?;
    writeln!(
        out,
        "keep it secret, and keep a copy: without it everyone has to sign in again"
    )?;
    Ok(())
}

fn list(
    directory: &KeyDirectory,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<(), KeysCommandError> {
    let keys = directory.read()?;
    if keys.is_empty() {
        return Err(KeyError::Missing(directory.path().display().to_string()).into());
    }
    let sealing = sealing(&keys).map(|file| file.key.kid().clone());
    writeln!(
        out,
        "{:12}  {:8} {:16} {:16} file",
        "key", "state", "made", "activated"
    )?;
    for file in &keys {
        let key = &file.key;
        let state = if sealing.as_ref() == Some(key.kid()) {
            "seals".to_owned()
        } else {
            key.state.to_string()
        };
        let made = relative(key.created_at, now);
        let activated = key
            .activated_at
            .map_or_else(|| "-".to_owned(), |at| relative(at, now));
        let path = file.path.display();
        writeln!(
            out,
            "{:12}  {state:8} {made:16} {activated:16} {path}",
            key.kid()
        )?;
    }
    for file in keys.iter().filter(|file| file.exposed) {
        let path = file.path.display();
        writeln!(out, "warning: others can read {path}: `chmod 600` it")?;
    }
    if sealing.is_none() {
        writeln!(
            out,
            "warning: no key is active, so no server can start with these"
        )?;
    }
    Ok(())
}

fn add(
    directory: &KeyDirectory,
    out: &mut dyn Write,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(), KeysCommandError> {
    let mut keys = directory.read()?;
    if let Some(file) = waiting(&mut keys) {
        return Err(KeysCommandError::Waiting(file.key.kid().clone()));
    }
    let file = directory.add(RootKey::generate(KeyState::Accept, now, rng))?;
    let path = file.path.display();
    writeln!(
        out,
        "added key {} in {path}; it opens, but does not seal yet",
        file.key.kid()
    )?;
    writeln!(
        out,
        "give it to every replica, wait {}, then run `mcp-oauth keys rotate --promote`",
        length(SETTLE)
    )?;
    Ok(())
}

fn promote(
    directory: &KeyDirectory,
    at_once: bool,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<(), KeysCommandError> {
    let mut keys = directory.read()?;
    let file = waiting(&mut keys).ok_or(KeysCommandError::NoneWaiting)?;
    let kid = file.key.kid().clone();
    let age = now.since(file.key.created_at);
    if age < SETTLE && !at_once {
        return Err(KeysCommandError::TooYoung {
            kid,
            age: length(age),
            left: length(SETTLE.saturating_sub(age)),
        });
    }
    activate(directory, &mut keys, &kid, now)?;
    writeln!(
        out,
        "key {kid} seals from now on; the earlier ones still open"
    )?;
    Ok(())
}

/// Lets a key seal. The new key is written first: of two active keys the later one seals, so there
/// is no moment without one.
fn activate(
    directory: &KeyDirectory,
    keys: &mut [KeyFile],
    kid: &Kid,
    now: Timestamp,
) -> Result<(), KeysCommandError> {
    let latest = keys.iter().filter_map(|file| file.key.activated_at).max();
    let file = find(keys, kid)?;
    file.key.state = KeyState::Active;
    // Later than any other, even if this clock is behind the one that activated those.
    let after = latest.map(|at| at.plus(Duration::from_secs(1)));
    file.key.activated_at = Some(after.map_or(now, |after| after.max(now)));
    directory.replace(file)?;
    for file in keys {
        if file.key.state == KeyState::Active && file.key.kid() != kid {
            file.key.state = KeyState::Accept;
            directory.replace(file)?;
        }
    }
    Ok(())
}

fn retire(
    directory: &KeyDirectory,
    kid: &Kid,
    out: &mut dyn Write,
) -> Result<(), KeysCommandError> {
    let mut keys = directory.read()?;
    if sealing(&keys).is_some_and(|file| file.key.kid() == kid) {
        return Err(KeysCommandError::Sealing(kid.clone()));
    }
    let file = find(&mut keys, kid)?;
    if file.key.state == KeyState::Revoked {
        return Err(KeysCommandError::Revoked(kid.clone()));
    }
    file.key.state = KeyState::Retired;
    directory.replace(file)?;
    writeln!(
        out,
        "key {kid} opens client registrations only; keep its file, or they die"
    )?;
    Ok(())
}

/// What stops working when a key is revoked.
fn announce(file: &KeyFile, out: &mut dyn Write, now: Timestamp) -> io::Result<()> {
    let key = &file.key;
    let made = relative(key.created_at, now);
    writeln!(
        out,
        "key {} ({}, made {made}) will open nothing any more:",
        key.kid(),
        key.state
    )?;
    writeln!(out, "- whoever signed in under it has to sign in again")?;
    writeln!(out, "- logins that are under way fail")?;
    writeln!(
        out,
        "- clients that registered under it have to register again, which some"
    )?;
    writeln!(
        out,
        "  do only when the server is removed from them and added again"
    )?;
    writeln!(
        out,
        "- client secrets that belong to those registrations stop working"
    )
}

fn confirmed(input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<bool> {
    write!(out, "revoke it? [yes/no] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "yes" | "y"))
}

fn revoke(
    directory: &KeyDirectory,
    kid: &Kid,
    out: &mut dyn Write,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(), KeysCommandError> {
    let mut keys = directory.read()?;
    // Without a key that seals, servers would refuse the change and keep the old ring.
    if sealing(&keys).is_none_or(|file| file.key.kid() == kid) {
        let next = match waiting(&mut keys).map(|file| file.key.kid().clone()) {
            Some(next) if next != *kid => next,
            _ => {
                let file = directory.add(RootKey::generate(KeyState::Accept, now, rng))?;
                let next = file.key.kid().clone();
                keys.push(file);
                next
            }
        };
        activate(directory, &mut keys, &next, now)?;
        writeln!(out, "key {next} seals from now on")?;
    }
    let file = find(&mut keys, kid)?;
    file.key.state = KeyState::Revoked;
    directory.replace(file)?;
    writeln!(
        out,
        "key {kid} is revoked; running servers follow within seconds"
    )?;
    Ok(())
}

fn find<'a>(keys: &'a mut [KeyFile], kid: &Kid) -> Result<&'a mut KeyFile, KeysCommandError> {
    keys.iter_mut()
        .find(|file| file.key.kid() == kid)
        .ok_or_else(|| KeysCommandError::Unknown(kid.clone()))
}

/// The newest key that has never sealed.
fn waiting(keys: &mut [KeyFile]) -> Option<&mut KeyFile> {
    keys.iter_mut()
        .filter(|file| file.key.state == KeyState::Accept && file.key.activated_at.is_none())
        .max_by_key(|file| file.key.created_at)
}

/// The key that servers seal with.
fn sealing(keys: &[KeyFile]) -> Option<&KeyFile> {
    let key = RootKey::sealing(keys.iter().map(|file| &file.key))?;
    keys.iter().find(|file| file.key.kid() == key.kid())
}

/// "3 days ago", "in 5 minutes".
pub(super) fn relative(then: Timestamp, now: Timestamp) -> String {
    if then == Timestamp::default() {
        "-".to_owned()
    } else if now >= then {
        format!("{} ago", length(now.since(then)))
    } else {
        format!("in {}", length(then.since(now)))
    }
}

/// A duration in its largest whole unit.
fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}
