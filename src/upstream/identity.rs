//! Who the person is, read from whatever JSON a provider tells it in.
//!
//! Paths are dotted (`owner.user.id`); a member whose name holds dots is found by its whole name.
//! Refuses ids that are not text or whole numbers; drops e-mail addresses that are not verified or
//! not one address.

use serde_json::Value;

use crate::oauth::records::Identity;

/// Longest id (OpenID Connect Core §2: `sub`), name or group.
const MAX_TEXT: usize = 255;
/// Most groups that are read; the rules are asked about each of them.
const MAX_GROUPS: usize = 2_000;

/// Where things are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) subject: Vec<String>,
    pub(super) email: Option<String>,
    pub(super) email_verified: Option<String>,
    pub(super) username: Option<String>,
    pub(super) groups: Option<String>,
    pub(super) trust_email: bool,
    /// Whether the provider's word about an e-mail address counts at all.
    pub(super) may_verify_email: bool,
}

/// Finds a value.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    path.split('.')
        .try_fold(value, |value, name| value.get(name))
}

impl Paths {
    /// The stable id, if every part of it is there.
    pub(super) fn subject(&self, value: &Value) -> Option<String> {
        let parts: Option<Vec<_>> = self
            .subject
            .iter()
            .map(|path| id(at(value, path)?))
            .collect();
        match parts?.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            // Escaped, so that no two lists of parts make one id.
            many => {
                let escape = |part: &String| part.replace('%', "%25").replace(':', "%3A");
                Some(many.iter().map(escape).collect::<Vec<_>>().join(":"))
            }
        }
    }

    /// What else is said.
    pub(super) fn identity(&self, value: &Value) -> Identity {
        let find = |path: &Option<String>| path.as_deref().and_then(|path| at(value, path));
        let verified = self.may_verify_email
            && (self.trust_email || find(&self.email_verified).is_some_and(is_true));
        Identity {
            email: find(&self.email)
                .filter(|_| verified)
                .and_then(Value::as_str)
                .and_then(address),
            preferred_username: find(&self.username).and_then(Value::as_str).and_then(text),
            groups: find(&self.groups).map(groups).unwrap_or_default(),
        }
    }

    /// Whether an identity lacks something that userinfo may know.
    pub(super) fn is_wanting(&self, identity: &Identity, scopes: &[String]) -> bool {
        let wants_email = self.may_verify_email && scopes.iter().any(|scope| scope == "email");
        (wants_email && identity.email.is_none())
            || (self.groups.is_some() && identity.groups.is_empty())
    }

    /// The primary address of a list of them, if it is verified: GitHub's shape.
    pub(super) fn primary_email(&self, list: &Value) -> Option<String> {
        let is =
            |entry: &Value, name: &str| entry.get(name).is_some_and(|it| *it == Value::Bool(true));
        list.as_array()?
            .iter()
            .find(|entry| is(entry, "primary") && is(entry, "verified"))
            .filter(|_| self.may_verify_email)?
            .get("email")?
            .as_str()
            .and_then(address)
    }
}

/// What one source says, completed by another.
pub(super) fn merged(first: Identity, second: Identity) -> Identity {
    Identity {
        email: first.email.or(second.email),
        preferred_username: first.preferred_username.or(second.preferred_username),
        groups: if first.groups.is_empty() {
            second.groups
        } else {
            first.groups
        },
    }
}

/// Text, or a whole number: a float may have lost digits.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(value) => text(value),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

fn text(value: &str) -> Option<String> {
    let fits = !value.is_empty() && value.len() <= MAX_TEXT && !value.chars().any(char::is_control);
    fits.then(|| value.to_owned())
}

/// `true`, or the word: some providers write it as text.
fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || value.as_str() == Some("true")
}

/// One address: rules compare what follows the `@`.
fn address(value: &str) -> Option<String> {
    let (local, domain) = value.split_once('@')?;
    let fits = !local.is_empty()
        && !domain.is_empty()
        && !domain.contains('@')
        && value
            .chars()
            .all(|it| !it.is_whitespace() && !it.is_control())
        && !value.contains([',', ';', '<', '>', '"']);
    text(value).filter(|_| fits)
}

fn groups(value: &Value) -> Vec<String> {
    let one = value.as_str().into_iter();
    let many = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    one.chain(many).filter_map(text).take(MAX_GROUPS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths() -> Paths {
        let path = |it: &str| Some(it.to_owned());
        Paths {
            subject: vec!["id".to_owned()],
            email: path("email"),
            email_verified: path("email_verified"),
            username: path("login"),
            groups: path("groups"),
            trust_email: false,
            may_verify_email: true,
        }
    }

    #[test]
    fn ids_are_text_or_whole_numbers() {
        let subject = |value: Value| paths().subject(&json!({ "id": value }));
        assert_eq!(subject(json!(583_231)), Some("583231".into()));
        assert_eq!(
            subject(json!("80351110224678912")),
            Some("80351110224678912".into())
        );
        for bad in [
            json!(1.5),
            json!(null),
            json!(""),
            json!([1]),
            json!(true),
            json!("a\nb"),
        ] {
            assert_eq!(subject(bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn ids_of_several_parts_cannot_be_forged_by_moving_the_border() {
        let mut paths = paths();
        paths.subject = vec!["a".into(), "b".into()];
        let of = |a: &str, b: &str| paths.subject(&json!({"a": a, "b": b})).unwrap();
        assert_eq!(of("t", "u"), "t:u");
        assert_ne!(of("t:u", "v"), of("t", "u:v"));
        assert_eq!(paths.subject(&json!({"a": "t"})), None);
    }

    #[test]
    fn names_with_dots_are_found_whole() {
        let claims = json!({"https://slack.com/team_id": "T1", "owner": {"user": {"id": "U"}}});
        assert_eq!(at(&claims, "https://slack.com/team_id"), Some(&json!("T1")));
        assert_eq!(at(&claims, "owner.user.id"), Some(&json!("U")));
        assert_eq!(at(&claims, "owner.user.id.x"), None);
    }

    #[test]
    fn email_needs_a_verified_mark_and_one_address() {
        let email = |value: Value| paths().identity(&value).email;
        let verified = |address: &str| email(json!({"email": address, "email_verified": true}));
        assert_eq!(verified("a@b.example"), Some("a@b.example".into()));
        assert_eq!(
            email(json!({"email": "a@b.example", "email_verified": "true"})),
            Some("a@b.example".into())
        );
        for mark in [
            json!(false),
            json!("false"),
            json!(1),
            json!("yes"),
            json!(null),
            json!([true]),
        ] {
            assert_eq!(
                email(json!({"email": "a@b.example", "email_verified": mark})),
                None
            );
        }
        for bad in [
            "a",
            "@b",
            "a@",
            "a@b@c.example",
            "a b@c",
            "a@b,c@d",
            "<a@b>",
            "a@b\r\nx",
        ] {
            assert_eq!(verified(bad), None, "{bad:?}");
        }
        let mut shared = paths();
        (shared.trust_email, shared.may_verify_email) = (true, false);
        assert_eq!(
            shared
                .identity(&json!({"email": "a@b.example", "email_verified": true}))
                .email,
            None
        );
    }
}
