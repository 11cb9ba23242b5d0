//! The audit log: what happened to people's access, as a closed list of events.
//!
//! Every event is one log line under the target `mcp_oauth::audit`, with its name in `event`. It
//! names grants by their id, clients by the hash of their `client_id`, e-mail addresses by
//! [`EmailHash`]: the names that `[revocation]` takes, and none that opens anything.

use std::fmt;

use sha2::{Digest as _, Sha256};
use tracing::Level;

use crate::oauth::names::{ClientHash, GrantId, Subject};

/// The target of the lines, for `[log] level`: `warn,mcp_oauth::audit=info`.
pub const TARGET: &str = "mcp_oauth::audit";

/// What an event is called, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client registered.
    Registration,
    /// A person allowed a client.
    ConsentAllow,
    /// A person refused a client.
    ConsentDeny,
    /// A consent form that is not of this browser, this site or this server.
    ForeignForm,
    /// A callback that is not of this browser or not of the provider that was asked.
    ForeignCallback,
    /// A person signed in.
    Login,
    /// No access rule lets a person in.
    AccessDenied,
    /// A client did not prove who it is.
    ClientRefused,
    /// A code came twice.
    CodeReplay,
    /// A superseded refresh token came again.
    RefreshReuse,
    /// Two refresh tokens of one generation.
    RefreshFork,
    /// A client ended a grant.
    Revoke,
    /// The provider or an access rule ended a grant.
    GrantEnded,
    /// The root keys changed.
    KeyChange,
    /// Changed root keys cannot be used.
    KeyChangeRefused,
    /// The configuration changed.
    ConfigurationChange,
    /// A second process mints.
    ForeignInstance,
    /// The replay store lost its memory.
    StoreDiscontinuity,
}

impl Kind {
    /// Every event.
    pub const ALL: [Self; 18] = [
        Self::Registration,
        Self::ConsentAllow,
        Self::ConsentDeny,
        Self::ForeignForm,
        Self::ForeignCallback,
        Self::Login,
        Self::AccessDenied,
        Self::ClientRefused,
        Self::CodeReplay,
        Self::RefreshReuse,
        Self::RefreshFork,
        Self::Revoke,
        Self::GrantEnded,
        Self::KeyChange,
        Self::KeyChangeRefused,
        Self::ConfigurationChange,
        Self::ForeignInstance,
        Self::StoreDiscontinuity,
    ];

    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// How loud it is: normal life, somebody's fault or attack, or ours.
    pub const fn level(self) -> Level {
        self.facts().1
    }

    /// Which fields it can have beside its name.
    pub const fn fields(self) -> &'static [&'static str] {
        self.facts().2
    }

    /// What it means: the message of its line.
    pub const fn meaning(self) -> &'static str {
        self.facts().3
    }

    #[rustfmt::skip]
    const fn facts(self) -> (&'static str, Level, &'static [&'static str], &'static str) {
        const INFO: Level = Level::INFO;
        const WARN: Level = Level::WARN;
        const ERROR: Level = Level::ERROR;
        match self {
            Self::Registration => ("registration", INFO, &["client"],
                "a client registered"),
            Self::ConsentAllow => ("consent_allow", INFO, &["grant", "client", "resource"],
                "a person allowed a client; the grant begins once the provider confirms who it is"),
            Self::ConsentDeny => ("consent_deny", INFO, &["client", "resource"],
                "a person refused a client"),
            Self::ForeignForm => ("foreign_form", WARN, &["reason"],
                "a consent form was posted that does not belong to this browser, this site or this server"),
            Self::ForeignCallback => ("foreign_callback", WARN, &["upstream", "reason"],
                "somebody came back from a provider without a login of this browser, or from another provider"),
            Self::Login => ("login", INFO, &["grant", "client", "subject", "email", "resource"],
                "a person signed in, and a client got its first tokens"),
            Self::AccessDenied => ("access_denied", WARN, &["grant", "client", "subject", "email", "resource"],
                "no access rule lets a person in"),
            Self::ClientRefused => ("client_refused", WARN, &["client", "reason"],
                "a client did not prove who it is"),
            Self::CodeReplay => ("code_replay", WARN, &["grant", "client"],
                "a code was redeemed a second time; the grant is ended"),
            Self::RefreshReuse => ("refresh_reuse", WARN, &["grant", "client", "subject"],
                "a superseded refresh token was used again; the grant is ended"),
            Self::RefreshFork => ("refresh_fork", WARN, &["grant", "client", "subject"],
                "two different refresh tokens of one generation were used; the grant is ended"),
            Self::Revoke => ("revoke", INFO, &["grant", "client"],
                "a client ended its grant"),
            Self::GrantEnded => ("grant_ended", INFO, &["grant", "client", "subject", "reason"],
                "the provider or an access rule ended a grant at a refresh"),
            Self::KeyChange => ("key_change", INFO, &["keys"],
                "the root keys changed"),
            Self::KeyChangeRefused => ("key_change_refused", ERROR, &["reason"],
                "the changed root keys cannot be used; the old ones stay"),
            Self::ConfigurationChange => ("configuration_change", INFO, &["tables"],
                "the configuration changed: [revocation] counts from now on, other tables after a restart"),
            Self::ForeignInstance => ("foreign_instance", WARN, &[],
                "another process mints with these keys, but `[replay] store = \"memory\"` says that this is \
                 the only one: codes may work twice and revocations reach one process only; set `store` to \
                 \"redis\" or \"upstream\""),
            Self::StoreDiscontinuity => ("store_discontinuity", ERROR, &[],
                "the replay store lost its memory or was replaced: codes of the last minute are refused"),
        }
    }
}

/// One event. What it is about is added as far as it is known.
#[must_use = "an event is in the log once it is recorded"]
#[derive(Clone, Debug)]
pub struct Event {
    kind: Kind,
    grant: Option<GrantId>,
    client: Option<ClientHash>,
    subject: Option<String>,
    email: Option<EmailHash>,
    resource: Option<String>,
    upstream: Option<String>,
    reason: Option<String>,
    keys: Option<String>,
    tables: Option<String>,
}

impl Event {
    /// An event of which nothing is known yet.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            grant: None,
            client: None,
            subject: None,
            email: None,
            resource: None,
            upstream: None,
            reason: None,
            keys: None,
            tables: None,
        }
    }

    /// About a grant of a client.
    pub fn grant(mut self, grant: GrantId, client: ClientHash) -> Self {
        self.grant = Some(grant);
        self.client(client)
    }

    /// About a client.
    pub fn client(mut self, client: ClientHash) -> Self {
        self.client = Some(client);
        self
    }

    /// About a person. A provider that uses addresses as ids does not bring them into the log.
    pub fn subject(mut self, subject: &Subject) -> Self {
        let text = subject.as_str();
        self.subject = Some(match text.split_once(':') {
            Some((upstream, id)) if id.contains('@') => format!("{upstream}:{}", EmailHash::of(id)),
            _ => text.to_owned(),
        });
        self
    }

    /// About the person with this address.
    pub fn email(mut self, email: Option<&str>) -> Self {
        self.email = email.map(EmailHash::of);
        self
    }

    /// About a resource, by its public path.
    pub fn resource(mut self, path: &str) -> Self {
        self.resource = Some(path.to_owned());
        self
    }

    /// About an upstream, by its name.
    pub fn upstream(mut self, name: &str) -> Self {
        self.upstream = Some(name.to_owned());
        self
    }

    /// Why: a precise cause that holds no secret.
    pub fn reason(mut self, reason: &impl fmt::Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// Which root keys there are now, by id and state.
    pub fn keys(mut self, keys: String) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Which tables of the configuration changed.
    pub fn tables(mut self, tables: &str) -> Self {
        self.tables = Some(tables.to_owned());
        self
    }

    /// Writes it into the log.
    pub fn record(self) {
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    event = self.kind.name(),
                    grant = self.grant.map(display),
                    client = self.client.map(display),
                    subject = self.subject,
                    email = self.email.map(display),
                    resource = self.resource,
                    upstream = self.upstream,
                    reason = self.reason,
                    keys = self.keys,
                    tables = self.tables,
                    "{}",
                    self.kind.meaning()
                )
            };
        }
        match self.kind.level() {
            Level::ERROR => line!(Level::ERROR),
            Level::WARN => line!(Level::WARN),
            _ => line!(Level::INFO),
        }
    }
}

/// The list of events as the page in `docs/` shows it, in Markdown.
pub fn reference() -> String {
    use std::fmt::Write as _;

    let mut page = String::from("| event | level | fields | means |\n|---|---|---|---|\n");
    for kind in Kind::ALL {
        let fields: Vec<String> = kind.fields().iter().map(|it| format!("`{it}`")).collect();
        let level = kind.level().as_str().to_ascii_lowercase();
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "| `{}` | {level} | {} | {} |",
            kind.name(),
            fields.join(", "),
            kind.meaning()
        );
    }
    page
}

/// An e-mail address as logs name it: lines about the same person can be found, the address cannot
/// be read. Who guesses an address can confirm it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EmailHash(u64);

impl EmailHash {
    /// Hashes an address; upper and lower case make no difference.
    pub fn of(email: &str) -> Self {
        let digest = Sha256::new()
            .chain_update("email\0")
            .chain_update(email.to_ascii_lowercase())
            .finalize();
        let first = digest.first_chunk::<8>();
        Self(first.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }
}

impl fmt::Display for EmailHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for EmailHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailHash({self})")
    }
}
