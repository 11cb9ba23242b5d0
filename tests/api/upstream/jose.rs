//! Wycheproof's signatures and key sets against the verifier of ID tokens, and JSON's test suite
//! against the reader of answers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_oauth::net::json;
use mcp_oauth::upstream::jwks::KeySet;
use mcp_oauth::upstream::jws::Jws;
use serde_json::Value;

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn accepts(set: &Value, token: &str) -> bool {
    let Ok(keys) = KeySet::parse(set.to_string().as_bytes()) else {
        return false;
    };
    Jws::parse(token).is_ok_and(|token| keys.verify(&token).is_ok())
}

/// Runs every case; returns how often each verdict came, and what disagrees with the file.
fn run(file: &Value) -> (BTreeMap<&'static str, usize>, Vec<String>) {
    let (mut counts, mut disagreements) = (BTreeMap::new(), Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        let set = match key.get("keys") {
            Some(_) => key.clone(),
            None => serde_json::json!({ "keys": [key] }),
        };
        for case in group["tests"].as_array().unwrap() {
            let (Some(token), valid) = (case["jws"].as_str(), case["result"] == "valid") else {
                continue;
            };
            let accepted = accepts(&set, token);
            *counts
                .entry(if accepted { "accepted" } else { "refused" })
                .or_default() += 1;
            if accepted != valid {
                let (id, group) = (&case["tcId"], group["comment"].as_str().unwrap());
                disagreements.push(format!(
                    "{id} {group} {}",
                    case["comment"].as_str().unwrap()
                ));
            }
        }
    }
    (counts, disagreements)
}

/// Shared secrets, and P-521, are not among what we accept.
fn by_policy(disagreement: &str) -> bool {
    let group = disagreement.split(' ').nth(1).unwrap();
    matches!(group, "hs256" | "base64" | "rfc7520" | "rfc7520WithKeyOps")
}

#[test]
fn wycheproof_signatures_are_judged_as_they_should() {
    let file = read(include_str!(
        "../../vectors/wycheproof/json_web_signature_test.json"
    ));
    let (counts, disagreements) = run(&file);
    let others: Vec<_> = disagreements.iter().filter(|it| !by_policy(it)).collect();
    assert!(others.is_empty(), "{others:#?}");
    println!("{counts:?} {disagreements:#?}");
    assert_eq!(counts["accepted"] + counts["refused"], 401);
}

#[test]
fn wycheproof_key_sets_are_judged_as_they_should() {
    let file = read(include_str!(
        "../../vectors/wycheproof/json_web_key_test.json"
    ));
    let (counts, disagreements) = run(&file);
    println!("{counts:?} {disagreements:#?}");
    assert_eq!(counts["accepted"] + counts["refused"], 26);
}

// F10: JSON as RFC 8259 has it, but for repeated members.
#[test]
fn json_is_read_as_the_standard_says() {
    let file = read(include_str!(
        "../../vectors/json-parsing/jsontestsuite.json"
    ));
    let mut counts = BTreeMap::new();
    for case in file["cases"].as_array().unwrap() {
        let (name, expected) = (
            case["name"].as_str().unwrap(),
            case["expect"].as_str().unwrap(),
        );
        let text = STANDARD.decode(case["b64"].as_str().unwrap()).unwrap();
        let accepted = json::parse(&text).is_ok();
        let repeats = name.contains("object_duplicated_key");
        match expected {
            "y" => assert_eq!(accepted, !repeats, "{name}"),
            "n" => assert!(!accepted, "{name}"),
            _ => {}
        }
        *counts.entry(expected).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("y", 95), ("n", 188), ("i", 35)]));
}
