//! Who may sign in: the rules of `[access]`.

use crate::oauth::names::Subject;
use crate::oauth::records::Identity;

/// `[access]`: any one rule suffices.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {}

impl AccessRules {
    /// Whether the person may sign in.
    pub fn allows(&self, _subject: &Subject, _identity: &Identity) -> bool {
        todo!()
    }
}
