//! The demo in several processes: what they have in common, and what one refuses alone.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use mcp_oauth::demo::parts::{Part, make_secrets};
use mcp_oauth::demo::{ANY_PORT, DemoError};
use mcp_oauth::time::{Clock as _, SystemClock, Timestamp};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn text(directory: &TempDir, name: &str) -> String {
    std::fs::read_to_string(directory.path().join(name)).unwrap()
}

#[test]
fn secrets_are_made_once_and_for_their_owner_only() {
    let directory = TempDir::new().unwrap();
    make_secrets(directory.path(), NOW).unwrap();
    let names = ["client-secret", "backend-headers", "keys/key-1.jwk"];
    let first = names.map(|name| text(&directory, name));
    assert!(first[1].starts_with("x-gateway-key: "));
    for name in names {
        let file = directory.path().join(name);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    make_secrets(directory.path(), NOW).unwrap();
    assert_eq!(names.map(|name| text(&directory, name)), first);
}

#[tokio::test]
async fn part_without_secrets_says_how_to_make_them() {
    let directory = TempDir::new().unwrap();
    let refused = Part::backend(directory.path(), ANY_PORT).await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("backend-headers"), "{said}");
    assert!(said.contains("mcp-oauth demo --only secrets"), "{said}");
}

#[tokio::test]
async fn identity_provider_alone_stays_on_this_computer() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(SystemClock::start());
    make_secrets(directory.path(), clock.now()).unwrap();
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let public_url = "http://127.0.0.1:8080";
    let refused =
        Part::identity_provider(directory.path(), everywhere, None, public_url, clock).await;
    assert!(matches!(refused, Err(DemoError::NotLoopback(_))));
}
