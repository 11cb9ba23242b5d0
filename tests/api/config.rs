//! The configuration: what is read, what is refused, and what is said about it.

use std::time::Duration;

use mcp_oauth::config::{self, Config, Cors, Problems, StoreKind};

const FULL: &str = include_str!("config/full.toml");

fn parse(text: &str) -> Result<Config, Problems> {
    config::parse(text, "mcp-oauth.toml")
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
    assert!(
        !format!("{config:?}").contains("hunter"),
        "a secret shows in Debug"
    );
}
