//! The three tools of the demo.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::Event;
use futures_util::{Stream, StreamExt as _, stream};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::message::{Failure, Message};

/// What a model is told about the server.
pub(super) const INSTRUCTIONS: &str =
    "Tools to try out a sign-in: `whoami` tells who is signed in.";

/// Most that `count` counts to.
const MOST: u64 = 20;
/// Time between two numbers, unless the caller asks for another.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time between two numbers.
const LONGEST: Duration = Duration::from_secs(2);

/// A tool was called.
#[derive(Debug)]
pub(super) enum Called {
    /// It is done already.
    Done(Value),
    /// It takes a while and can tell how far it is.
    Streams(Counting),
}

/// `tools/list`.
pub(super) fn list() -> Value {
    json!([
        {
            "name": "whoami",
            "title": "Who am I?",
            "description": "Tells who is signed in, as this server was told by the gateway.",
            "inputSchema": { "type": "object", "properties": {} },
            "annotations": { "readOnlyHint": true, "openWorldHint": false },
        },
        {
            "name": "echo",
            "title": "Echo",
            "description": "Says the same again.",
            "inputSchema": {
                "type": "object",
                "properties": { "text": { "type": "string", "description": "What to say" } },
                "required": ["text"],
            },
            "annotations": { "readOnlyHint": true, "openWorldHint": false },
        },
        {
            "name": "count",
            "title": "Count slowly",
            "description": "Counts up, a number at a time, and reports progress on the way.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "to": {
                        "type": "integer", "minimum": 1, "maximum": MOST, "default": 5,
                        "description": "Where to stop",
                    },
                    "pause_ms": {
                        "type": "integer", "minimum": 0, "maximum": millis(LONGEST),
                        "default": millis(PAUSE),
                        "description": "Milliseconds between two numbers",
                    },
                },
            },
            "annotations": { "readOnlyHint": true, "openWorldHint": false },
        },
    ])
}

/// `tools/call`.
pub(super) fn call(message: &Message<'_>, headers: &HeaderMap) -> Result<Called, Failure> {
    let argument = |name: &str| message.param("arguments").and_then(|it| it.get(name));
    match message.param("name").and_then(Value::as_str) {
        Some("whoami") => Ok(Called::Done(whoami(headers))),
        Some("echo") => match argument("text").and_then(Value::as_str) {
            Some(text) => Ok(Called::Done(text_result(text))),
            None => Err(message.invalid("`text` is missing")),
        },
        Some("count") => {
            let number = |name: &str, default: u64| match argument(name) {
                None => Ok(default),
                Some(value) => value
                    .as_u64()
                    .ok_or_else(|| message.invalid(&format!("`{name}` is not a number"))),
            };
            let to = number("to", 5)?.clamp(1, MOST);
            let pause = Duration::from_millis(number("pause_ms", millis(PAUSE))?).min(LONGEST);
            Ok(Called::Streams(Counting { to, pause }))
        }
        _ => Err(message.invalid("no such tool")),
    }
}

fn text_result(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

/// The identity that the gateway vouches for.
fn whoami(headers: &HeaderMap) -> Value {
    let told = [
        ("subject", "x-forwarded-user"),
        ("email", "x-forwarded-email"),
        ("username", "x-forwarded-preferred-username"),
        ("groups", "x-forwarded-groups"),
    ];
    let mut lines = Vec::new();
    let mut identity = Map::new();
    for (word, header) in told {
        if let Some(value) = headers.get(header).and_then(|it| it.to_str().ok()) {
            let value = percent_decode_str(value).decode_utf8_lossy();
            lines.push(format!("{word}: {value}"));
            identity.insert(word.to_owned(), value.into());
        }
    }
    let mut result = text_result(&if lines.is_empty() {
        "nobody is signed in".to_owned()
    } else {
        lines.join("\n")
    });
    if let Some(members) = result.as_object_mut() {
        members.insert("structuredContent".into(), identity.into());
    }
    result
}

/// `count`, about to begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting {
    to: u64,
    pause: Duration,
}

/// A number, or the result after the last one.
#[derive(Debug)]
pub(super) struct Step {
    number: u64,
    to: u64,
    pub(super) result: Option<Value>,
}

impl Counting {
    /// One number at a time, then the result.
    pub(super) fn steps(self) -> impl Stream<Item = Step> + Send + 'static {
        let Self { to, pause } = self;
        stream::iter(1..=to + 1).then(move |number| async move {
            if number > 1 {
                tokio::time::sleep(pause).await;
            }
            let result = (number > to).then(|| {
                let numbers: Vec<_> = (1..=to).map(|it| it.to_string()).collect();
                text_result(&numbers.join(" "))
            });
            Step { number, to, result }
        })
    }

    /// The result alone.
    pub(super) async fn wait(self) -> Value {
        let last = self.steps().filter_map(|step| async { step.result });
        std::pin::pin!(last).next().await.unwrap_or(Value::Null)
    }
}

impl Step {
    /// A progress notification, or a sign of life for a client that did not ask for progress.
    pub(super) fn event(&self, token: Option<&Value>) -> Event {
        let Some(token) = token else {
            return Event::default().comment(self.number.to_string());
        };
        let notification = json!({
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {
                "progressToken": token,
                "progress": self.number,
                "total": self.to,
                "message": format!("{} of {}", self.number, self.to),
            },
        });
        Event::default().data(notification.to_string())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
