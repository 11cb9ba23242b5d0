//! `doctor` about a Redis: one that is fit, one that forgets, and one that is away.

use std::time::Duration;

use mcp_oauth::doctor::{Area, Status};

use super::super::doctor::Deployment;
use super::PREFIX;
use super::server::Server;

fn remember_in(deployment: &mut Deployment, url: &str) {
    let table =
        format!("[replay]\nstore = \"redis\"\nurl = \"{url}\"\nprefix = \"{PREFIX}\"\n[access]");
    deployment.change("[access]", &table);
}

#[tokio::test]
async fn store_that_is_fit_is_found_fit() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let mut deployment = Deployment::new().await;
    remember_in(&mut deployment, &server.url());
    deployment.start(|app| app).await;
    // A store that was found empty is not trusted for some seconds.
    server.age(Duration::from_secs(10)).await;
    let report = deployment.examine().await;
    let store: Vec<_> = report
        .findings()
        .iter()
        .filter(|it| it.area == Area::Store)
        .map(|it| (it.status, it.message.as_str()))
        .collect();
    assert_eq!(
        store,
        [(Status::Fine, "redis: answers, and is fit to remember")]
    );
}

#[tokio::test]
async fn store_that_forgets_or_is_away_is_told() {
    let evicting = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(mut server) = Server::start(&evicting).await else {
        return;
    };
    let mut deployment = Deployment::new().await;
    deployment.start(|app| app).await;
    remember_in(&mut deployment, &server.url());
    deployment
        .has_failed(Area::Store, "noeviction", "url = \"redis:")
        .await;
    server.kill();
    deployment
        .has_failed(Area::Store, "replay store", "url = \"redis:")
        .await;
}
