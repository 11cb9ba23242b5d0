//! What runs in the background, and how it ends.

use std::time::Duration;

use mcp_oauth::{McpOauth, Resource, Upstream};
use tokio::runtime::Handle;

async fn embedded(keys: &std::path::Path) -> McpOauth {
    let upstream = Upstream::oidc("https://id.example").client_id("c");
    McpOauth::builder()
        .public_url("http://127.0.0.1:8080")
        .upstream("idp", upstream.client_secret("s"))
        .resource(Resource::new("/mcp"))
        .keys_directory(keys)
        .build()
        .await
        .unwrap()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Longer than the slowest of the tasks rests.
const A_WHILE: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn background_ends_with_the_last_handle_router_and_layer() {
    let keys = tempfile::tempdir().unwrap();
    let before = tasks();
    let oauth = embedded(keys.path()).await;
    let layer = oauth.layer("/mcp").unwrap();
    let router = oauth.router();
    tokio::time::sleep(A_WHILE).await;
    let running = tasks();
    assert!(running >= before + 2, "the keys and the store");
    drop(oauth);
    drop(router);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(tasks(), running, "a layer needs them still");
    drop(layer);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_it_ends() {
    let keys = tempfile::tempdir().unwrap();
    let before = tasks();
    let oauth = embedded(keys.path()).await;
    let running = tasks();
    oauth.drain();
    assert!(tasks() > running, "the deadline is waited for");
    oauth.shutdown().await;
    // The store tidies up for as long as a router or a layer could use it.
    assert_eq!(tasks(), before + 1);
    drop(oauth);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(tasks(), before);
}
