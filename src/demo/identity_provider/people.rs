//! The people of the demo.

/// Somebody who can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Person {
    Alice,
    Bob,
}

impl Person {
    pub(super) const ALL: [Self; 2] = [Self::Alice, Self::Bob];

    /// The person with this id.
    pub(super) fn named(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|person| person.id() == id)
    }

    /// `sub`, and the username.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }

    /// `name`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alice => "Alice",
            Self::Bob => "Bob",
        }
    }

    /// `email`.
    pub(super) const fn email(self) -> &'static str {
        match self {
            Self::Alice => "alice@example.com",
            Self::Bob => "bob@example.com",
        }
    }
}
