//! `[access]` and `[resources.access]`: the rules, and that a public server has some.
//!
//! Refuses a public server without a rule; a rule that can never match is warned about.

use super::PublicUrl;
use super::problem::Report;
use super::raw::RawAccess;
use super::tree::KeyPath;
use super::upstreams::Upstreams;
use crate::oauth::access::{AccessRules, RuleError};

/// Reads `[access]`.
pub(super) fn global(
    raw: &RawAccess,
    public_url: Option<&PublicUrl>,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) -> AccessRules {
    let at = KeyPath::of("access");
    let rules = rules(raw, &at, upstreams, report);
    if !rules.is_empty() || report.has_fault_in(&at) {
        return rules;
    }
    match public_url {
        // On this computer, whoever can reach us may sign in.
        Some(public_url) if public_url.is_loopback => AccessRules::everybody(),
        Some(_) => {
            let hint = "say who: [access] allow_emails = [\"*@example.com\"], or allow_subjects, \
                        allow_groups\n\
                        everybody who can sign in at the provider: [access] allow_all = true";
            report.error(&at, "nobody may sign in: no rule in `[access]`", hint);
            rules
        }
        None => rules,
    }
}

/// Reads `[resources.access]`.
pub(super) fn own(
    raw: &RawAccess,
    at: &KeyPath,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) -> AccessRules {
    let rules = rules(raw, at, upstreams, report);
    if rules.is_empty() && !report.has_fault_in(at) {
        let hint = "add a rule, or leave the table out: `[access]` applies all the same";
        report.error(
            at,
            "nobody may use this resource: no rule in its `access`",
            hint,
        );
    }
    rules
}

fn rules(
    raw: &RawAccess,
    at: &KeyPath,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) -> AccessRules {
    let mut rules = AccessRules::default();
    if raw.allow_all {
        rules = AccessRules::everybody();
        let lists = [&raw.allow_emails, &raw.allow_subjects, &raw.allow_groups];
        if lists.iter().any(|list| !list.is_empty()) {
            let message = "allow_all = true lets everybody in, so the other rules do nothing";
            report.warn(
                &at.key("allow_all"),
                message,
                "remove it to let only those in",
            );
        }
    }
    let mut add =
        |list: &[String], key: &str, allow: fn(&mut AccessRules, &str) -> Result<(), RuleError>| {
            for (index, rule) in list.iter().enumerate() {
                if let Err(error) = allow(&mut rules, rule) {
                    report.add(
                        &at.key(key).index(index),
                        format!("`{rule}`: {error}"),
                        None,
                    );
                }
            }
        };
    add(&raw.allow_emails, "allow_emails", AccessRules::allow_email);
    add(
        &raw.allow_subjects,
        "allow_subjects",
        AccessRules::allow_subject,
    );
    add(&raw.allow_groups, "allow_groups", AccessRules::allow_group);
    warn_of_dead_rules(raw, at, upstreams, report);
    rules
}

/// Warns about rules that no person can match.
fn warn_of_dead_rules(
    raw: &RawAccess,
    at: &KeyPath,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) {
    for (index, rule) in raw.allow_subjects.iter().enumerate() {
        if let Some((upstream, _)) = rule.split_once(':')
            && !upstreams.is_empty()
            && !upstreams.contains(upstream)
        {
            let message = format!("`{rule}` can never match: there is no upstream `{upstream}`");
            let path = at.key("allow_subjects").index(index);
            report.warn(&path, message, &upstreams.hint(upstream));
        }
    }
    if !raw.allow_groups.is_empty() && upstreams.tell_no_groups() {
        let message = "allow_groups can never match: no upstream tells groups";
        let hint = "set `groups_claim` of the upstream";
        report.warn(&at.key("allow_groups"), message, hint);
    }
}
