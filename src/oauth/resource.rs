//! The protected resources as the protocol sees them (RFC 8707, RFC 9728).

use url::Url;

use crate::oauth::error::Reason;
use crate::oauth::names::{ResourceUri, UpstreamName};
use crate::oauth::scope::{Scope, TOLERATED};

/// What tokens for a resource carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carries {
    /// E-mail, username and groups of the person.
    pub identity: bool,
    /// The upstream's access token.
    pub upstream_token: bool,
}

/// One protected resource.
#[derive(Clone, Debug)]
pub struct ResourceRule {
    /// Its identifier.
    pub uri: ResourceUri,
    /// Its public path; empty for the origin.
    pub path: String,
    /// What people call it.
    pub name: Option<String>,
    /// Where people sign in for it.
    pub upstream: UpstreamName,
    /// What can be asked for.
    pub scopes: Scope,
    /// Without which no request passes.
    pub required_scopes: Scope,
    /// What its tokens carry.
    pub carries: Carries,
}

impl ResourceRule {
    /// What is granted for what was asked.
    ///
    /// Unknown words are dropped (RFC 6749 §3.3 lets the server issue less); words that clients
    /// send by habit are no request at all; the baseline is always part of it, since a token
    /// without it opens nothing. The person sees the result on the consent page.
    pub fn grantable(&self, requested: &Scope) -> Scope {
        let asked = requested.intersection(&self.scopes);
        if asked.is_empty() {
            self.default_scope()
        } else {
            asked.union(&self.required_scopes)
        }
    }

    /// What a request without a known scope gets, and what challenges and metadata name.
    pub fn default_scope(&self) -> Scope {
        if self.required_scopes.is_empty() {
            self.scopes.clone()
        } else {
            self.required_scopes.clone()
        }
    }
}

/// All resources behind one issuer.
#[derive(Clone, Debug)]
pub struct Resources(Vec<ResourceRule>);

impl Resources {
    /// Takes the resources of the configuration.
    pub fn new(rules: Vec<ResourceRule>) -> Self {
        Self(rules)
    }

    /// Each resource.
    pub fn iter(&self) -> impl Iterator<Item = &ResourceRule> {
        self.0.iter()
    }

    /// The resource at a public path.
    pub fn at(&self, path: &str) -> Option<&ResourceRule> {
        self.0.iter().find(|rule| rule.path == path)
    }

    /// The resource that an authorization request means.
    ///
    /// # Errors
    ///
    /// [`Reason::UnknownResource`] when it is not ours, when several are asked for, or when none
    /// is named and there are several.
    pub fn requested(&self, requested: &[String]) -> Result<&ResourceRule, Reason> {
        match (requested, self.0.as_slice()) {
            // Clients of MCP 2025-03-26 do not send it: the only resource is meant.
            ([], [only]) => Ok(only),
            ([], _) => Err(Reason::UnknownResource),
            ([first, rest @ ..], _) => {
                let rule = self.named(first).ok_or(Reason::UnknownResource)?;
                // RFC 8707 §2 allows repetition; a token of ours is for exactly one.
                let same = |other: &String| self.named(other).is_some_and(|it| it.uri == rule.uri);
                if rest.iter().all(same) {
                    Ok(rule)
                } else {
                    Err(Reason::UnknownResource)
                }
            }
        }
    }

    /// Every scope of every resource, and the words that clients look for.
    pub fn all_scopes(&self) -> Scope {
        let tolerated = std::iter::once(TOLERATED[0].to_owned()).collect();
        self.0
            .iter()
            .fold(tolerated, |all: Scope, rule| all.union(&rule.scopes))
    }

    fn named(&self, uri: &str) -> Option<&ResourceRule> {
        // RFC 8707 §2: an absolute URI without a fragment.
        let url = Url::parse(uri)
            .ok()
            .filter(|url| url.fragment().is_none())?;
        // MCP: scheme and host may differ in case; SDKs add a slash to an origin.
        let canonical = url.as_str().trim_end_matches('/');
        self.0
            .iter()
            .find(|rule| rule.uri.as_str() == uri || rule.uri.as_str() == canonical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(paths: &[&str]) -> Resources {
        let rule = |path: &&str| ResourceRule {
            uri: ResourceUri::new(format!("https://mcp.example.com{path}")),
            path: (*path).to_owned(),
            name: None,
            upstream: UpstreamName::new("demo"),
            scopes: Scope::parse("mcp admin").unwrap(),
            required_scopes: Scope::parse("mcp").unwrap(),
            carries: Carries::default(),
        };
        Resources::new(paths.iter().map(rule).collect())
    }

    fn find(resources: &Resources, asked: &[&str]) -> Option<String> {
        let asked: Vec<String> = asked.iter().map(|&it| it.to_owned()).collect();
        resources
            .requested(&asked)
            .ok()
            .map(|rule| rule.path.clone())
    }

    // A10, P4
    #[test]
    fn resource_is_found_in_the_spellings_that_clients_use() {
        let one = resources(&["/mcp"]);
        for asked in [
            "https://mcp.example.com/mcp",
            "HTTPS://MCP.example.com/mcp",
            "https://mcp.example.com:443/mcp/",
        ] {
            assert_eq!(find(&one, &[asked]).as_deref(), Some("/mcp"), "{asked}");
        }
        for asked in [
            "https://mcp.example.com",
            "https://mcp.example.com/mcp#x",
            "mcp",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com/MCP",
            "https://mcp.example.com/mcp?x",
        ] {
            assert_eq!(find(&one, &[asked]), None, "{asked}");
        }
        let origin = resources(&[""]);
        assert_eq!(
            find(&origin, &["https://mcp.example.com/"]).as_deref(),
            Some("")
        );
        assert_eq!(
            find(&origin, &["https://mcp.example.com"]).as_deref(),
            Some("")
        );
    }

    #[test]
    fn missing_resource_is_the_only_one_or_refused() {
        assert_eq!(find(&resources(&["/a"]), &[]).as_deref(), Some("/a"));
        assert_eq!(find(&resources(&["/a", "/b"]), &[]), None);
    }

    #[test]
    fn two_resources_in_one_request_are_refused() {
        let two = resources(&["/a", "/b"]);
        assert_eq!(
            find(
                &two,
                &["https://mcp.example.com/a", "https://mcp.example.com/b"]
            ),
            None
        );
        assert_eq!(
            find(
                &two,
                &["https://mcp.example.com/a", "https://mcp.example.com/a/"]
            )
            .as_deref(),
            Some("/a")
        );
    }

    // A11, R15
    #[test]
    fn unknown_scopes_are_dropped_and_the_baseline_is_kept() {
        let one = resources(&["/mcp"]);
        let rule = one.at("/mcp").unwrap();
        let granted = |asked: &str| rule.grantable(&Scope::parse(asked).unwrap()).to_string();
        assert_eq!(granted(""), "mcp");
        assert_eq!(granted("openid profile offline_access junk"), "mcp");
        assert_eq!(granted("admin"), "admin mcp");
    }
}
