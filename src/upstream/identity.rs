//! What an upstream says about a person, as our own words.

use serde_json::{Map, Value};

use super::settings::Settings;
use crate::oauth::records::Identity;

/// Reads claims or user information. An address counts only when it is verified.
pub(super) fn read(members: &Map<String, Value>, settings: &Settings) -> Identity {
    let text = |name: &str| {
        members
            .get(name)
            .and_then(Value::as_str)
            .filter(|it| !it.is_empty())
    };
    let verified = match members.get("email_verified") {
        Some(Value::Bool(verified)) => *verified,
        // Some providers write it as text.
        Some(Value::String(verified)) => verified == "true",
        _ => false,
    };
    let username = text("preferred_username")
        .or_else(|| text("login"))
        .or_else(|| text("nickname"));
    Identity {
        email: text("email")
            .filter(|_| verified || settings.trust_email)
            .map(str::to_owned),
        preferred_username: username.map(str::to_owned),
        groups: groups(members, settings),
    }
}

fn groups(members: &Map<String, Value>, settings: &Settings) -> Vec<String> {
    let claimed = settings
        .groups_claim
        .as_ref()
        .and_then(|claim| members.get(claim));
    match claimed {
        Some(Value::Array(groups)) => groups
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::String(group)) => vec![group.clone()],
        _ => Vec::new(),
    }
}
