//! What a page says about each refusal: what happened, whose side it is, and what to do.

use axum::http::StatusCode;

use crate::oauth::error::Reason;

/// The words of one page.
pub(super) struct Words {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) what: &'static str,
    pub(super) todo: &'static str,
    pub(super) whose: &'static str,
}

const APP: &str = "This is on the app’s side.";
const SERVER: &str = "This is on this server’s side.";
const PROVIDER: &str = "This is on the identity provider’s side.";
const PERSON: &str = "Nothing is broken.";

impl Words {
    /// The words for a refusal.
    pub(super) fn of(reason: &Reason) -> Self {
        match reason {
            Reason::UnknownClient(_) | Reason::RegistrationEnded => Self::new(
                400,
                "This app needs to register again",
                "The app used an identity that this server does not know (any more).",
                "Remove this server from the app and add it again, so that the app registers anew.",
                APP,
            ),
            Reason::DocumentsOff | Reason::DocumentUrl(_) | Reason::Document(_) => Self::new(
                400,
                "This app’s description cannot be used",
                "The app identifies itself by a web document, and this server could not use it.",
                "Try again in a few minutes. If it stays, tell the makers of the app, or the operator.",
                APP,
            ),
            Reason::RedirectNotRegistered => Self::new(
                400,
                "This app asked to be answered at an unknown place",
                "The return address in the link is not one that the app registered, so you were not \
                 sent there.",
                "Start again from the app. If it stays, remove this server from the app and add it again.",
                APP,
            ),
            Reason::OtherBrowser | Reason::NoLogin => Self::new(
                400,
                "This sign-in was started elsewhere",
                "This page belongs to a sign-in that another browser started, that is finished, or \
                 whose cookies were lost.",
                "Start again from the app, in this browser, with cookies allowed for this site. If the \
                 app shows pages in a small window of its own, let it open your normal browser.",
                PERSON,
            ),
            Reason::CrossSite => Self::new(
                403,
                "The answer came from another site",
                "Your decision must be sent from this server’s own page. Another site tried to send it.",
                "Start again from the app, and close the page that you came from.",
                PERSON,
            ),
            Reason::ConsentForm(_) | Reason::Login(_) => Self::new(
                400,
                "That took too long",
                "A sign-in must be finished within ten minutes, and this one was not.",
                "Start again from the app.",
                PERSON,
            ),
            Reason::NotAllowed => Self::new(
                403,
                "This account is not allowed here",
                "You signed in, but the operator’s rules do not let this account in.",
                "Ask the operator for access, or start again from the app and use another account.",
                PERSON,
            ),
            other => Self::rest(other),
        }
    }

    fn rest(reason: &Reason) -> Self {
        match reason {
            Reason::UpstreamUnavailable(_) => Self::new(
                503,
                "The identity provider does not answer",
                "This server could not reach the provider that you sign in with.",
                "Wait a moment, then start again from the app.",
                PROVIDER,
            ),
            Reason::UpstreamRefused(_)
            | Reason::UpstreamUnacceptable(_)
            | Reason::UpstreamError(_)
            | Reason::OtherPerson
            | Reason::CallbackIssuer
            | Reason::EmptyCallback => Self::new(
                502,
                "The identity provider’s answer was not usable",
                "The provider sent something that this server must not accept.",
                "Start again from the app. If it stays, tell the operator the error id.",
                PROVIDER,
            ),
            Reason::OtherUpstream | Reason::ResourceGone => Self::new(
                400,
                "This server was reconfigured",
                "While you were signing in, the operator changed what you were signing in to.",
                "Start again from the app.",
                SERVER,
            ),
            Reason::TooManyRequests => Self::new(
                429,
                "Too many attempts",
                "There were too many sign-in attempts from your network within a minute.",
                "Wait a minute, then reload this page.",
                PERSON,
            ),
            reason if reason.code().status().is_server_error() => Self::new(
                503,
                "Something is wrong here",
                "This server cannot do what it should at the moment.",
                "Wait a moment, then start again from the app. If it stays, tell the operator the error \
                 id.",
                SERVER,
            ),
            _ => Self::new(
                400,
                "The app’s request was not valid",
                "The app sent a request that does not follow the rules of OAuth, so nothing was done.",
                "Start again from the app. If it stays, update the app or tell its makers.",
                APP,
            ),
        }
    }

    fn new(
        status: u16,
        title: &'static str,
        what: &'static str,
        todo: &'static str,
        whose: &'static str,
    ) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self {
            status,
            title,
            what,
            todo,
            whose,
        }
    }
}
