//! A second process where `store = "memory"` says that there is one.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_oauth::config::StoreKind;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::support::client::{Client, Tokens};
use super::support::world::World;

/// Log lines in memory.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn warnings(&self) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .filter(|line| line.contains("[replay] store"))
            .count()
    }
}

/// What two processes see of each other: the warnings and the metric of the first.
async fn seen(store: StoreKind) -> (usize, String) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);

    let one = World::with(|config| config.replay.store = store.clone());
    let two = one.replica_edited(|config| config.replay.store = store.clone());
    let mut client = Client::register(&one).await;
    one.clock.advance(Duration::from_secs(1));
    let code = client.code(&two, "alice").await;
    let mut tokens = Tokens::of(&client.redeem(&one, &code).await);
    for _ in 0..3 {
        let theirs = Tokens::of(&client.refresh(&two, &tokens.refresh).await);
        tokens = Tokens::of(&client.refresh(&one, &theirs.refresh).await);
    }
    let before = lines.warnings();
    one.clock.advance(Duration::from_secs(61));
    client.refresh(&two, &tokens.refresh).await;
    assert!(lines.warnings() <= before + 1);
    (lines.warnings(), rendered.render())
}

#[tokio::test]
async fn second_process_in_memory_mode_is_counted_and_named_once_a_minute() {
    let (warnings, metrics) = seen(StoreKind::Memory).await;
    // Each of the two said it once, and one of them again after a minute.
    assert_eq!(warnings, 3, "{metrics}");
    assert!(
        metrics.contains("mcp_oauth_foreign_instance_total 8"),
        "{metrics}"
    );
}

#[tokio::test]
async fn other_processes_are_expected_in_the_other_modes() {
    let (warnings, metrics) = seen(StoreKind::Upstream).await;
    assert_eq!(warnings, 0);
    assert!(!metrics.contains("foreign_instance"), "{metrics}");
}

// F2: what an earlier process minted is no sign of another one.
#[tokio::test]
async fn tokens_of_an_earlier_process_are_no_sign_of_another() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let before = World::new();
    let mut client = Client::register(&before).await;
    let tokens = client.login(&before, "alice").await;
    before.clock.advance(Duration::from_secs(1));
    let after = before.replica();
    assert_eq!(client.refresh(&after, &tokens.refresh).await.status, 200);
    assert!(!rendered.render().contains("foreign_instance"));
}
