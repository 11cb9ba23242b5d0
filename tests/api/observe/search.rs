//! Looks for secrets in a text, in every form in which a program might have written them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What is shorter would be found by chance.
const SHORTEST: usize = 8;

/// Everything that must not be told.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Adds one, with a word for what it is.
    pub(super) fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= SHORTEST, "{what} is too short to look for");
        let segments: Vec<_> = secret.split('.').collect();
        if let [_, rest @ ..] = segments.as_slice()
            && rest.len() >= 2
        {
            // The header of a token is no secret, and the same in every token.
            for part in rest.iter().filter(|it| it.len() >= 16) {
                self.0.push((format!("{what}, a part"), (*part).to_owned()));
            }
        }
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Which of them a text holds, and in which line.
    pub(super) fn found_in(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (what, secret) in &self.0 {
            for form in forms(secret) {
                if let Some(line) = text.lines().find(|line| line.contains(&form)) {
                    found.push(format!("{what} as `{form}` in: {line}"));
                }
            }
        }
        found
    }
}

/// A secret as it is, URL-encoded, form-encoded, and within base64 of either alphabet, whatever
/// stands before it.
fn forms(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        form,
    ];
    for shift in 0..3 {
        let shifted = [&[0; 3][..shift], secret.as_bytes()].concat();
        // Characters that the neighbours have a share in are left out.
        let skipped = [0, 2, 3][shift];
        let whole = shifted.len() / 3 * 4;
        for text in [
            STANDARD_NO_PAD.encode(&shifted),
            URL_SAFE_NO_PAD.encode(&shifted),
        ] {
            forms.push(text[skipped..whole].to_owned());
        }
    }
    forms
}

// The control: what is planted is found, in every form, wherever it stands.
#[test]
fn planted_secrets_are_found_in_every_form() {
    let mut secrets = Secrets::default();
    secrets.add("planted", "pa+ss/word~with=odd&signs");
    let planted = "pa+ss/word~with=odd&signs";
    let form: String = url::form_urlencoded::byte_serialize(planted.as_bytes()).collect();
    let mut texts = vec![
        planted.to_owned(),
        form,
        utf8_percent_encode(planted, NON_ALPHANUMERIC).to_string(),
    ];
    for before in ["", "u", "us", "user:", "{\"k\":\""] {
        for after in ["", "x", "\"}"] {
            let text = format!("{before}{planted}{after}");
            texts.push(STANDARD_NO_PAD.encode(&text));
            texts.push(URL_SAFE_NO_PAD.encode(&text));
        }
    }
    for text in texts {
        let line = format!("one line\n{{\"m\":\"{text}\"}}\nanother");
        assert!(!secrets.found_in(&line).is_empty(), "{text}");
    }
    assert!(secrets.found_in("pa+ss/word~with=other&signs").is_empty());
}

#[test]
fn part_of_a_token_is_found_but_not_its_header() {
    let mut secrets = Secrets::default();
    let (header, data) = ("eyJhbGciOiJBMjU2S1ci", "c29tZSBzZWNyZXQgZGF0YQ");
    secrets.add("token", &format!("{header}.{data}.{data}.{data}.{data}"));
    assert!(!secrets.found_in(data).is_empty());
    assert!(secrets.found_in(header).is_empty());
}
