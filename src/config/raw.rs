//! What can be written, before it is judged: the file's shape and nothing else.
//!
//! Defaults are in the tree already (`keys.rs`), so that a key without one is an `Option`. Twins
//! `…_file` are not here: `secrets.rs` has put their contents in the place of the secret.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::quantity::{Lasting, Moment, Size};
use super::{AuthMode, LogFormat};
use crate::oauth::names::Secret;

macro_rules! raw {
    ($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$attribute])* pub(super) $field: $type,)*
        }
    };
}

raw! {
    /// The whole file.
    Raw {
        public_url: Option<String>,
        listen: String,
        keys: RawKeys,
        // Read table by table, by what the upstreams' own room knows.
        upstreams: Option<IgnoredAny>,
        resources: Vec<RawResource>,
        access: RawAccess,
        tokens: RawTokens,
        clients: RawClients,
        scopes: BTreeMap<String, RawScope>,
        replay: RawReplay,
        revocation: RawRevocation,
        proxy: RawProxy,
        cors: RawCors,
        limits: RawLimits,
        tls: Option<RawTls>,
        admin: RawAdmin,
        shutdown: RawShutdown,
        consent: RawConsent,
        log: RawLog,
    }
}

raw! {
    /// `[keys]`.
    RawKeys {
        directory: PathBuf,
    }
}

raw! {
    /// `[[resources]]`.
    RawResource {
        path: Option<String>,
        backend: Option<String>,
        upstream: Option<String>,
        scopes: Vec<String>,
        required_scopes: Vec<String>,
        auth: AuthMode,
        forward: Vec<ForwardWord>,
        backend_headers: BTreeMap<String, Secret>,
        name: Option<String>,
        max_body: Size,
        connect_timeout: Lasting,
        idle_timeout: Lasting,
        access: Option<RawAccess>,
    }
}

/// One word of `forward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ForwardWord {
    Identity,
    AccessToken,
    Authorization,
}

raw! {
    /// `[access]` and `[resources.access]`.
    #[expect(clippy::struct_field_names, reason = "these are the keys' names")]
    RawAccess {
        allow_all: bool,
        allow_emails: Vec<String>,
        allow_subjects: Vec<String>,
        allow_groups: Vec<String>,
    }
}

raw! {
    /// `[tokens]`.
    RawTokens {
        code_ttl: Lasting,
        access_ttl: Lasting,
        refresh_idle_ttl: Lasting,
        refresh_max_ttl: Lasting,
        refresh_grace: Lasting,
    }
}

raw! {
    /// `[clients]`.
    RawClients {
        cimd: bool,
        dcr: bool,
        redirect_schemes: Vec<String>,
        cimd_allow_hosts: Vec<String>,
        cimd_deny_hosts: Vec<String>,
        cimd_allow_loopback: bool,
        #[serde(rename = "static")]
        fixed: Vec<RawStaticClient>,
        policy: Vec<RawPolicy>,
    }
}

raw! {
    /// `[[clients.static]]`.
    RawStaticClient {
        client_id: Option<String>,
        client_secret: Option<Secret>,
        redirect_uris: Vec<String>,
    }
}

raw! {
    /// `[[clients.policy]]`.
    RawPolicy {
        client_host: Option<String>,
        refresh_grace: Option<Lasting>,
    }
}

raw! {
    /// `[scopes.NAME]`.
    RawScope {
        title: Option<String>,
    }
}

/// `store` of `[replay]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreWord {
    #[default]
    Memory,
    Upstream,
    Redis,
}

raw! {
    /// `[replay]`.
    RawReplay {
        store: StoreWord,
        url: Option<Secret>,
        ca_file: Option<PathBuf>,
        prefix: String,
        capacity: u32,
    }
}

raw! {
    /// `[revocation]`.
    RawRevocation {
        not_before: Option<Moment>,
        registrations_before: Option<Moment>,
        subjects: Vec<RawSubjectEpoch>,
        clients: Vec<RawClientEpoch>,
        grants: Vec<String>,
    }
}

raw! {
    /// `{ subject = "…", before = "…" }`.
    RawSubjectEpoch {
        subject: Option<String>,
        before: Option<Moment>,
    }
}

raw! {
    /// `{ client = "…", before = "…" }`.
    RawClientEpoch {
        client: Option<String>,
        before: Option<Moment>,
    }
}

raw! {
    /// `[proxy]`.
    RawProxy {
        trusted: Vec<String>,
    }
}

raw! {
    /// `[cors]`.
    RawCors {
        allowed_origins: Option<Vec<String>>,
    }
}

raw! {
    /// `[limits]`.
    #[expect(clippy::struct_field_names, reason = "these are the keys' names")]
    RawLimits {
        register_per_minute: u32,
        authorize_per_minute: u32,
        token_per_minute: u32,
    }
}

raw! {
    /// `[tls]`.
    RawTls {
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    }
}

raw! {
    /// `[admin]`.
    RawAdmin {
        listen: Option<String>,
    }
}

raw! {
    /// `[shutdown]`.
    RawShutdown {
        delay: Lasting,
        drain: Lasting,
    }
}

raw! {
    /// `[consent]`.
    RawConsent {
        name: Option<String>,
        contact: Option<String>,
    }
}

raw! {
    /// `[log]`.
    RawLog {
        format: LogFormat,
        level: String,
    }
}
