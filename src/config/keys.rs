//! The reference of every key: its type, its default, what it is for.
//!
//! One table. Defaults come from here, and so do the names of environment variables, the JSON
//! schema, `config show` and the table in `docs/reference/configuration.md`; a test compares it
//! with the structs of `raw.rs`, so that no key can be known to one and not to the other.

use super::tree::{KeyPath, Node, Origin};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text that must not be shown; has a twin `…_file`.
    Secret,
    Url,
    Path,
    /// Host and port to listen on.
    Address,
    Boolean,
    Integer,
    Duration,
    Size,
    Time,
    List,
    Choice(&'static [&'static str]),
    /// A list of these.
    Choices(&'static [&'static str]),
    /// Header names with secret values; has a twin `…_file`.
    Headers,
    /// Names with text.
    Texts,
    /// Tables `{ <name> = "…", before = "…" }`.
    Epochs(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its path; `*` stands for a name, `[]` for an element.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// The default, as the environment would write it.
    pub(super) default: Option<&'static str>,
    pub(super) about: &'static str,
}

impl Key {
    /// Whether it has a twin that names a file.
    pub(super) const fn has_file_twin(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Headers)
    }

    /// Whether the environment can set it.
    pub(super) fn has_variable(&self) -> bool {
        !self.path.contains("[]")
            && !matches!(self.kind, Kind::Headers | Kind::Texts | Kind::Epochs(_))
    }

    /// The places in the tree that this key stands for.
    pub(super) fn places(&self, tree: &Node) -> Vec<KeyPath> {
        if let Some((list, rest)) = self.path.split_once("[].") {
            let list = KeyPath::of(list);
            let rest = KeyPath::of(rest);
            let elements = 0..tree.len_at(&list);
            elements
                .map(|index| list.index(index).join(&rest))
                .collect()
        } else if let Some((map, rest)) = self.path.split_once(".*.") {
            let map = KeyPath::of(map);
            let names = tree.names(&map).into_iter();
            names.map(|name| map.key(&name).key(rest)).collect()
        } else {
            vec![KeyPath::of(self.path)]
        }
    }
}

/// Fills in the default of every key that was not written.
pub(super) fn fill_in_defaults(tree: &mut Node) {
    for key in KEYS {
        for place in key.places(tree) {
            restore(tree, key, &place);
        }
    }
}

/// Puts the default back where a faulty value was taken away.
pub(super) fn restore_default(tree: &mut Node, place: &KeyPath) {
    let key = KEYS.iter().find(|key| key.places(tree).contains(place));
    if let Some(key) = key {
        restore(tree, key, place);
    }
}

fn restore(tree: &mut Node, key: &Key, place: &KeyPath) {
    if let Some(default) = key.default
        && tree.at(place).is_none()
    {
        tree.set(place, Node::text(default, Origin::Default));
    }
}

const fn key(path: &'static str, kind: Kind, about: &'static str) -> Key {
    let default = None;
    Key {
        path,
        kind,
        default,
        about,
    }
}

impl Key {
    const fn or(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }
}

/// Every key, in the order of the documentation.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("public_url", Kind::Url, "The issuer: the origin that clients reach this server at, exact and without a path. Changing it ends every session and registration"),
    key("listen", Kind::Address, "Where to listen. `PORT` in the environment replaces the port").or("127.0.0.1:8080"),

    key("keys.directory", Kind::Path, "Directory of the root keys. `MCP_OAUTH_KEYS` holds the keys themselves instead, for platforms without files").or("keys"),

    key("upstreams.*.provider", Kind::Text, "A preset (`mcp-oauth providers list`), or `oidc`, or `oauth2`"),
    key("upstreams.*.issuer", Kind::Url, "The issuer, for `oidc`"),
    key("upstreams.*.client_id", Kind::Text, "The client id that the provider gave this server"),
    key("upstreams.*.client_secret", Kind::Secret, "Its secret"),
    key("upstreams.*.scopes", Kind::List, "What the provider is asked for; by default what the preset needs to sign in"),
    key("upstreams.*.exchange", Kind::Choice(&["token", "callback"]), "When the provider's code is exchanged: at `/token`, which makes codes single-use without a store, or at the callback, which shows refusals as a page").or("token"),
    key("upstreams.*.callback_path", Kind::Text, "Path of the callback, for apps that are registered already; by default `/callback/` and the name"),
    key("upstreams.*.reauth", Kind::Choice(&["refresh", "never"]), "Whether a refresh asks the provider again. `never` is for providers that can neither refresh nor answer userinfo").or("refresh"),
    key("upstreams.*.trust_email", Kind::Boolean, "Whether its e-mail addresses count as verified without its saying so").or("false"),
    key("upstreams.*.revoke_upstream", Kind::Boolean, "Whether a revocation here is passed on even where it ends the person's other sessions too").or("false"),
    key("upstreams.*.groups_claim", Kind::Text, "The claim that lists a person's groups"),
    key("upstreams.*.extra_ca_file", Kind::Path, "A further certificate authority (PEM) for this provider"),
    key("upstreams.*.host", Kind::Text, "Host of the provider, for presets whose URLs need one"),
    key("upstreams.*.domain", Kind::Text, "Domain at the provider, likewise"),
    key("upstreams.*.tenant", Kind::Text, "Tenant at the provider, likewise"),
    key("upstreams.*.realm", Kind::Text, "Realm at the provider, likewise"),
    key("upstreams.*.as_id", Kind::Text, "Authorization server at the provider, likewise"),
    key("upstreams.*.display", Kind::Text, "What people call the provider"),
    key("upstreams.*.issuer_aliases", Kind::List, "Other spellings of the issuer in its ID tokens"),
    key("upstreams.*.authorize_url", Kind::Url, "Where the browser is sent, for `oauth2`; with `oidc` discovery says"),
    key("upstreams.*.token_url", Kind::Url, "Where codes are exchanged, likewise"),
    key("upstreams.*.refresh_url", Kind::Url, "Where refresh tokens are used, if not there"),
    key("upstreams.*.userinfo_url", Kind::Url, "Where a person's identity is read"),
    key("upstreams.*.userinfo_method", Kind::Choice(&["GET", "POST"]), "With which method"),
    key("upstreams.*.userinfo_query", Kind::Text, "With which GraphQL query, for `identity = \"graphql\"`"),
    key("upstreams.*.email_url", Kind::Url, "Where e-mail addresses are listed, in GitHub's shape"),
    key("upstreams.*.introspection_url", Kind::Url, "Where tokens are introspected (RFC 7662), for `identity = \"introspect\"`"),
    key("upstreams.*.revocation_url", Kind::Url, "Where tokens are revoked"),
    key("upstreams.*.revocation_style", Kind::Choice(&["rfc7009", "bearer-self", "github", "none"]), "How tokens are revoked there"),
    key("upstreams.*.revocation_scope", Kind::Choice(&["token", "all"]), "What that ends: the one token, or more"),
    key("upstreams.*.pkce", Kind::Choice(&["required", "supported", "optional", "none", "unknown"]), "Whether the provider knows PKCE"),
    key("upstreams.*.send_pkce", Kind::Boolean, "Whether it is sent PKCE, where that does not settle it"),
    key("upstreams.*.client_auth", Kind::Choice(&["post", "basic", "either", "none"]), "How this server authenticates there; `either` follows discovery"),
    key("upstreams.*.token_body", Kind::Choice(&["form", "json"]), "How token requests are written"),
    key("upstreams.*.token_headers", Kind::Texts, "Further headers of token requests"),
    key("upstreams.*.api_headers", Kind::Texts, "Further headers of identity requests"),
    key("upstreams.*.scope_param", Kind::Text, "Name of the scope parameter; empty for none"),
    key("upstreams.*.scope_sep", Kind::Text, "What separates scopes"),
    key("upstreams.*.authorize_params", Kind::Texts, "Further parameters of the authorization request"),
    key("upstreams.*.account_params", Kind::Texts, "The same when a person asks for another account"),
    key("upstreams.*.repeat_scope", Kind::Boolean, "Whether token requests repeat the scope"),
    key("upstreams.*.repeat_redirect_uri", Kind::Boolean, "Whether refreshes repeat the callback"),
    key("upstreams.*.token_path", Kind::List, "Members of the answer that may hold the tokens; the empty word is the answer itself"),
    key("upstreams.*.refused_errors", Kind::List, "Errors by which the provider refuses for good, besides the standard ones"),
    key("upstreams.*.identity", Kind::Choice(&["id_token", "userinfo", "token_response", "graphql", "introspect"]), "Where a person's identity is read"),
    key("upstreams.*.subject", Kind::Text, "Path of the id that never changes for a person; several joined by `+`"),
    key("upstreams.*.email", Kind::Text, "Path of the e-mail address"),
    key("upstreams.*.email_verified", Kind::Text, "Path of what says that it is verified"),
    key("upstreams.*.username", Kind::Text, "Path of the name that a person goes by"),
    key("upstreams.*.code_ttl_s", Kind::Integer, "How many seconds the provider's codes live"),

    key("resources[].path", Kind::Text, "Public path. `public_url` and this are the URL that people add to their client; empty is the origin itself"),
    key("resources[].backend", Kind::Url, "The MCP server behind it"),
    key("resources[].upstream", Kind::Text, "Where people sign in for it; may be left out when there is one"),
    key("resources[].scopes", Kind::List, "Scopes that clients can ask for").or("mcp"),
    key("resources[].required_scopes", Kind::List, "Scopes without which no request passes").or(""),
    key("resources[].auth", Kind::Choice(&["required", "optional"]), "Whether requests without a token are refused or pass without identity").or("required"),
    key("resources[].forward", Kind::Choices(&["identity", "access_token", "authorization"]), "What the backend learns: `X-Forwarded-User` and its family, the provider's token as `X-Forwarded-Access-Token`, or as `Authorization`").or("identity"),
    key("resources[].backend_headers", Kind::Headers, "Headers of your own for the backend"),
    key("resources[].name", Kind::Text, "What people call it"),
    key("resources[].max_body", Kind::Size, "Largest request body").or("10MB"),
    key("resources[].connect_timeout", Kind::Duration, "How long connecting to the backend may take").or("2s"),
    key("resources[].idle_timeout", Kind::Duration, "How long a stream may be silent").or("5m"),
    key("resources[].access.allow_all", Kind::Boolean, "As `[access]`, narrowing it for this resource"),
    key("resources[].access.allow_emails", Kind::List, "As `[access]`, narrowing it for this resource"),
    key("resources[].access.allow_subjects", Kind::List, "As `[access]`, narrowing it for this resource"),
    key("resources[].access.allow_groups", Kind::List, "As `[access]`, narrowing it for this resource"),

    key("access.allow_all", Kind::Boolean, "Everybody who can sign in at the provider").or("false"),
    key("access.allow_emails", Kind::List, "Verified addresses, exact or `*@example.com`").or(""),
    key("access.allow_subjects", Kind::List, "People by upstream and stable id, `github:583231`").or(""),
    key("access.allow_groups", Kind::List, "Members of these groups").or(""),

    key("tokens.code_ttl", Kind::Duration, "Life of an authorization code, at most 10 minutes").or("60s"),
    key("tokens.access_ttl", Kind::Duration, "Life of an access token, 30 seconds to 24 hours").or("1h"),
    key("tokens.refresh_idle_ttl", Kind::Duration, "Life of a refresh token that is not used").or("30d"),
    key("tokens.refresh_max_ttl", Kind::Duration, "Life of a grant, however often it is refreshed").or("90d"),
    key("tokens.refresh_grace", Kind::Duration, "How long a rotated refresh token still gets the same answer; `0s` is strict").or("120s"),

    key("clients.cimd", Kind::Boolean, "Whether the URL of a client's metadata document is a `client_id`").or("true"),
    key("clients.dcr", Kind::Boolean, "Whether clients can register themselves. `false` stops new registrations only").or("true"),
    key("clients.redirect_schemes", Kind::List, "Private-use redirect URIs that may be registered, exact").or("cursor://anysphere.cursor-mcp/oauth/callback"),
    key("clients.cimd_allow_hosts", Kind::List, "Hosts whose documents are accepted; empty is any public host").or(""),
    key("clients.cimd_deny_hosts", Kind::List, "Hosts whose documents are refused").or(""),
    key("clients.cimd_allow_loopback", Kind::Boolean, "Development: also documents at `http://127.0.0.1`. Only with a loopback `public_url`").or("false"),
    key("clients.static[].client_id", Kind::Text, "A client that is known without registering"),
    key("clients.static[].client_secret", Kind::Secret, "Its secret; left out for a public client"),
    key("clients.static[].redirect_uris", Kind::List, "Where its answers may go, exact"),
    key("clients.policy[].client_host", Kind::Text, "The host of a client's metadata document or redirect that the exceptions below are for"),
    key("clients.policy[].refresh_grace", Kind::Duration, "A `refresh_grace` of its own"),

    key("scopes.*.title", Kind::Text, "What the scope allows, in words for the consent page"),

    key("replay.store", Kind::Choice(&["memory", "upstream", "redis"]), "How the server is deployed. `memory`: this is the only process; `upstream`: several processes that share nothing but keys; `redis`: a Redis (7 or later) or Valkey for all").or("memory"),
    key("replay.url", Kind::Secret, "`redis://` or `rediss://` URL of the store"),
    key("replay.ca_file", Kind::Path, "Certificate authorities (PEM) of a `rediss://` store; they alone are trusted then, instead of the public ones"),
    key("replay.prefix", Kind::Text, "Start of every key in the store").or("mcp-oauth:"),
    key("replay.capacity", Kind::Integer, "Most entries of each kind in memory").or("1000000"),

    key("revocation.not_before", Kind::Time, "Every grant that was issued earlier has ended"),
    key("revocation.registrations_before", Kind::Time, "Every registration that was issued earlier has ended"),
    key("revocation.subjects", Kind::Epochs("subject"), "People whose grants have ended: `{ subject = \"github:583231\", before = \"…\" }`; without `before`, all of them"),
    key("revocation.clients", Kind::Epochs("client"), "Clients whose grants have ended: `{ client = \"<hash as logged>\", before = \"…\" }`"),
    key("revocation.grants", Kind::List, "Grants that have ended, as logged").or(""),

    key("proxy.trusted", Kind::List, "Addresses (CIDR) of proxies whose `X-Forwarded-For` and `-Proto` are believed").or(""),

    key("cors.allowed_origins", Kind::List, "Origins whose pages may call the resources; `*` is any, `loopback` every one on this computer. By default `*` where every resource requires a token and `public_url` is public, else `loopback` and `public_url`"),

    key("limits.register_per_minute", Kind::Integer, "Registrations per client address and minute; 0 is no limit").or("20"),
    key("limits.authorize_per_minute", Kind::Integer, "Authorization requests, likewise").or("60"),
    key("limits.token_per_minute", Kind::Integer, "Refused token requests per client address, and tokens per grant, likewise").or("120"),

    key("tls.certificate", Kind::Path, "Certificate chain (PEM), to end TLS here"),
    key("tls.key", Kind::Path, "Its private key (PEM)"),

    key("admin.listen", Kind::Address, "Where `/livez`, `/readyz` and `/metrics` answer; left out, nowhere"),

    key("shutdown.delay", Kind::Duration, "From \"not ready\" to no new connections").or("5s"),
    key("shutdown.drain", Kind::Duration, "How long what is running may go on after that").or("25s"),

    key("consent.name", Kind::Text, "Who runs this server, for the pages"),
    key("consent.contact", Kind::Text, "Whom to ask: an e-mail address or an https URL"),

    key("log.format", Kind::Choice(&["auto", "json", "pretty"]), "`auto` is pretty on a terminal and JSON elsewhere").or("auto"),
    key("log.level", Kind::Text, "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,mcp_oauth=debug`").or("info"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::config::raw::*;
    use crate::config::reader::fields_of;
    use crate::upstream::RawUpstream;

    fn add<T: DeserializeOwned>(table: &str, fields: &mut BTreeSet<String>) {
        let below = fields_of::<T>()
            .iter()
            .map(|field| format!("{table}{field}"));
        fields.extend(below);
    }

    /// The keys that serde would read.
    fn readable() -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        add::<Raw>("", &mut fields);
        add::<RawKeys>("keys.", &mut fields);
        add::<RawUpstream>("upstreams.*.", &mut fields);
        add::<RawResource>("resources[].", &mut fields);
        add::<RawAccess>("resources[].access.", &mut fields);
        add::<RawAccess>("access.", &mut fields);
        add::<RawTokens>("tokens.", &mut fields);
        add::<RawClients>("clients.", &mut fields);
        add::<RawStaticClient>("clients.static[].", &mut fields);
        add::<RawPolicy>("clients.policy[].", &mut fields);
        add::<RawScope>("scopes.*.", &mut fields);
        add::<RawReplay>("replay.", &mut fields);
        add::<RawRevocation>("revocation.", &mut fields);
        add::<RawProxy>("proxy.", &mut fields);
        add::<RawCors>("cors.", &mut fields);
        add::<RawLimits>("limits.", &mut fields);
        add::<RawTls>("tls.", &mut fields);
        add::<RawAdmin>("admin.", &mut fields);
        add::<RawShutdown>("shutdown.", &mut fields);
        add::<RawConsent>("consent.", &mut fields);
        add::<RawLog>("log.", &mut fields);
        fields
    }

    #[test]
    fn table_and_structs_know_the_same_keys() {
        let tables: BTreeSet<_> = KEYS
            .iter()
            .flat_map(|key| {
                let ends = key.path.match_indices(['.', '[']).map(|(end, _)| end);
                ends.map(|end| key.path[..end].to_owned())
            })
            .collect();
        let documented: BTreeSet<_> = KEYS.iter().map(|key| key.path.to_owned()).collect();
        assert_eq!(documented.len(), KEYS.len(), "a key is documented twice");
        let readable: BTreeSet<_> = readable().difference(&tables).cloned().collect();
        assert_eq!(documented, readable);
    }
}
