//! [`Settings`]: a preset with the operator's overrides, complete and checked; every problem at once.
//!
//! Refuses unknown providers, missing variables and URLs, plain http beyond this computer, and
//! parameters that would replace ours.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::identity::Paths;
use super::presets::{self, Kind, Need, Preset};
use super::raw::{
    ClientAuth, IdentitySource, Pkce, RawUpstream, Reauth, RevocationScope, RevocationStyle,
    TokenBody, UserinfoMethod,
};
use super::template::{self, Unfilled};
use super::{ExchangeAt, Profile};
use crate::net;
use crate::oauth::names::{Secret, UpstreamFingerprint, UpstreamName};

/// What the configuration read from files.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// `client_secret_file`; wins over a secret in the table.
    pub client_secret: Option<Secret>,
    /// `extra_ca_file`, PEM.
    pub extra_ca: Option<Vec<u8>>,
}

/// Something that is wrong with an `[upstreams.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key in the table.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// An upstream's settings: its preset with the operator's overrides, complete and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) profile: Profile,
    pub(super) kind: Kind,
    pub(super) client_id: String,
    pub(super) client_secret: Option<Secret>,
    pub(super) extra_ca: Option<Vec<u8>>,
    pub(super) reauth: Reauth,
    pub(super) trust_email: bool,
    pub(super) groups_claim: Option<String>,
    /// The issuer as configured; a shared tenant's differs in each token.
    pub(super) issuer: Option<String>,
    pub(super) issuer_aliases: Vec<String>,
    pub(super) urls: Urls,
    /// What the preset says for endpoints that discovery may not name.
    pub(super) fallback: Urls,
    pub(super) asking: Asking,
    pub(super) tokens: TokenRequests,
    pub(super) identity: IdentitySource,
    pub(super) paths: Paths,
    pub(super) api: Api,
    pub(super) revocation: RevocationStyle,
}

/// Endpoints as far as they are named.
#[derive(Clone, Debug, Default)]
pub(super) struct Urls {
    pub(super) authorize: Option<Url>,
    pub(super) token: Option<Url>,
    pub(super) refresh: Option<Url>,
    pub(super) userinfo: Option<Url>,
    pub(super) email: Option<Url>,
    pub(super) introspection: Option<Url>,
    pub(super) revocation: Option<Url>,
}

/// The authorization request.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) pkce: bool,
    pub(super) scope_param: String,
    pub(super) scope_sep: String,
    pub(super) params: BTreeMap<String, String>,
    pub(super) account_params: BTreeMap<String, String>,
}

/// Requests to the token endpoint.
#[derive(Clone, Debug)]
pub(super) struct TokenRequests {
    pub(super) client_auth: ClientAuth,
    pub(super) body: TokenBody,
    pub(super) headers: HeaderMap,
    pub(super) repeat_scope: bool,
    pub(super) repeat_redirect_uri: bool,
    pub(super) path: Vec<String>,
    pub(super) refused_errors: Vec<String>,
}

/// Requests for the identity.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) headers: HeaderMap,
    pub(super) method: UserinfoMethod,
    pub(super) query: Option<String>,
}

/// Parameters that only we may set.
const OURS: [&str; 10] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "request",
];
/// Tenants of Entra that everybody is in: an e-mail address proves nothing there.
const SHARED_TENANTS: [&str; 4] = [
    "common",
    "organizations",
    "consumers",
    "9188040d-6c67-4c5b-b112-36a304b66dad",
];
/// How long codes live where nothing is known: short, so that ours never outlives one.
const CODE_TTL: u64 = 60;

impl Settings {
    /// What the rest of the server must know.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What a refresh asks.
    pub fn reauth(&self) -> Reauth {
        self.reauth
    }

    /// Whether e-mail addresses count as verified without the provider's saying so.
    pub fn trusts_email(&self) -> bool {
        self.trust_email
    }

    /// The claim that lists groups.
    pub fn groups_claim(&self) -> Option<&str> {
        self.groups_claim.as_deref()
    }
}

impl RawUpstream {
    /// Judges a table.
    ///
    /// # Errors
    ///
    /// Every problem at once.
    pub fn resolve(self, name: UpstreamName, secrets: Secrets) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        let Some(preset) = find_preset(self.provider.as_deref(), &mut problems) else {
            return Err(problems);
        };
        let mut raw = self.clone().over(preset.settings.clone());
        raw.client_secret = secrets.client_secret.or(raw.client_secret);
        let mut judge = Judge {
            preset,
            raw: &raw,
            problems,
        };
        let settings = judge.settings(&self, name, secrets.extra_ca);
        match settings {
            Some(settings) if judge.problems.is_empty() => Ok(settings),
            _ => Err(judge.problems),
        }
    }
}

fn find_preset(provider: Option<&str>, problems: &mut Vec<Problem>) -> Option<&'static Preset> {
    let list = "`mcp-oauth providers list` lists the presets";
    let Some(provider) = provider else {
        problems.push(Problem {
            key: "provider".to_owned(),
            message: "`provider` is missing".to_owned(),
            hint: Some(list.to_owned()),
        });
        return None;
    };
    let preset = presets::find(provider);
    if preset.is_none() {
        let hint = match presets::nearest(provider) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("{list}; `oidc` and `oauth2` fit every other"),
        };
        problems.push(Problem {
            key: "provider".to_owned(),
            message: format!("there is no provider `{provider}`"),
            hint: Some(hint),
        });
    }
    preset
}

/// Reads the values of one table and collects what is wrong with them.
struct Judge<'a> {
    preset: &'static Preset,
    raw: &'a RawUpstream,
    problems: Vec<Problem>,
}

impl Judge<'_> {
    fn problem(&mut self, key: &str, message: impl Into<String>, hint: &str) {
        if self.problems.iter().all(|known| known.key != key) {
            self.problems.push(Problem {
                key: key.to_owned(),
                message: message.into(),
                hint: Some(hint.to_owned()),
            });
        }
    }

    #[expect(clippy::too_many_lines, reason = "one line for each setting")]
    fn settings(
        &mut self,
        own: &RawUpstream,
        name: UpstreamName,
        extra_ca: Option<Vec<u8>>,
    ) -> Option<Settings> {
        let raw = self.raw;
        self.credentials();
        let issuer = self.issuer();
        let (urls, fallback) = self.urls(own);
        let paths = self.paths();
        let params = self.params("authorize_params", raw.authorize_params.clone());
        let account_params = self.params("account_params", raw.account_params.clone());
        let token_headers = self.headers("token_headers", raw.token_headers.as_ref());
        let api_headers = self.headers("api_headers", raw.api_headers.as_ref());
        let kind = self.preset.kind;
        let client_id = raw.client_id.clone()?;
        let authority = match kind {
            Kind::Oidc => issuer.clone(),
            Kind::OAuth2 => urls.token.as_ref().map(Url::to_string),
        }?;
        let shared = is_shared(&authority);
        let revocation = raw.revocation_style.unwrap_or_default();
        let one_token = raw.revocation_scope == Some(RevocationScope::Token)
            || raw.revoke_upstream == Some(true);
        let profile = Profile {
            display_name: raw
                .display
                .clone()
                .unwrap_or_else(|| self.preset.called(&authority)),
            fingerprint: UpstreamFingerprint::of_upstream(&authority, &client_id),
            exchange: raw.exchange.unwrap_or(ExchangeAt::Token),
            code_ttl: Duration::from_secs(raw.code_ttl_s.unwrap_or(CODE_TTL)),
            callback_path: raw
                .callback_path
                .clone()
                .unwrap_or_else(|| format!("/callback/{name}")),
            scopes: raw.scopes.clone().unwrap_or_default(),
            // A shared tenant answers with the issuer of the person's own tenant.
            issuer: issuer.clone().filter(|_| !shared),
            revokes_one_token: one_token && revocation != RevocationStyle::None,
            name,
        };
        Some(Settings {
            profile,
            kind,
            client_id,
            client_secret: raw.client_secret.clone(),
            extra_ca,
            reauth: raw.reauth.unwrap_or_default(),
            trust_email: raw.trust_email.unwrap_or_default() && !shared,
            groups_claim: raw.groups_claim.clone(),
            issuer,
            issuer_aliases: raw.issuer_aliases.clone().unwrap_or_default(),
            urls,
            fallback,
            asking: Asking {
                pkce: sends_pkce(raw),
                scope_param: raw
                    .scope_param
                    .clone()
                    .unwrap_or_else(|| "scope".to_owned()),
                scope_sep: raw.scope_sep.clone().unwrap_or_else(|| " ".to_owned()),
                params,
                account_params,
            },
            tokens: token_requests(raw, token_headers),
            identity: raw.identity?,
            paths: Paths {
                may_verify_email: !shared,
                ..paths?
            },
            api: Api {
                headers: api_headers,
                method: raw.userinfo_method.unwrap_or_default(),
                query: raw.userinfo_query.clone(),
            },
            revocation,
        })
    }

    fn credentials(&mut self) {
        let raw = self.raw;
        let hint = match &self.preset.register_at {
            Some(at) if !at.contains('{') => format!("register an app at {at}"),
            _ => "the provider tells it when an app is registered there".to_owned(),
        };
        if raw.client_id.as_ref().is_none_or(String::is_empty) {
            self.problem("client_id", "`client_id` is missing", &hint);
        }
        let has_secret = raw
            .client_secret
            .as_ref()
            .is_some_and(|it| !it.expose().is_empty());
        let is_public = raw.client_auth == Some(ClientAuth::None);
        if self.preset.secret == Need::Required && !has_secret && !is_public {
            let message = format!("{} needs a client secret", self.preset.display);
            self.problem(
                "client_secret",
                message,
                "set `client_secret_file`, the path of a file that holds it",
            );
        }
    }

    fn issuer(&mut self) -> Option<String> {
        let template = self.raw.issuer.as_deref();
        let issuer = match template {
            Some("{issuer}") | None if self.preset.kind == Kind::Oidc => {
                let hint =
                    "exactly as in its discovery document, such as `https://idp.example.com`";
                self.problem("issuer", "`issuer` is missing", hint);
                return None;
            }
            Some(template) => self.filled(template)?,
            None => return None,
        };
        let url = self.url("issuer", &issuer)?;
        // OpenID Connect Discovery §3: no query or fragment.
        if url.query().is_some() || url.fragment().is_some() {
            self.problem(
                "issuer",
                "an issuer has no query and no fragment",
                "remove it",
            );
        }
        Some(issuer)
    }

    fn filled(&mut self, template: &str) -> Option<String> {
        let (raw, preset) = (self.raw, self.preset);
        let value = |name: &str| {
            let given = match name {
                "host" => &raw.host,
                "domain" => &raw.domain,
                "tenant" => &raw.tenant,
                "realm" => &raw.realm,
                "as_id" => &raw.as_id,
                "client_id" => &raw.client_id,
                _ => &None,
            };
            let default = || {
                preset
                    .variables
                    .get(name)
                    .and_then(|it| it.default.as_deref())
            };
            given.as_deref().or_else(default)
        };
        match template::fill(template, value) {
            Ok(text) => Some(text),
            Err(Unfilled::Missing(name)) => {
                let about = preset
                    .variables
                    .get(&name)
                    .map_or("", |it| it.about.as_str());
                let message = format!("`{name}` is missing");
                self.problem(&name, message, about);
                None
            }
            Err(Unfilled::Unfit(name)) => {
                let message = format!("`{name}` cannot stand in `{template}`");
                self.problem(&name, message, "a host name or a plain word");
                None
            }
        }
    }

    fn url(&mut self, key: &str, text: &str) -> Option<Url> {
        let Ok(url) = Url::parse(text) else {
            self.problem(
                key,
                format!("`{text}` is not a URL"),
                "such as `https://idp.example.com/token`",
            );
            return None;
        };
        if !net::is_confidential(&url) {
            let message = format!("`{text}` is not confidential");
            self.problem(
                key,
                message,
                "use https; plain http is for this computer only",
            );
            return None;
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            let message = format!("`{key}` has user information or a fragment");
            self.problem(key, message, "remove it");
            return None;
        }
        Some(url)
    }

    fn endpoint(&mut self, key: &str, value: Option<&String>) -> Option<Url> {
        let text = self.filled(value?)?;
        self.url(key, &text)
    }

    /// The endpoints that a table names.
    fn endpoints(&mut self, table: &RawUpstream) -> Urls {
        Urls {
            authorize: self.endpoint("authorize_url", table.authorize_url.as_ref()),
            token: self.endpoint("token_url", table.token_url.as_ref()),
            refresh: self.endpoint("refresh_url", table.refresh_url.as_ref()),
            userinfo: self.endpoint("userinfo_url", table.userinfo_url.as_ref()),
            email: self.endpoint("email_url", table.email_url.as_ref()),
            introspection: self.endpoint("introspection_url", table.introspection_url.as_ref()),
            revocation: self.endpoint("revocation_url", table.revocation_url.as_ref()),
        }
    }

    /// The endpoints that hold, and those that fill in what discovery does not say.
    fn urls(&mut self, own: &RawUpstream) -> (Urls, Urls) {
        if self.preset.kind == Kind::Oidc {
            return (self.endpoints(own), self.endpoints(&self.preset.settings));
        }
        let raw = self.raw;
        let urls = self.endpoints(raw);
        if raw.authorize_url.is_none() {
            let hint = "where the browser is sent to sign in";
            self.problem("authorize_url", "`authorize_url` is missing", hint);
        }
        if raw.token_url.is_none() {
            let hint = "where codes are exchanged";
            self.problem("token_url", "`token_url` is missing", hint);
        }
        self.identity_endpoint(&urls);
        (urls, Urls::default())
    }

    fn identity_endpoint(&mut self, urls: &Urls) {
        let hint = "where the person's identity is read; or set `identity = \"token_response\"`";
        match self.raw.identity {
            Some(IdentitySource::Userinfo) if urls.userinfo.is_none() => {
                self.problem("userinfo_url", "`userinfo_url` is missing", hint);
            }
            Some(IdentitySource::Graphql)
                if urls.userinfo.is_none() || self.raw.userinfo_query.is_none() =>
            {
                self.problem(
                    "userinfo_query",
                    "`graphql` needs `userinfo_url` and `userinfo_query`",
                    hint,
                );
            }
            Some(IdentitySource::Introspect) if urls.introspection.is_none() => {
                self.problem("introspection_url", "`introspection_url` is missing", hint);
            }
            Some(IdentitySource::IdToken) => {
                self.problem("identity", "ID tokens need `provider = \"oidc\"`", hint);
            }
            _ => {}
        }
    }

    fn paths(&mut self) -> Option<Paths> {
        let raw = self.raw;
        let Some(subject) = raw.subject.as_deref().filter(|it| !it.is_empty()) else {
            let hint = "the member of the identity that never changes for a person, such as `id`";
            self.problem("subject", "`subject` is missing", hint);
            return None;
        };
        let oidc = self.preset.kind == Kind::Oidc;
        let standard = |word: &str| oidc.then(|| word.to_owned());
        Some(Paths {
            subject: subject.split('+').map(str::to_owned).collect(),
            email: raw.email.clone().or_else(|| standard("email")),
            email_verified: raw
                .email_verified
                .clone()
                .or_else(|| standard("email_verified")),
            username: raw
                .username
                .clone()
                .or_else(|| standard("preferred_username")),
            groups: raw.groups_claim.clone(),
            trust_email: raw.trust_email.unwrap_or_default(),
            may_verify_email: true,
        })
    }

    fn params(
        &mut self,
        key: &str,
        params: Option<BTreeMap<String, String>>,
    ) -> BTreeMap<String, String> {
        let params = params.unwrap_or_default();
        if let Some(ours) = params.keys().find(|name| OURS.contains(&name.as_str())) {
            let message = format!("`{ours}` cannot be set");
            self.problem(key, message, "this server sets it for each sign-in");
        }
        params
    }

    fn headers(&mut self, key: &str, headers: Option<&BTreeMap<String, String>>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers.into_iter().flatten() {
            let parsed = (
                HeaderName::try_from(name.as_str()),
                HeaderValue::from_str(value),
            );
            match parsed {
                (Ok(parsed), Ok(value)) if parsed != http::header::AUTHORIZATION => {
                    map.insert(parsed, value);
                }
                _ => self.problem(
                    key,
                    format!("`{name}` is not a header that can be set"),
                    "a name and a printable value",
                ),
            }
        }
        map
    }
}

fn sends_pkce(raw: &RawUpstream) -> bool {
    let known = matches!(raw.pkce, Some(Pkce::Required | Pkce::Supported) | None);
    raw.send_pkce.unwrap_or(known)
}

fn token_requests(raw: &RawUpstream, headers: HeaderMap) -> TokenRequests {
    let has_secret = raw
        .client_secret
        .as_ref()
        .is_some_and(|it| !it.expose().is_empty());
    TokenRequests {
        client_auth: if has_secret {
            raw.client_auth.unwrap_or_default()
        } else {
            ClientAuth::None
        },
        body: raw.token_body.unwrap_or_default(),
        headers,
        repeat_scope: raw.repeat_scope.unwrap_or_default(),
        repeat_redirect_uri: raw.repeat_redirect_uri.unwrap_or_default(),
        path: raw
            .token_path
            .clone()
            .unwrap_or_else(|| vec![String::new()]),
        refused_errors: raw.refused_errors.clone().unwrap_or_default(),
    }
}

/// Whether an issuer is one of Entra's tenants that everybody is in.
fn is_shared(issuer: &str) -> bool {
    let Ok(url) = Url::parse(issuer) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let entra = [
        "microsoftonline.com",
        "microsoftonline.us",
        "microsoftonline.cn",
        "windows.net",
    ]
    .iter()
    .any(|suffix| {
        host.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    let tenant = url
        .path_segments()
        .and_then(|mut it| it.next())
        .unwrap_or_default();
    entra && SHARED_TENANTS.contains(&tenant.to_ascii_lowercase().as_str())
}
