//! The table. Its order is that of the page in `docs/`.

use metrics::Unit;

use super::{Figure, Kind, Label, Values};

const fn closed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label {
        name,
        values: Values::Closed(values),
    }
}

const fn operators(name: &'static str, words: &'static str) -> Label {
    Label {
        name,
        values: Values::Operators(words),
    }
}

const fn counter(name: &'static str, labels: &'static [Label], help: &'static str) -> Figure {
    Figure {
        name,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    unit: Unit,
    labels: &'static [Label],
    help: &'static str,
) -> Figure {
    Figure {
        name,
        kind: Kind::Histogram,
        unit,
        labels,
        help,
    }
}

const fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [Label],
    help: &'static str,
) -> Figure {
    Figure {
        name,
        kind: Kind::Gauge,
        unit,
        labels,
        help,
    }
}

/// Purposes of sealed tokens.
pub const PURPOSES: &[&str] = &[
    "client_registration",
    "pending_consent",
    "pending_login",
    "authorization_code",
    "access_token",
    "refresh_token",
    "session_id",
    "memo",
];

/// Why a sealed token does not open.
const OPEN_FAILURES: &[&str] = &[
    "too_long",
    "not_sealed",
    "unknown_key",
    "wrong_purpose",
    "retired_key",
    "revoked_key",
    "malformed",
    "wrong_key",
    "tampered",
    "bad_record",
    "wrong_issuer",
    "expired",
];

/// Why a request does not pass: by its shape, its bearer token, its backend, or an access rule.
const DENIALS: &[&str] = &[
    "host",
    "access_rule",
    "odd_path",
    "no_resource",
    "origin",
    "method",
    "no_token",
    "repeated_authorization",
    "other_scheme",
    "malformed",
    "too_long",
    "not_sealed",
    "unknown_key",
    "wrong_purpose",
    "retired_key",
    "revoked_key",
    "wrong_key",
    "tampered",
    "bad_record",
    "wrong_issuer",
    "expired",
    "other_resource",
    "other_upstream",
    "no_upstream_token",
    "upstream_token_refused",
    "ended",
    "scope",
    "session",
    "too_large",
    "upload_stalled",
    "backend_unreachable",
    "backend_connect_timeout",
    "backend_silent",
    "backend_broken",
    "backend_refused",
    "stopping",
];

const GRANTS: Label = closed("grant", &["authorization_code", "refresh_token", "other"]);
const UPSTREAM: Label = operators("upstream", "names of `[upstreams]`");

/// Answers of this server.
pub const SERVER_SECONDS: Figure = histogram(
    "mcp_oauth_http_server_request_duration_seconds",
    Unit::Seconds,
    &[
        closed(
            "route",
            &[
                "metadata",
                "register",
                "authorize",
                "consent",
                "callback",
                "token",
                "revoke",
                "index",
                "healthz",
                "gateway",
            ],
        ),
        closed("status", &["1xx", "2xx", "3xx", "4xx", "5xx"]),
    ],
    "Time from a request's head to the head of its answer.",
);
/// Requests of this server to others.
pub const CLIENT_SECONDS: Figure = histogram(
    "mcp_oauth_http_client_request_duration_seconds",
    Unit::Seconds,
    &[closed("peer", &["backend", "upstream", "client"])],
    "Time of a request to a backend (to the head of its answer), an upstream, or the document of a client.",
);
/// Authorization requests.
pub const AUTHORIZE: Figure = counter(
    "mcp_oauth_authorize_total",
    &[
        closed("registration", &["dcr", "cimd", "static", "unknown"]),
        closed("result", &["consent", "refused"]),
    ],
    "Authorization requests, by how the client is known and whether the consent page was shown.",
);
/// Decisions of people.
pub const CONSENT: Figure = counter(
    "mcp_oauth_consent_total",
    &[closed("decision", &["allow", "deny"])],
    "Decisions on the consent page.",
);
/// People who come back from a provider.
pub const CALLBACK: Figure = counter(
    "mcp_oauth_callback_total",
    &[UPSTREAM, closed("result", &["code", "error", "refused"])],
    "Returns from a provider: with a code of ours, with the provider's error, or refused by us.",
);
/// Answers with tokens.
pub const TOKENS_ISSUED: Figure = counter(
    "mcp_oauth_tokens_issued_total",
    &[GRANTS],
    "Answers of `/token` with tokens.",
);
/// Answers without.
pub const TOKEN_REFUSED: Figure = counter(
    "mcp_oauth_token_refused_total",
    &[
        GRANTS,
        closed(
            "error",
            &[
                "invalid_request",
                "invalid_client",
                "invalid_grant",
                "unauthorized_client",
                "unsupported_grant_type",
                "invalid_scope",
                "invalid_target",
                "server_error",
                "temporarily_unavailable",
            ],
        ),
    ],
    "Answers of `/token` with an error.",
);
/// Questions to a provider at a refresh.
pub const UPSTREAM_REFRESH: Figure = counter(
    "mcp_oauth_upstream_refresh_total",
    &[
        UPSTREAM,
        closed("result", &["ok", "refused", "unavailable"]),
    ],
    "Questions to a provider at a refresh, by its answer.",
);
/// Refusals of the replay store.
pub const REPLAY: Figure = counter(
    "mcp_oauth_replay_total",
    &[closed(
        "kind",
        &[
            "code",
            "code_busy",
            "refresh",
            "refresh_fork",
            "grace",
            "full",
        ],
    )],
    "What the replay store refused: a code or refresh token that was used before, two tokens of one generation, a repetition beyond the grace's rules, or anything because it is full.",
);
/// Answers that were given again.
pub const REFRESH_GRACE: Figure = counter(
    "mcp_oauth_refresh_grace_total",
    &[],
    "Answers to a refresh that were given again within the grace.",
);
/// Requests that were not passed on, people who were not let in.
pub const DENIED: Figure = counter(
    "mcp_oauth_denied_total",
    &[closed("reason", DENIALS)],
    "Requests that the gateway answered itself, and people whom no access rule lets in.",
);
/// Sealed tokens that did not open.
pub const OPEN_FAILED: Figure = counter(
    "mcp_oauth_open_failed_total",
    &[closed("purpose", PURPOSES), closed("reason", OPEN_FAILURES)],
    "Sealed tokens that did not open, by what they were presented as.",
);
/// New clients.
pub const REGISTRATIONS: Figure = counter(
    "mcp_oauth_registrations_total",
    &[],
    "Clients that registered.",
);
/// Requests over a limit.
pub const RATE_LIMITED: Figure = counter(
    "mcp_oauth_rate_limited_total",
    &[closed("endpoint", &["register", "authorize", "token"])],
    "Requests that were over a limit.",
);
/// Whether the store answers.
pub const REPLAY_STORE_UP: Figure = gauge(
    "mcp_oauth_replay_store_up",
    Unit::Count,
    &[],
    "1 while the replay store is connected, 0 while it is not; always 1 in memory.",
);
/// Operations of the store.
pub const REPLAY_STORE_SECONDS: Figure = histogram(
    "mcp_oauth_replay_store_seconds",
    Unit::Seconds,
    &[closed(
        "op",
        &[
            "claim",
            "settle",
            "release",
            "begin_refresh",
            "commit_refresh",
            "abandon_refresh",
            "use_assertion",
            "revoke",
            "park",
            "parked",
            "ready",
        ],
    )],
    "Time of an operation of the replay store.",
);
/// How old the knowledge of revocations is.
pub const REVOCATION_AGE: Figure = gauge(
    "mcp_oauth_revocation_age_seconds",
    Unit::Seconds,
    &[],
    "Time since the revocations of other replicas were last read; always 0 in memory.",
);
/// Codes and tokens of a process that should not be there.
pub const FOREIGN_INSTANCE: Figure = counter(
    "mcp_oauth_foreign_instance_total",
    &[],
    "Codes and refresh tokens that another process minted, although `[replay] store = \"memory\"` says that there is none.",
);
/// Sizes of sealed tokens.
pub const TOKEN_BYTES: Figure = histogram(
    "mcp_oauth_token_bytes",
    Unit::Bytes,
    &[closed("purpose", PURPOSES)],
    "Lengths of the tokens that were sealed.",
);
/// Event streams.
pub const ACTIVE_STREAMS: Figure = gauge(
    "mcp_oauth_active_streams",
    Unit::Count,
    &[],
    "Answers of backends that are open event streams.",
);
/// The keys.
pub const KEY_AGE: Figure = gauge(
    "mcp_oauth_key_age_seconds",
    Unit::Seconds,
    &[
        operators("kid", "ids of the root keys"),
        closed("state", &["active", "accept", "retired", "revoked"]),
    ],
    "Time since a root key was made; NaN once it is not in this state any more.",
);
/// The build.
pub const BUILD_INFO: Figure = gauge(
    "mcp_oauth_build_info",
    Unit::Count,
    &[operators("version", "the version that runs")],
    "Always 1; the label says what runs.",
);

/// Every figure.
pub const ALL: &[&Figure] = &[
    &SERVER_SECONDS,
    &CLIENT_SECONDS,
    &AUTHORIZE,
    &CONSENT,
    &CALLBACK,
    &TOKENS_ISSUED,
    &TOKEN_REFUSED,
    &UPSTREAM_REFRESH,
    &REPLAY,
    &REFRESH_GRACE,
    &DENIED,
    &OPEN_FAILED,
    &REGISTRATIONS,
    &RATE_LIMITED,
    &REPLAY_STORE_UP,
    &REPLAY_STORE_SECONDS,
    &REVOCATION_AGE,
    &FOREIGN_INSTANCE,
    &TOKEN_BYTES,
    &ACTIVE_STREAMS,
    &KEY_AGE,
    &BUILD_INFO,
];
