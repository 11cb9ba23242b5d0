//! Reads the one form of a page: enough of HTML for pages without script (WHATWG HTML §13.2 is far
//! more). Refuses pages with no form or several.

use super::report::Mismatch;

/// A form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// Where it goes, relative to the page.
    pub(super) action: String,
    /// Its fields as they are when nobody touches them: a box that is not ticked is not among them.
    pub(super) fields: Vec<(String, String)>,
    /// Its submit buttons, name and value.
    pub(super) buttons: Vec<(String, String)>,
}

impl Form {
    /// The only form of a page, which must be sent by POST.
    pub(super) fn of(page: &str) -> Result<Self, Mismatch> {
        let mut forms = Vec::new();
        let mut is_inside = false;
        for tag in Tags(page) {
            match tag.name.as_str() {
                "form" => {
                    let is_post = tag.value("method").eq_ignore_ascii_case("post");
                    forms.push((
                        is_post,
                        Self {
                            action: tag.value("action"),
                            ..Self::default()
                        },
                    ));
                    is_inside = true;
                }
                "/form" => is_inside = false,
                "input" | "button" if is_inside => {
                    if let Some((_, form)) = forms.last_mut() {
                        form.add(&tag);
                    }
                }
                _ => {}
            }
        }
        match (forms.pop(), forms.len()) {
            (Some((true, form)), 0) => Ok(form),
            (Some((false, _)), 0) => Err(Mismatch::new("a form that is posted", "another method")),
            (None, _) => Err(Mismatch::new("a page with a form", "a page without")),
            (_, others) => Err(Mismatch::new("one form", format!("{} forms", others + 1))),
        }
    }

    /// The button of this name and value.
    pub(super) fn button<'a>(
        &self,
        name: &'a str,
        value: &'a str,
    ) -> Result<(&'a str, &'a str), Mismatch> {
        if self.buttons.iter().any(|(n, v)| n == name && v == value) {
            return Ok((name, value));
        }
        Err(Mismatch::new(format!("a button {name}={value}"), "none"))
    }

    fn add(&mut self, tag: &Tag) {
        let pair = (tag.value("name"), tag.value("value"));
        let kind = tag.value("type").to_ascii_lowercase();
        match (tag.name.as_str(), kind.as_str()) {
            ("button", "" | "submit") | ("input", "submit") => self.buttons.push(pair),
            ("input", "checkbox" | "radio") if !tag.has("checked") => {}
            ("input", "button" | "reset" | "image") | ("button", _) => {}
            _ if !pair.0.is_empty() => self.fields.push(pair),
            _ => {}
        }
    }
}

/// A tag: its name in lower case, with a slash if it closes, and its attributes.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn value(&self, name: &str) -> String {
        let mut all = self.attributes.iter();
        let found = all.find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(known, _)| known == name)
    }
}

/// The tags of a text, one after the other; comments and the contents of styles are left out.
struct Tags<'a>(&'a str);

impl Iterator for Tags<'_> {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        loop {
            let (_, rest) = self.0.split_once('<')?;
            if let Some(comment) = rest.strip_prefix("!--") {
                self.0 = comment.split_once("-->").map_or("", |(_, rest)| rest);
                continue;
            }
            let (name, rest) = split_at(rest, |c| c.is_whitespace() || c == '>');
            let name = name.to_ascii_lowercase();
            let (attributes, rest) = attributes(rest);
            self.0 = rest;
            if name == "style" || name == "script" {
                let end = format!("</{name}");
                self.0 = rest.find(&end).and_then(|at| rest.get(at..)).unwrap_or("");
            }
            return Some(Tag { name, attributes });
        }
    }
}

/// The attributes up to the end of the tag, and what follows.
fn attributes(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return (found, after);
        }
        if rest.is_empty() {
            return (found, rest);
        }
        let (name, after) = split_at(rest, |c| c.is_whitespace() || matches!(c, '=' | '>' | '/'));
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('=').map(str::trim_start) {
            Some(quoted) => value(quoted),
            None => ("", after),
        };
        rest = after;
        found.push((name.to_ascii_lowercase(), unescaped(value)));
    }
}

fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.split_once(quote).unwrap_or((rest, ""));
        }
    }
    split_at(text, |c| c.is_whitespace() || c == '>')
}

fn split_at(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    let at = text.find(end).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// Character references as template engines write them.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let found = after
            .split_once(';')
            .and_then(|(name, tail)| Some((reference(name)?, tail)));
        let (character, tail) = found.unwrap_or(('&', after));
        out.push(character);
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn form_is_read_as_a_browser_would_send_it() {
        let page = r#"<!doctype html><style>a>b{}<form></style><!-- <form> --><FORM
            Method=POST action="/go?a=1&amp;b=&#x27;2&#39;"><input type="hidden" name='x' value="<&quot;>"/>
            <input type=checkbox name=box value=on><input type=checkbox name=ticked value=on checked>
            <button name="decision" value="allow">A</button><button type=button name=no>B</button>
            </form><input name="outside">"#;
        let form = Form::of(page).unwrap();
        assert_eq!(form.action, "/go?a=1&b='2'");
        assert_eq!(form.fields, [pair("x", "<\">"), pair("ticked", "on")]);
        assert_eq!(form.buttons, [pair("decision", "allow")]);
    }

    #[test]
    fn pages_without_one_posted_form_are_refused() {
        for page in [
            "",
            "<p>none",
            "<form action=/a>",
            "<form method=post></form><form method=post></form>",
        ] {
            assert!(Form::of(page).is_err(), "{page}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[<>=/\"' a-c&;!-]{0,80}") {
            let _ = Form::of(&text);
            let _ = Form::of(&format!("<form method=post {text}"));
        }
    }
}
