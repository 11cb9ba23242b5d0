//! Who may sign in: the rules of `[access]`.
//!
//! Any one rule suffices; without a rule nobody gets in. Everything is compared as ASCII in lower
//! case. Refuses what two systems might read differently: an address with two `@` or with
//! characters outside printable ASCII, a domain with a dot at its end or an empty label.

use std::collections::BTreeSet;

use url::Host;

use crate::oauth::names::{Subject, UpstreamName};
use crate::oauth::records::Identity;

/// `[access]`: any one rule suffices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    everybody: bool,
    emails: BTreeSet<EmailRule>,
    subjects: BTreeSet<Subject>,
    groups: BTreeSet<String>,
}

/// One entry of `allow_emails`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EmailRule {
    /// None is everybody at the domain.
    local: Option<String>,
    domain: String,
}

/// Why a rule cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Not `name@domain` and not `*@domain`.
    #[error("not an address: write `name@example.com`, or `*@example.com` for a whole domain")]
    NotAnAddress,
    /// A `*` that is not the whole of the part before the `@`.
    #[error("`*` stands for the whole part before the `@` only")]
    Wildcard,
    /// A domain outside ASCII.
    #[error("the domain must be written in ASCII: `{0}`")]
    DomainNotAscii(String),
    /// A domain that is none.
    #[error("`{0}` is not a domain")]
    NotADomain(String),
    /// Not `upstream:id`.
    #[error("not a subject: write the upstream's name, a colon and the stable id, `github:583231`")]
    NotASubject,
    /// An empty name of a group.
    #[error("a group needs a name")]
    EmptyGroup,
    /// Groups travel in a header, separated by commas.
    #[error("a group's name cannot hold a comma")]
    GroupWithComma,
}

impl AccessRules {
    /// Rules that let everybody in who can sign in.
    pub fn everybody() -> Self {
        Self {
            everybody: true,
            ..Self::default()
        }
    }

    /// Adds `name@domain`, or `*@domain`.
    ///
    /// # Errors
    ///
    /// Says why it cannot be meant.
    pub fn allow_email(&mut self, rule: &str) -> Result<(), RuleError> {
        let (local, domain) = rule.split_once('@').ok_or(RuleError::NotAnAddress)?;
        if !domain.is_ascii() {
            let ascii =
                Host::parse(domain).map_or_else(|_| "…".to_owned(), |host| host.to_string());
            return Err(RuleError::DomainNotAscii(ascii));
        }
        if local != "*" && local.contains('*') || domain.contains('*') {
            return Err(RuleError::Wildcard);
        }
        if !is_domain(domain) {
            return Err(RuleError::NotADomain(domain.to_owned()));
        }
        if !is_local_part(local) {
            return Err(RuleError::NotAnAddress);
        }
        self.emails.insert(EmailRule {
            local: (local != "*").then(|| local.to_ascii_lowercase()),
            domain: domain.to_ascii_lowercase(),
        });
        Ok(())
    }

    /// Adds `upstream:id`.
    ///
    /// # Errors
    ///
    /// When one of both parts is missing.
    pub fn allow_subject(&mut self, rule: &str) -> Result<(), RuleError> {
        match rule.split_once(':') {
            Some((upstream, id)) if !upstream.is_empty() && !id.is_empty() => {
                let subject = Subject::of(&UpstreamName::new(upstream), id);
                self.subjects.insert(subject);
                Ok(())
            }
            _ => Err(RuleError::NotASubject),
        }
    }

    /// Adds a group.
    ///
    /// # Errors
    ///
    /// When it is empty or holds a comma.
    pub fn allow_group(&mut self, rule: &str) -> Result<(), RuleError> {
        match rule {
            "" => Err(RuleError::EmptyGroup),
            _ if rule.contains(',') => Err(RuleError::GroupWithComma),
            _ => {
                self.groups.insert(rule.to_owned());
                Ok(())
            }
        }
    }

    /// Whether there is no rule at all, so that nobody gets in.
    pub fn is_empty(&self) -> bool {
        !self.everybody
            && self.emails.is_empty()
            && self.subjects.is_empty()
            && self.groups.is_empty()
    }

    /// Whether everybody gets in.
    pub const fn is_everybody(&self) -> bool {
        self.everybody
    }

    /// The groups that a rule asks for.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// Whether the person may sign in.
    pub fn allows(&self, subject: &Subject, identity: &Identity) -> bool {
        self.everybody
            || self.subjects.contains(subject)
            || identity
                .email
                .as_deref()
                .is_some_and(|email| self.allows_email(email))
            || identity
                .groups
                .iter()
                .any(|group| self.groups.contains(group))
    }

    fn allows_email(&self, email: &str) -> bool {
        let Some((local, domain)) = email.split_once('@') else {
            return false;
        };
        // A second `@` is no part of a domain; nor is a dot at its end.
        if !is_local_part(local) || !is_domain(domain) {
            return false;
        }
        let domain = domain.to_ascii_lowercase();
        let whole_domain = EmailRule {
            local: None,
            domain,
        };
        if self.emails.contains(&whole_domain) {
            return true;
        }
        let exact = EmailRule {
            local: Some(local.to_ascii_lowercase()),
            ..whole_domain
        };
        self.emails.contains(&exact)
    }
}

/// Printable ASCII, something, and no `@`: looks alike are no concern where only ASCII matches.
fn is_local_part(local: &str) -> bool {
    !local.is_empty()
        && local
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'@')
}

// RFC 1123 §2.1: labels of letters, digits and inner hyphens.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    domain.len() <= 253 && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(emails: &[&str]) -> AccessRules {
        let mut rules = AccessRules::default();
        for email in emails {
            rules.allow_email(email).unwrap();
        }
        rules
    }

    fn allows_email(rules: &AccessRules, email: &str) -> bool {
        let identity = Identity {
            email: Some(email.to_owned()),
            ..Identity::default()
        };
        rules.allows(&Subject::new("github:1"), &identity)
    }

    #[test]
    fn only_what_is_certainly_the_address_matches() {
        let rules = rules(&["alice@example.com", "*@corp.example", "*@xn--mnchen-3ya.de"]);
        for good in [
            "alice@example.com",
            "Alice@EXAMPLE.com",
            "bob@corp.example",
            "BOB+x@Corp.Example",
            "a@xn--mnchen-3ya.de",
        ] {
            assert!(allows_email(&rules, good), "{good}");
        }
        for bad in [
            "",
            "@",
            "alice",
            "bob@example.com",
            "@corp.example",
            "a@b@corp.example",
            "a@corp.example@evil.example",
            "\"a@evil.example\"@corp.example",
            "a@corp.example.evil",
            "a@evilcorp.example",
            "a@sub.corp.example",
            "a@corp.example.",
            "a@.corp.example",
            "a@corp..example",
            "alice@example.com ",
            " alice@example.com",
            "alice@example.com\n",
            "alice@example.com\0",
            "a b@corp.example",
            "*@evil.example",
            // Cyrillic letters that look like ours, and letters that fold to ours.
            "\u{430}lice@example.com",
            "a@c\u{43e}rp.example",
            "ali\u{441}e@corp.example",
            "\u{212a}@corp.example",
            "a@münchen.de",
            "a＠corp.example",
        ] {
            assert!(!allows_email(&rules, bad), "{bad:?}");
        }
    }

    #[test]
    fn any_one_rule_suffices_and_none_admits_nobody() {
        let mut rules = AccessRules::default();
        let subject = Subject::new("github:583231");
        let nobody = Identity::default();
        assert!(rules.is_empty());
        assert!(!rules.allows(&subject, &nobody));

        rules.allow_group("admins").unwrap();
        assert!(!rules.is_empty());
        assert!(!rules.allows(&subject, &nobody));
        let member = Identity {
            groups: vec!["users".to_owned(), "admins".to_owned()],
            ..Identity::default()
        };
        assert!(rules.allows(&subject, &member));

        rules.allow_subject("github:583231").unwrap();
        assert!(rules.allows(&subject, &nobody));
        assert!(!rules.allows(&Subject::new("google:583231"), &nobody));
        assert!(!rules.allows(&Subject::new("github:5832310"), &nobody));
        assert!(AccessRules::everybody().allows(&Subject::new("x:y"), &nobody));
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        let refused = |rule: &str| AccessRules::default().allow_email(rule).unwrap_err();
        assert_eq!(refused("example.com"), RuleError::NotAnAddress);
        assert_eq!(refused("@example.com"), RuleError::NotAnAddress);
        assert_eq!(refused("*a@example.com"), RuleError::Wildcard);
        assert_eq!(refused("*@*.example.com"), RuleError::Wildcard);
        assert_eq!(
            refused("a@b@c.d"),
            RuleError::NotADomain("b@c.d".to_owned())
        );
        assert_eq!(refused("a@c.d."), RuleError::NotADomain("c.d.".to_owned()));
        assert_eq!(
            refused("*@münchen.de"),
            RuleError::DomainNotAscii("xn--mnchen-3ya.de".to_owned())
        );
        let mut rules = AccessRules::default();
        for bad in ["583231", ":1", "github:"] {
            assert_eq!(rules.allow_subject(bad), Err(RuleError::NotASubject));
        }
        assert_eq!(rules.allow_group(""), Err(RuleError::EmptyGroup));
        assert_eq!(rules.allow_group("a,b"), Err(RuleError::GroupWithComma));
        assert!(rules.is_empty());
    }
}
