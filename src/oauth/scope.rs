//! Scopes: RFC 6749 §3.3, and the OpenID words that every client may ask for without being refused.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::read;

/// Words that clients ask for by habit (`offline_access` when the metadata lists it, the OpenID
/// ones from their SDKs). Asking is never an error; they grant nothing at a resource.
pub const TOLERATED: [&str; 4] = ["offline_access", "openid", "profile", "email"];

/// A set of scope tokens, kept sorted and written with single spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(BTreeSet<String>);

/// A scope string that breaks the grammar of RFC 6749 §3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope token may hold printable ASCII without space, quote and backslash only")]
pub struct InvalidScope;

impl Scope {
    /// Reads a space separated list. Empty is the empty set; repeated spaces are forgiven.
    ///
    /// # Errors
    ///
    /// [`InvalidScope`] when a token holds a character outside the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        text.split(' ')
            .filter(|token| !token.is_empty())
            .map(token)
            .collect()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds `token`.
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether everything in it is also in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
fn token(text: &str) -> Result<String, InvalidScope> {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(InvalidScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, token) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl FromIterator<String> for Scope {
    fn from_iter<I: IntoIterator<Item = String>>(tokens: I) -> Self {
        Self(tokens.into_iter().collect())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "a list of scopes", |text| {
            Self::parse(text).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_and_spacing_do_not_matter() {
        assert_eq!(
            Scope::parse("b  a b").unwrap(),
            Scope::parse("a b").unwrap()
        );
        assert_eq!(Scope::parse("b a").unwrap().to_string(), "a b");
        assert!(Scope::parse("").unwrap().is_empty());
    }

    #[test]
    fn characters_outside_the_grammar_are_refused() {
        for bad in ["a\"", "a\\", "ä", "a\tb", "a\u{7f}"] {
            assert_eq!(Scope::parse(bad), Err(InvalidScope), "{bad:?}");
        }
    }

    fn scopes() -> impl Strategy<Value = Scope> {
        proptest::collection::btree_set("[a-e]", 0..5).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        #[test]
        fn subset_is_a_partial_order(a in scopes(), b in scopes(), c in scopes()) {
            prop_assert!(a.is_subset(&a));
            prop_assert!(!(a.is_subset(&b) && b.is_subset(&a)) || a == b);
            prop_assert!(!(a.is_subset(&b) && b.is_subset(&c)) || a.is_subset(&c));
            prop_assert!(a.intersection(&b).is_subset(&a));
            prop_assert!(a.is_subset(&a.union(&b)));
        }

        #[test]
        fn printed_scope_reads_back(a in scopes()) {
            prop_assert_eq!(Scope::parse(&a.to_string()).unwrap(), a);
        }
    }
}
