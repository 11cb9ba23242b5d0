//! An upstream's settings: its preset with the operator's overrides, complete and checked.

use std::time::Duration;

use url::Url;

use super::http as net;
use super::{ExchangeAt, Profile};
use crate::oauth::names::{Secret, UpstreamFingerprint, UpstreamName};

/// One `[upstreams.NAME]` as written, but for its name and the secrets that are read from files.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawUpstream {
    /// A preset, `oidc` or `oauth2`.
    pub provider: Option<String>,
    /// OpenID issuer.
    pub issuer: Option<String>,
    /// Our id there.
    pub client_id: Option<String>,
    /// Our secret there.
    pub client_secret: Option<Secret>,
    /// What we ask for.
    pub scopes: Option<Vec<String>>,
    /// When codes are exchanged.
    pub exchange: ExchangeAt,
    /// Where browsers come back.
    pub callback_path: Option<String>,
    /// What a refresh does where the upstream can do nothing.
    pub reauth: Reauth,
    /// Believes addresses without `email_verified`.
    pub trust_email: bool,
    /// Passes revocations on although they end more than one token.
    pub revoke_upstream: bool,
    /// Claim or member that lists groups.
    pub groups_claim: Option<String>,
    /// Endpoint.
    pub authorize_url: Option<String>,
    /// Endpoint.
    pub token_url: Option<String>,
    /// Endpoint.
    pub userinfo_url: Option<String>,
    /// Endpoint with the list of addresses, GitHub's shape.
    pub email_url: Option<String>,
    /// Endpoint.
    pub revocation_url: Option<String>,
    /// Member of the user information that is the stable id.
    pub subject: Option<String>,
}

/// What a refresh does where the upstream has nothing to ask with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reauth {
    /// Ends the grant with the access token.
    #[default]
    Refresh,
    /// Goes on without asking.
    Never,
}

/// How we authenticate at the upstream's token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the form.
    Post,
    /// In the header.
    Basic,
    /// As the discovery document says; `basic` is OpenID's default.
    Discovered,
}

/// A problem with one key of `[upstreams.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub hint: &'static str,
}

/// Which protocol, and where.
#[derive(Clone, Debug)]
pub enum Kind {
    /// OpenID Connect, by discovery.
    Oidc {
        /// The issuer, exact.
        issuer: String,
    },
    /// OAuth 2 with user information.
    OAuth2(Endpoints),
}

/// The endpoints of a plain OAuth 2 provider.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Authorization.
    pub authorize: Url,
    /// Token.
    pub token: Url,
    /// User information.
    pub userinfo: Url,
    /// List of addresses, GitHub's shape.
    pub email: Option<Url>,
    /// RFC 7009.
    pub revocation: Option<Url>,
    /// Member that is the stable id.
    pub subject: String,
}

/// An upstream, complete and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the rest of the server must know.
    pub profile: Profile,
    /// Which protocol.
    pub kind: Kind,
    /// Our id there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<Secret>,
    /// How we authenticate.
    pub client_auth: ClientAuth,
    /// Extra parameters of the authorization request.
    pub authorize_params: Vec<(String, String)>,
    /// What a refresh does where there is nothing to ask with.
    pub reauth: Reauth,
    /// Believes addresses without `email_verified`.
    pub trust_email: bool,
    /// Passes revocations on in any case.
    pub revoke_upstream: bool,
    /// Claim or member that lists groups.
    pub groups_claim: Option<String>,
    /// More authorities, PEM.
    pub extra_ca: Option<Vec<u8>>,
}

impl RawUpstream {
    /// Completes and checks.
    ///
    /// # Errors
    ///
    /// Every problem at once.
    pub fn resolve(self, name: &str) -> Result<Settings, Vec<Problem>> {
        let raw = self.with_preset();
        let mut problems = Vec::new();
        let kind = match raw.provider.as_deref() {
            Some("oidc") => raw.oidc(&mut problems),
            Some("oauth2") => raw.oauth2(&mut problems),
            Some(other) => {
                let message = format!("there is no preset `{other}`");
                problems.push(Problem {
                    key: "provider",
                    message,
                    hint: "`github`, `oidc` or `oauth2`",
                });
                None
            }
            None => {
                let hint = "`github`, `oidc` or `oauth2`";
                problems.push(Problem {
                    key: "provider",
                    message: "is missing".into(),
                    hint,
                });
                None
            }
        };
        let client_id = raw.client_id.clone().filter(|id| !id.is_empty());
        if client_id.is_none() {
            let hint = "the provider tells it when the app is registered there";
            problems.push(Problem {
                key: "client_id",
                message: "is missing".into(),
                hint,
            });
        }
        match (kind, client_id) {
            (Some(kind), Some(client_id)) if problems.is_empty() => {
                Ok(raw.settings(name, kind, client_id))
            }
            _ => Err(problems),
        }
    }

    /// A preset is data: values for keys that the operator left out.
    fn with_preset(mut self) -> Self {
        if self.provider.as_deref() == Some("github") {
            let text = |text: &str| Some(text.to_owned());
            self.provider = text("oauth2");
            self.authorize_url = self
                .authorize_url
                .or(text("https://github.com/login/oauth/authorize"));
            self.token_url = self
                .token_url
                .or(text("https://github.com/login/oauth/access_token"));
            self.userinfo_url = self.userinfo_url.or(text("https://api.github.com/user"));
            self.email_url = self
                .email_url
                .or(text("https://api.github.com/user/emails"));
            self.subject = self.subject.or(text("id"));
            let scopes = ["read:user", "user:email"].map(str::to_owned).into();
            self.scopes = self.scopes.or(Some(scopes));
        }
        self
    }

    fn oidc(&self, problems: &mut Vec<Problem>) -> Option<Kind> {
        let issuer = self.issuer.clone().unwrap_or_default();
        url("issuer", Some(&issuer), problems)?;
        Some(Kind::Oidc { issuer })
    }

    fn oauth2(&self, problems: &mut Vec<Problem>) -> Option<Kind> {
        let authorize = url("authorize_url", self.authorize_url.as_deref(), problems);
        let token = url("token_url", self.token_url.as_deref(), problems);
        let userinfo = url("userinfo_url", self.userinfo_url.as_deref(), problems);
        let mut optional = |key, text: &Option<String>| {
            text.as_deref()
                .and_then(|text| url(key, Some(text), problems))
        };
        let email = optional("email_url", &self.email_url);
        let revocation = optional("revocation_url", &self.revocation_url);
        let subject = self.subject.clone().unwrap_or_else(|| "sub".to_owned());
        Some(Kind::OAuth2(Endpoints {
            authorize: authorize?,
            token: token?,
            userinfo: userinfo?,
            email,
            revocation,
            subject,
        }))
    }

    fn settings(self, name: &str, kind: Kind, client_id: String) -> Settings {
        let (authority, issuer, revokes) = match &kind {
            Kind::Oidc { issuer } => (issuer.clone(), Some(issuer.clone()), true),
            Kind::OAuth2(it) => (it.token.to_string(), None, it.revocation.is_some()),
        };
        let default = if issuer.is_some() {
            vec!["openid", "profile", "email"]
        } else {
            Vec::new()
        };
        let profile = Profile {
            name: UpstreamName::new(name),
            display_name: display(&authority),
            fingerprint: UpstreamFingerprint::of_upstream(&authority, &client_id),
            exchange: self.exchange,
            code_ttl: Duration::from_secs(60),
            callback_path: self
                .callback_path
                .unwrap_or_else(|| format!("/callback/{name}")),
            scopes: self
                .scopes
                .unwrap_or_else(|| default.into_iter().map(str::to_owned).collect()),
            issuer: issuer.clone(),
            revokes_one_token: revokes,
        };
        Settings {
            profile,
            kind,
            client_id,
            client_secret: self.client_secret,
            client_auth: if issuer.is_some() {
                ClientAuth::Discovered
            } else {
                ClientAuth::Post
            },
            authorize_params: Vec::new(),
            reauth: self.reauth,
            trust_email: self.trust_email,
            revoke_upstream: self.revoke_upstream,
            groups_claim: self.groups_claim,
            extra_ca: None,
        }
    }
}

fn url(key: &'static str, text: Option<&str>, problems: &mut Vec<Problem>) -> Option<Url> {
    let parsed = text
        .and_then(|text| Url::parse(text).ok())
        .filter(net::is_acceptable);
    if parsed.is_none() {
        let message = "is missing, or not an https URL (http is for this computer only)".into();
        problems.push(Problem {
            key,
            message,
            hint: "such as `https://login.example.com/…`",
        });
    }
    parsed
}

/// What people call a provider that has no name of its own: its host.
fn display(authority: &str) -> String {
    let host = Url::parse(authority)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    match host.as_deref() {
        Some("github.com") => "GitHub".to_owned(),
        Some(host) => host.to_owned(),
        None => authority.to_owned(),
    }
}
