//! The ids of a request on each of its log lines.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::request;

/// Adds them as members of a line's JSON object.
pub(super) struct Members<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Members<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace) = request::current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let (request_id, trace_id) = (trace.request_id(), trace.trace_id());
        match line.trim_end().strip_suffix('}') {
            // Both are words that need no escaping.
            Some(open) => writeln!(
                writer,
                r#"{open},"request_id":"{request_id}","trace_id":"{trace_id}"}}"#
            ),
            None => writer.write_str(&line),
        }
    }
}

/// Adds the request's id after the fields of a line for people.
pub(super) struct Fields<F>(pub(super) F);

impl<'w, F> FormatFields<'w> for Fields<F>
where
    F: for<'a> FormatFields<'a>,
{
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        match request::current() {
            Some(trace) => write!(writer, " request_id={}", trace.request_id()),
            None => Ok(()),
        }
    }
}
