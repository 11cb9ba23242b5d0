//! Request parameters: form encoding, read strictly (OAuth 2.1 §3.1, §3.2).
//!
//! Unknown parameters are ignored, empty ones are absent. Refuses repetition (but of `resource`, RFC
//! 8707 §2) and bytes that are not UTF-8.

use percent_encoding::percent_decode;
use zeroize::Zeroize as _;

use crate::oauth::error::Reason;

/// Every parameter that some endpoint of ours reads; the others are skipped.
const KNOWN: [&str; 28] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "nonce",
    "login_hint",
    "grant_type",
    "code",
    "code_verifier",
    "refresh_token",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "token",
    "token_type_hint",
    "consent",
    "decision",
    "account",
    "iss",
    "error",
    "error_description",
    "user",
    "session_state",
];

/// The parameters of one request.
#[derive(Default)]
pub struct Params {
    single: Vec<(&'static str, String)>,
    resource: Vec<String>,
}

impl Params {
    /// Reads a query string or a form body.
    ///
    /// # Errors
    ///
    /// [`Reason::NotAForm`] and [`Reason::Repeated`].
    pub fn parse(form: &[u8]) -> Result<Self, Reason> {
        let mut params = Self::default();
        for pair in form
            .split(|&byte| byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let known = KNOWN.into_iter().find(|known| *known == name);
            if known.is_none() && name != "resource" {
                continue;
            }
            let value = decode(halves.next().unwrap_or_default())?;
            // OAuth 2.1 §3.1: a parameter without a value counts as omitted.
            if value.is_empty() {
                continue;
            }
            match known {
                None => params.resource.push(value),
                Some(known) if params.get(known).is_some() => return Err(Reason::Repeated(known)),
                Some(known) => params.single.push((known, value)),
            }
        }
        Ok(params)
    }

    /// A parameter, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.single
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    ///
    /// [`Reason::Missing`].
    pub fn required(&self, name: &'static str) -> Result<&str, Reason> {
        self.get(name).ok_or(Reason::Missing(name))
    }

    /// Every value of `resource`; nothing for other names.
    pub fn all(&self, name: &str) -> &[String] {
        if name == "resource" {
            &self.resource
        } else {
            &[]
        }
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        self.single
            .iter_mut()
            .for_each(|(_, value)| value.zeroize());
    }
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values are secrets as often as not.
        f.debug_set()
            .entries(self.single.iter().map(|(name, _)| name))
            .finish()
    }
}

/// `application/x-www-form-urlencoded`: plus is a space, the rest is percent-encoded UTF-8.
fn decode(text: &[u8]) -> Result<String, Reason> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    percent_decode(&spaced)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| Reason::NotAForm)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A1, T1
    #[test]
    fn repeated_parameters_are_refused_and_unknown_ones_ignored() {
        let read = |form: &str| {
            Params::parse(form.as_bytes()).map(|it| it.get("state").map(str::to_owned))
        };
        assert_eq!(read("x=1&x=2&state=a"), Ok(Some("a".to_owned())));
        assert_eq!(read("state=a&state=a"), Err(Reason::Repeated("state")));
        assert_eq!(read("state=&state=a"), Ok(Some("a".to_owned())));
        assert_eq!(read("st%61te=a&state=b"), Err(Reason::Repeated("state")));
        assert_eq!(read(""), Ok(None));
    }

    // A8
    #[test]
    fn values_come_through_unchanged() {
        let params = Params::parse(b"state=a%20b+c%2Bd%3D%26%C3%BC~!'()").unwrap();
        assert_eq!(params.get("state"), Some("a b c+d=&\u{fc}~!'()"));
        assert_eq!(Params::parse(b"state=%ff").unwrap_err(), Reason::NotAForm);
    }

    #[test]
    fn resource_may_repeat() {
        let params = Params::parse(b"resource=a&resource=b&resource=").unwrap();
        assert_eq!(params.all("resource"), ["a", "b"]);
    }

    #[test]
    fn debug_shows_names_only() {
        let params = Params::parse(b"code=hunter2").unwrap();
        assert_eq!(format!("{params:?}"), r#"{"code"}"#);
    }
}
