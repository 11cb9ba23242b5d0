//! Clocks: ours against the `Date` of the deployment and of each provider.
//!
//! A minute is forgiven everywhere; more than that makes ID tokens look unborn or expired.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, Method};
use url::Url;

use super::finding::{Area, Notes};
use super::patient::{Patient, Seen, ask};
use crate::net::Failure;
use crate::time::{Clock, Timestamp};

/// What is not worth a word: an answer takes time, and `Date` has whole seconds.
const CLOSE: Duration = Duration::from_secs(5);
/// What the server forgives.
const SKEW: Duration = Duration::from_secs(60);

/// Compares clocks.
pub(super) async fn examine(patient: &Patient<'_>, clock: &Arc<dyn Clock>) -> Notes {
    let mut notes = Notes::about(Area::Clock);
    let own = patient.ask(Method::GET, "/healthz", &[], None).await;
    compare("the deployment", own, clock.now(), &mut notes);
    for settings in &patient.config().upstreams {
        let profile = settings.profile();
        let Some(url) = profile.issuer.as_deref().and_then(|it| Url::parse(it).ok()) else {
            continue;
        };
        let answer = ask(&patient.http, Method::HEAD, &url, HeaderMap::new(), None).await;
        compare(&profile.display_name, answer, clock.now(), &mut notes);
    }
    notes
}

/// Says nothing about whoever does not answer: that is said elsewhere.
fn compare(who: &str, answer: Result<Seen, Failure>, now: Timestamp, notes: &mut Notes) {
    let Some(theirs) = answer.ok().and_then(|seen| date(seen.header("date"))) else {
        return;
    };
    let (ahead, behind) = (theirs.since(now), now.since(theirs));
    let (apart, word) = if ahead > behind {
        (ahead, "ahead of")
    } else {
        (behind, "behind")
    };
    let seconds = apart.as_secs();
    if apart <= CLOSE {
        notes.fine(format!("{who} has the same time as this computer"));
        return;
    }
    let message = format!("{who} is {seconds} s {word} this computer");
    let fix = Patient::elsewhere("let NTP set the clock of whichever is wrong");
    if apart > SKEW {
        notes.fail(message, fix);
    } else {
        notes.warn(message, fix);
    }
}

/// RFC 9110 §5.6.7.
fn date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text).ok()?;
    let since = since.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::finding::{Report, Status};
    use super::*;

    fn judged(date: &str, now: u64) -> Option<Status> {
        let mut headers = HeaderMap::new();
        headers.insert("date", date.parse().unwrap());
        let seen = Seen {
            status: StatusCode::OK,
            headers,
            json: None,
            text: String::new(),
        };
        let mut notes = Notes::about(Area::Clock);
        compare("it", Ok(seen), Timestamp::from_secs(now), &mut notes);
        let mut report = Report::default();
        report.add(notes);
        report.findings().first().map(|finding| finding.status)
    }

    // F13
    #[test]
    fn clock_that_is_more_than_a_minute_off_fails() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (now, status) in [
            (784_111_777, Status::Fine),
            (784_111_780, Status::Fine),
            (784_111_787, Status::Warning),
            (784_111_740, Status::Warning),
            (784_111_600, Status::Failed),
            (784_112_000, Status::Failed),
        ] {
            assert_eq!(judged(date, now), Some(status), "{now}");
        }
        assert_eq!(judged("yesterday", 784_111_777), None);
    }
}
