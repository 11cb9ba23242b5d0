//! `mcp-oauth token inspect`: what is in a token, or why it does not open.
//!
//! The token comes from standard input, never from the command line, where other processes and the
//! shell's history would see it. Secrets inside it are shown only with `--reveal`.

use std::fmt::Debug;
use std::io::{self, BufRead, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::keys::relative;
use crate::oauth::names::Issuer;
use crate::oauth::records::{
    AccessToken, AuthorizationCode, ClientRegistration, Memo, PendingConsent, PendingLogin,
    RefreshToken, SessionId,
};
use crate::seal::{KeyError, KeySource, Keyring, Keys, OpenError, Purpose, Record, Sealed};
use crate::time::Timestamp;

/// Look into a token.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Open the token on standard input and show what is in it, or which check failed
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// Show the secrets in it
    #[arg(long)]
    reveal: bool,
    /// The configuration that names the keys and the public URL
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of the key files, instead of the configured one
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The public URL, instead of the configured one
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

/// What the configuration says about keys.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Where the root keys are.
    pub keys: KeySource,
    /// Who issues.
    pub issuer: Issuer,
}

/// Why nothing was inspected, or the token is no good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenCommandError {
    /// The keys themselves.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The terminal.
    #[error("cannot read the token or write the answer")]
    Terminal(#[from] io::Error),
    /// No public URL.
    #[error("which server's token is it? name it with `--public-url`, or `--config`")]
    NoIssuer,
    /// No token.
    #[error("there is no token on standard input")]
    NoToken,
    /// It does not open.
    #[error("the token does not open: {0}")]
    Refused(#[from] OpenError),
}

impl TokenArgs {
    /// The configuration file that was named.
    pub fn config(&self) -> Option<&Path> {
        let TokenCommand::Inspect(inspect) = &self.command;
        inspect.config.as_deref()
    }

    /// Whether the flags leave something open that the configuration has to say.
    pub fn needs_deployment(&self) -> bool {
        let TokenCommand::Inspect(inspect) = &self.command;
        inspect.directory.is_none() || inspect.public_url.is_none()
    }
}

/// Runs a `token` command. `configured` is what the configuration says, if there is one; flags win.
pub fn run_token(
    args: &TokenArgs,
    configured: Option<Deployment>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(), TokenCommandError> {
    let TokenCommand::Inspect(inspect) = &args.command;
    let (keys, issuer) = configured.map_or((None, None), |it| (Some(it.keys), Some(it.issuer)));
    let issuer = match &inspect.public_url {
        Some(url) => Issuer::new(url.trim_end_matches('/')),
        None => issuer.ok_or(TokenCommandError::NoIssuer)?,
    };
    let source = match (&inspect.directory, keys) {
        (None, Some(KeySource::Directory { path, .. })) => without_making(path),
        (None, Some(inline)) => inline,
        (None, None) => without_making("keys".into()),
        (Some(path), _) => without_making(path.clone()),
    };
    let keyring = Keys::load(&source, &issuer, now, rng)?.current();

    let mut token = Zeroizing::new(String::new());
    input.take(1 << 20).read_to_string(&mut token)?;
    let wire = token.trim();
    if wire.is_empty() {
        return Err(TokenCommandError::NoToken);
    }
    writeln!(out, "size     {} bytes", wire.len())?;
    let view = View {
        ring: &keyring,
        wire,
        reveal: inspect.reveal,
        now,
    };
    match keyring.purpose_of(wire) {
        Some(Purpose::ClientRegistration) => view.show::<ClientRegistration>(out),
        Some(Purpose::PendingConsent) => view.show::<PendingConsent>(out),
        Some(Purpose::PendingLogin) => view.show::<PendingLogin>(out),
        Some(Purpose::AuthorizationCode) => view.show::<AuthorizationCode>(out),
        Some(Purpose::RefreshToken) => view.show::<RefreshToken>(out),
        Some(Purpose::SessionId) => view.show::<SessionId>(out),
        Some(Purpose::Memo) => view.show::<Memo>(out),
        // An unknown header fails the same way whatever is asked for.
        Some(Purpose::AccessToken) | None => view.show::<AccessToken>(out),
    }
}

/// Looking into a token never makes a key.
fn without_making(path: PathBuf) -> KeySource {
    KeySource::Directory {
        path,
        create: false,
    }
}

struct View<'a> {
    ring: &'a Keyring,
    wire: &'a str,
    reveal: bool,
    now: Timestamp,
}

impl View<'_> {
    fn show<T: Record + Debug>(&self, out: &mut dyn Write) -> Result<(), TokenCommandError> {
        if let Some(purpose) = self.ring.purpose_of(self.wire) {
            writeln!(out, "kind     {purpose} ({})", purpose.typ())?;
        }
        let token = Sealed::<T>::from_wire(self.wire);
        // Opened as of the beginning of time: what has expired is shown as well.
        let opened = self.ring.open(&token, Timestamp::default())?;
        writeln!(out, "key      {}", opened.kid)?;
        if let Some(end) = opened.record.expires_at() {
            writeln!(out, "expires  {} ({end})", relative(end, self.now))?;
        } else {
            writeln!(out, "expires  never")?;
        }
        if self.reveal {
            let claims = serde_json::to_string_pretty(&opened.record).map_err(io::Error::from)?;
            writeln!(out, "claims   {}", Zeroizing::new(claims).as_str())?;
        } else {
            writeln!(out, "claims   {:#?}", opened.record)?;
        }
        self.ring.open(&token, self.now)?;
        writeln!(out, "opens    yes")?;
        Ok(())
    }
}
