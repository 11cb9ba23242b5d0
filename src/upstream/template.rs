//! `{names}` in a preset's URLs, filled in with what the operator says.
//!
//! A value that brings its own scheme (`http://localhost:8081`) replaces the `https://` before its
//! name. Refuses values that would change the shape of the URL.

/// Fills in a template.
///
/// # Errors
///
/// The first name that has no value, or the value that does not fit.
pub(super) fn fill<'a>(
    template: &str,
    value: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, Unfilled> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        text.push_str(before);
        let value = value(name).ok_or_else(|| Unfilled::Missing(name.to_owned()))?;
        let bare = value
            .strip_prefix("https://")
            .or_else(|| value.strip_prefix("http://"));
        if !fits(bare.unwrap_or(value)) {
            return Err(Unfilled::Unfit(name.to_owned()));
        }
        if bare.is_some() {
            let Some(0) = text.strip_suffix("https://").map(str::len) else {
                return Err(Unfilled::Unfit(name.to_owned()));
            };
            text.clear();
        }
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// Why a template was not filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// A name without a value.
    Missing(String),
    /// A value that cannot stand in a URL.
    Unfit(String),
}

fn fits(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:/[]~".contains(&byte);
    !value.is_empty() && value.bytes().all(plain) && !value.contains("//") && !value.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &'static str) -> Result<String, Unfilled> {
        fill(template, |name| (name == "host").then_some(value))
    }

    #[test]
    fn names_are_filled_in() {
        assert_eq!(
            filled("https://{host}/a/{host}", "x.example").unwrap(),
            "https://x.example/a/x.example"
        );
        assert_eq!(
            filled("https://{host}/a", "http://localhost:1").unwrap(),
            "http://localhost:1/a"
        );
        assert_eq!(
            filled("{realm}", "x"),
            Err(Unfilled::Missing("realm".into()))
        );
    }

    #[test]
    fn values_cannot_change_the_shape_of_a_url() {
        for value in [
            "", "a@b", "a?b", "a#b", "a b", "../x", "a//b", "a\\b", "https://", "ä",
        ] {
            assert_eq!(
                filled("https://{host}/x", value),
                Err(Unfilled::Unfit("host".into())),
                "{value}"
            );
        }
        assert!(filled("https://login.example/{host}", "http://evil.example").is_err());
    }
}
