//! Which resource a path belongs to.
//!
//! Refuses every path that two programs could read differently: dot segments, `//`, backslash, an
//! encoded slash, backslash or control character, a broken escape. What is left is compared by
//! segments after unreserved characters are decoded (RFC 3986 §6.2.2.2), so that an escape cannot
//! lead around a rule.

use std::borrow::Cow;

/// A path that is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OddPath;

/// The one spelling of a path.
pub(crate) fn canonical(path: &str) -> Result<Cow<'_, str>, OddPath> {
    let path = if path.contains('%') {
        Cow::Owned(decode_unreserved(path)?)
    } else {
        Cow::Borrowed(path)
    };
    if !path.starts_with('/') || path.contains("//") {
        return Err(OddPath);
    }
    if path
        .bytes()
        .any(|byte| byte == b'\\' || byte.is_ascii_control())
    {
        return Err(OddPath);
    }
    // Some servers cut parameters off a segment before they look for dots: `/..;x/`.
    let dots = |segment: &str| {
        let name = segment.split(';').next().unwrap_or_default();
        name == "." || name == ".."
    };
    if path.split('/').any(dots) {
        return Err(OddPath);
    }
    Ok(path)
}

fn decode_unreserved(path: &str) -> Result<String, OddPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut parts = path.split('%');
    decoded.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(OddPath)?;
        // `from_str_radix` would take a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(OddPath);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| OddPath)?;
        match byte {
            b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(OddPath),
            b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => decoded.push(char::from(byte)),
            _ => {
                decoded.push('%');
                decoded.push_str(digits);
            }
        }
        decoded.push_str(rest);
    }
    Ok(decoded)
}

/// What follows `prefix` in a canonical `path`, if `path` is `prefix` or below it.
pub(crate) fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    if prefix.is_empty() && path == "/" {
        return Some("");
    }
    let rest = path.strip_prefix(prefix)?;
    // `;` as well: servers that know segment parameters read `/mcp;x` as `/mcp`.
    (rest.is_empty() || rest.starts_with(['/', ';'])).then_some(rest)
}

/// A query without `access_token`: a token there is never read (RFC 6750 §2.3 is not offered), so
/// it must not reach the backend either.
pub(crate) fn without_token(query: &str) -> Cow<'_, str> {
    let is_token = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_encoding::percent_decode_str(name).eq(b"access_token".iter().copied())
    };
    if !query.split('&').any(|pair| is_token(&pair)) {
        return Cow::Borrowed(query);
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    Cow::Owned(kept.join("&"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "",
            "*",
            "mcp",
            "//mcp",
            "/mcp//x",
            "/mcp/..",
            "/mcp/../x",
            "/./mcp",
            "/mcp/.",
            "/mcp/%2e%2e/x",
            "/mcp/.%2E",
            "/mcp%2fx",
            "/mcp%2Fx",
            "/mcp%5cx",
            "/mcp\\x",
            "/mcp%00",
            "/mcp/%0d%0a",
            "/mcp/%7f",
            "/mcp/%",
            "/mcp/%2",
            "/mcp/%zz",
            "/mcp/%+1",
            "/mcp/..;/x",
            "/mcp/%2e%2e;x",
        ] {
            assert_eq!(canonical(path), Err(OddPath), "{path:?}");
        }
    }

    #[test]
    fn unreserved_escapes_are_decoded_and_others_kept() {
        for (path, expected) in [
            ("/mcp", "/mcp"),
            ("/%6dcp/%61dmin", "/mcp/admin"),
            ("/mcp/a%20b%252e%252e", "/mcp/a%20b%252e%252e"),
            ("/mcp/..x/.well-known", "/mcp/..x/.well-known"),
            ("/mcp/", "/mcp/"),
        ] {
            assert_eq!(canonical(path).as_deref(), Ok(expected));
        }
    }

    // G16
    #[test]
    fn prefix_ends_on_a_segment_border() {
        for (path, prefix, rest) in [
            ("/mcp", "/mcp", Some("")),
            ("/mcp/", "/mcp", Some("/")),
            ("/mcp/x", "/mcp", Some("/x")),
            ("/mcp;v=1", "/mcp", Some(";v=1")),
            ("/mcpx", "/mcp", None),
            ("/MCP", "/mcp", None),
            ("/", "", Some("")),
            ("/x", "", Some("/x")),
        ] {
            assert_eq!(below(path, prefix), rest, "{path} {prefix}");
        }
    }

    // S1
    #[test]
    fn token_in_the_query_is_not_passed_on() {
        assert_eq!(without_token("a=1&b=access_token"), "a=1&b=access_token");
        assert_eq!(without_token("a=1&access_token=x&b=2"), "a=1&b=2");
        assert_eq!(without_token("access%5Ftoken=x"), "");
    }

    proptest! {
        #[test]
        fn canonical_is_stable(path in "/[a-z%0-9./;]{0,24}") {
            if let Ok(once) = canonical(&path) {
                let twice = canonical(&once);
                prop_assert_eq!(twice.as_deref(), Ok(&*once));
            }
        }
    }
}
