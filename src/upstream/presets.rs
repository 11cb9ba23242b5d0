//! The presets: `providers.toml`, read once.
//!
//! To add a provider, add a table there. Code that asks for a provider's name is a mistake.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use url::Url;

use super::raw::RawUpstream;

const DATA: &str = include_str!("providers.toml");

static PRESETS: LazyLock<BTreeMap<String, Preset>> =
    LazyLock::new(|| toml::from_str(DATA).unwrap_or_default());

/// Which protocol a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// OpenID Connect, with discovery.
    Oidc,
    /// OAuth 2.0, and an identity endpoint of its own.
    OAuth2,
}

/// Whether a provider wants a client secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// It does.
    Required,
    /// It also takes public clients.
    Optional,
}

/// Whether a provider accepts a plain-http callback on this computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loopback {
    /// It does.
    Yes,
    /// By address, not by the name `localhost`.
    IpOnly,
    /// It does not.
    No,
    /// Nobody knows.
    Unknown,
}

/// Whether a refresh gives another refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRotation {
    /// Each time.
    Always,
    /// Never.
    Never,
    /// Depending on the app.
    Optional,
    /// Nobody knows.
    Unknown,
}

/// A name in braces that the operator fills in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// What it is.
    pub about: String,
    /// Its default.
    pub default: Option<String>,
}

/// What is known about a provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What people call it.
    pub display: String,
    /// Its protocol.
    pub kind: Kind,
    /// Whether it stands for that protocol and for no provider.
    #[serde(default)]
    pub generic: bool,
    /// Whether the tests drive it, with answers of its shape.
    #[serde(default)]
    pub tested: bool,
    /// Where to register an app.
    pub register_at: Option<String>,
    /// Whether it wants a client secret.
    pub secret: Need,
    /// Whether it accepts a plain-http callback on this computer.
    pub http_loopback: Loopback,
    /// Life of its access tokens in seconds; 0 for no end, -1 for unknown.
    pub at_ttl_s: i64,
    /// Life of its refresh tokens likewise.
    pub rt_ttl_s: i64,
    /// Whether a refresh gives another refresh token.
    pub rotation: TokenRotation,
    /// Whether using a refresh token ends the one before.
    pub old_rt_invalid: bool,
    /// For how many seconds not; -1 for configurable.
    pub rt_reuse_leeway_s: i64,
    /// Keys whose values nobody has checked.
    #[serde(default)]
    pub unverified: Vec<String>,
    /// What to know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Where it is known from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What the operator fills in.
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    /// The same keys as an `[upstreams.NAME]` table.
    pub settings: RawUpstream,
}

impl Preset {
    /// What people call a provider of this preset: where the preset is only a protocol, its host.
    pub fn called(&self, authority: &str) -> String {
        let host = || Some(Url::parse(authority).ok()?.host_str()?.to_owned());
        self.generic
            .then(host)
            .flatten()
            .unwrap_or_else(|| self.display.clone())
    }
}

impl Preset {
    /// Whether the value of a key was checked.
    pub fn is_verified(&self, key: &str) -> bool {
        !self.unverified.iter().any(|known| known == key)
    }
}

/// The preset of a name.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.get(name)
}

/// Every preset, by name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Preset)> {
    PRESETS.iter().map(|(name, preset)| (name.as_str(), preset))
}

/// The name that was meant, if one is close enough.
pub fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let distance = |known: &&str| strsim::osa_distance(&name, known);
    let (known, _) = all().min_by_key(|(known, _)| distance(known))?;
    (distance(&known) <= (name.chars().count() / 3).max(1)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_data_is_read_completely() {
        let presets: BTreeMap<String, Preset> = toml::from_str(DATA).unwrap();
        assert_eq!(presets.len(), 24);
        assert_eq!(all().count(), 24);
    }

    // C2
    #[test]
    fn provider_without_a_preset_is_called_by_its_host() {
        let called = |name| find(name).unwrap().called("https://id.example/realm");
        assert_eq!(
            (called("oidc"), called("oauth2")),
            ("id.example".into(), "id.example".into())
        );
        assert_eq!(called("github"), "GitHub");
    }

    #[test]
    fn unverified_marks_name_keys_that_exist() {
        let facts = [
            "register_at",
            "http_loopback",
            "at_ttl_s",
            "rt_ttl_s",
            "rotation",
            "old_rt_invalid",
            "rt_reuse_leeway_s",
        ];
        for (name, preset) in all() {
            for key in &preset.unverified {
                let known =
                    facts.contains(&key.as_str()) || RawUpstream::KEYS.contains(&key.as_str());
                assert!(known, "{name}: {key}");
            }
        }
    }

    #[test]
    fn close_names_are_offered() {
        assert_eq!(nearest("GitHup"), Some("github"));
        assert_eq!(nearest("gogle"), Some("google"));
        assert_eq!(nearest("myspace"), None);
    }
}
