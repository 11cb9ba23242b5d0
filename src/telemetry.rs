//! Logs and metrics: lines on standard error per `[log]`, figures for the admin listener.
//!
//! What a line may say is decided where it is written: never a token, a code, a cookie, a query
//! string; people by [`EmailHash`], clients by their hash. Lines within a request carry its id and
//! the id of its trace. A panic is logged with its place only,
//! since its message can hold anything.

mod lines;

use std::fmt;
use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tracing::subscriber::{DefaultGuard, SetGlobalDefaultError};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, layer::SubscriberExt as _};

use self::lines::{Fields, Members};
#[cfg(doc)]
use crate::audit::EmailHash;
use crate::config::{Log, LogFormat};
use crate::figures;

/// How often figures that were observed are folded into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bounds of histograms of durations, in seconds.
const SECONDS: [f64; 14] = [
    0.000_1, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0,
];

/// Bounds of histograms of token sizes, in bytes.
const BYTES: [f64; 8] = [
    256.0, 512.0, 900.0, 1_200.0, 2_500.0, 4_096.0, 7_168.0, 16_384.0,
];

/// Why there are no logs or metrics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The level is no filter.
    #[error("the log level cannot be understood")]
    Level(#[from] ParseError),
    /// Somebody else logs in this process already.
    #[error("logging is set up already")]
    Subscriber(#[from] SetGlobalDefaultError),
    /// Somebody else records metrics in this process already.
    #[error("metrics are set up already")]
    Recorder(#[from] BuildError),
}

/// Keeps the recorder's upkeep going until it is dropped.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    upkeep: JoinHandle<()>,
}

impl Telemetry {
    /// The figures, for the admin listener.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

/// The figures so far.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The figures as Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(…)")
    }
}

/// Starts logs and metrics for the whole process. Needs a tokio runtime.
///
/// # Errors
///
/// When they were started already, or the level is no filter.
pub fn init(log: &Log) -> Result<Telemetry, TelemetryError> {
    let is_terminal = std::io::stderr().is_terminal();
    let subscriber = subscriber(log, is_terminal, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    log_panics();
    let handle = recorder()?.install_recorder()?;
    figures::introduce();
    let metrics = Metrics(handle.clone());
    let upkeep = tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            handle.run_upkeep();
        }
    });
    Ok(Telemetry { metrics, upkeep })
}

/// Logs to `writer` on this thread until the guard is dropped: for tests.
///
/// # Errors
///
/// When the level is no filter.
pub fn log_to<W>(log: &Log, writer: W) -> Result<DefaultGuard, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let subscriber = subscriber(log, false, writer)?;
    Ok(tracing::subscriber::set_default(subscriber))
}

fn subscriber<W>(
    log: &Log,
    is_terminal: bool,
    writer: W,
) -> Result<impl tracing::Subscriber + Send + Sync, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&log.level)?;
    let is_json = match log.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = if is_json {
        // One object a line, with the event's own members at the top.
        let lines = lines.json().flatten_event(true).with_span_list(false);
        lines.map_event_format(Members).boxed()
    } else {
        let lines = lines.with_ansi(is_terminal).with_target(false);
        lines.map_fmt_fields(Fields).boxed()
    };
    Ok(Registry::default().with(lines.with_filter(filter)))
}

fn recorder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)
}

/// Logs where a panic happened. Its message is left out: it can hold what must not be logged.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place = place.as_deref().unwrap_or("unknown"), "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::audit::EmailHash;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let level = level.to_owned();
        let guard = log_to(&Log { format, level }, move || writer.clone()).unwrap();
        tracing::info!(email = %EmailHash::of("alice@example.com"), "signed in");
        tracing::debug!("details");
        drop(guard);
        lines.text()
    }

    #[test]
    fn lines_are_json_away_from_a_terminal() {
        for format in [LogFormat::Auto, LogFormat::Json] {
            let text = logged(format, "info");
            let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
            assert_eq!(line["level"], "INFO");
            assert_eq!(line["message"], "signed in");
            assert_eq!(
                line["email"],
                EmailHash::of("ALICE@example.com").to_string()
            );
        }
    }

    #[test]
    fn level_and_format_are_heard() {
        let text = logged(LogFormat::Pretty, "debug");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("INFO signed in"), "{text}");
        assert_eq!(logged(LogFormat::Json, "warn"), "");
        assert!(!text.contains("alice"), "{text}");
    }

    #[test]
    fn figures_render_with_their_bounds() {
        let recorder = recorder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            figures::CLIENT_SECONDS
                .histogram(&["backend"])
                .record(0.002);
            figures::REGISTRATIONS.counter(&[]).increment(1);
        });
        let text = Metrics(handle).render();
        assert!(text.contains("mcp_oauth_registrations_total 1"), "{text}");
        let bucket = "_client_request_duration_seconds_bucket{peer=\"backend\",le=\"0.0025\"} 1";
        assert!(text.contains(bucket), "{text}");
    }
}
