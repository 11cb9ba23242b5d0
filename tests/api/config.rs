//! The configuration: what is read, what is refused, and what is said about it.

mod command;
mod layers;
mod problems;
mod watch;

use std::time::Duration;

use mcp_oauth::config::{self, AuthMode, Config, Cors, KeySource, Problems, StoreKind};

/// A file with every documented key.
const FULL: &str = include_str!("config/full.toml");

/// A file with what must be there.
const SMALL: &str = r#"
public_url = "https://mcp.example.com"
[upstreams.github]
provider = "github"
client_id = "Iv1.0123"
client_secret = "0123456789abcdef"
[[resources]]
path = "/mcp"
backend = "http://127.0.0.1:3000/mcp"
[access]
allow_emails = ["*@example.com"]
"#;

fn parse(text: &str) -> Result<Config, Problems> {
    config::parse(text, "mcp-oauth.toml")
}

/// The small file with one passage replaced.
fn small(passage: &str, by: &str) -> String {
    assert!(SMALL.contains(passage), "{passage}");
    SMALL.replace(passage, by)
}

/// What is said about a file that is refused.
fn problems(text: &str) -> String {
    match parse(text) {
        Ok(config) => panic!("was accepted: {config:?}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn every_documented_key_is_read() {
    let config = parse(FULL).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.public_url.issuer.as_str(), "https://mcp.example.com");
    assert_eq!(
        config.resources[0].uri.as_str(),
        "https://mcp.example.com/mcp"
    );
    assert_eq!(config.resources[0].max_body, 10_000_000);
    assert_eq!(config.tokens.refresh_max_ttl, Duration::from_hours(90 * 24));
    assert_eq!(config.cors, Cors::Any);
    assert_eq!(
        config.clients.policies[0].refresh_grace,
        Some(Duration::from_mins(10))
    );
    assert_eq!(
        config.revocation.not_before,
        config.revocation.registrations_before
    );
    assert!(matches!(config.replay.store, StoreKind::Redis { .. }));
    assert_eq!(config.warnings, []);
}

#[test]
fn secrets_hide_in_debug() {
    let config = parse(FULL).unwrap();
    assert!(!format!("{config:?}").contains("hunter"), "a secret shows");
}

#[test]
fn defaults_are_those_of_the_types() {
    let config = parse(SMALL).unwrap();
    let default = config::Tokens::default();
    assert_eq!(format!("{:?}", config.tokens), format!("{default:?}"));
    let default = config::Limits::default();
    assert_eq!(format!("{:?}", config.limits), format!("{default:?}"));
    let default = config::Shutdown::default();
    assert_eq!(format!("{:?}", config.shutdown), format!("{default:?}"));
    let resource = &config.resources[0];
    assert_eq!(resource.auth, AuthMode::Required);
    assert!(resource.forward.identity && !resource.forward.needs_upstream_token());
    assert_eq!(resource.scopes.to_string(), "mcp");
    assert_eq!(resource.upstream.as_str(), "github");
    assert_eq!(resource.connect_timeout, Duration::from_secs(2));
    assert!(matches!(config.replay.store, StoreKind::Memory));
    assert!(config.admin_listen.is_none());
    assert_eq!(config.cors, Cors::Any);
    assert!(config.clients.dcr && config.clients.cimd && !config.clients.cimd_allow_loopback);
}

#[test]
fn a_public_server_must_be_given_its_keys_and_its_rules() {
    let config = parse(SMALL).unwrap();
    assert!(matches!(
        config.keys,
        KeySource::Directory { create: false, .. }
    ));
    assert!(!config.resources[0].access.global.is_everybody());

    let text = small("https://mcp.example.com", "http://127.0.0.1:8080");
    let config = parse(&text.replace("allow_emails = [\"*@example.com\"]", "")).unwrap();
    assert!(matches!(
        config.keys,
        KeySource::Directory { create: true, .. }
    ));
    assert!(config.resources[0].access.global.is_everybody());
}

#[test]
fn cors_is_open_only_where_it_opens_nothing() {
    let optional = small("path = \"/mcp\"", "path = \"/mcp\"\nauth = \"optional\"");
    let own = |url: &str| Cors::Only {
        origins: vec![url.to_owned()],
        loopback: true,
    };
    assert_eq!(
        parse(&optional).unwrap().cors,
        own("https://mcp.example.com")
    );
    let loopback = small("https://mcp.example.com", "http://localhost:8080");
    assert_eq!(parse(&loopback).unwrap().cors, own("http://localhost:8080"));
}

#[test]
fn longer_paths_come_first() {
    let more = "[[resources]]\npath = \"/mcp/admin\"\nbackend = \"http://127.0.0.1:3001/\"\n\
                [[resources]]\npath = \"\"\nbackend = \"http://127.0.0.1:3002/\"\n[access]";
    let config = parse(&small("[access]", more)).unwrap();
    let paths: Vec<_> = config.resources.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/mcp/admin", "/mcp", ""]);
    assert_eq!(config.resources[2].uri.as_str(), "https://mcp.example.com");
}

#[test]
fn schema_knows_every_documented_key() {
    let schema = config::schema();
    let file: toml::Table = FULL.parse().unwrap();
    let mut unknown = Vec::new();
    check_against(&toml::Value::Table(file), &schema, "", &mut unknown);
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(
        schema["properties"]["tokens"]["properties"]["code_ttl"]["default"],
        "60s"
    );
    assert_eq!(
        schema["properties"]["clients"]["properties"]["dcr"]["default"],
        true
    );
    assert_eq!(schema["additionalProperties"], false);
}

/// Walks a value along its schema and notes what the schema does not allow.
fn check_against(
    value: &toml::Value,
    schema: &serde_json::Value,
    path: &str,
    unknown: &mut Vec<String>,
) {
    let expected = match value {
        toml::Value::String(_) | toml::Value::Datetime(_) => "string",
        toml::Value::Integer(_) => "integer",
        toml::Value::Boolean(_) => "boolean",
        toml::Value::Array(_) => "array",
        toml::Value::Table(_) => "object",
        toml::Value::Float(_) => "number",
    };
    if schema["type"] != expected {
        unknown.push(format!("{path} is {expected}, not {}", schema["type"]));
    }
    match value {
        toml::Value::Array(items) => {
            for item in items {
                check_against(item, &schema["items"], &format!("{path}[]"), unknown);
            }
        }
        toml::Value::Table(table) => {
            for (key, value) in table {
                let known = schema["properties"].get(key);
                let schema = known.unwrap_or_else(|| &schema["additionalProperties"]);
                check_against(value, schema, &format!("{path}.{key}"), unknown);
            }
        }
        _ => {}
    }
}
