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
        let key = group.get("public").unwrap_or_else(|| &group["private"]);
        let set = match key.get("keys") {
            Some(_) => key.clone(),
            None => serde_json::json!({ "keys": [key] }),
        };
        for case in group["tests"].as_array().unwrap() {
            let token = case["jws"].as_str().or_else(|| case["jwe"].as_str());
            let (Some(token), valid) = (token, case["result"] == "valid") else {
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

// What the file calls valid and we refuse, each by a rule of ours: shared secrets never sign ID
// tokens; a key that names an algorithm is for no other (PS384 under a key for PS256); P-521 is not
// on the list.
#[test]
fn wycheproof_signatures_are_judged_as_they_should() {
    let file = read(include_str!(
        "../../vectors/wycheproof/json_web_signature_test.json"
    ));
    let (counts, disagreements) = run(&file);
    assert_eq!(counts, BTreeMap::from([("accepted", 32), ("refused", 369)]));
    assert_eq!(
        disagreements,
        [
            "1 hs256 acceptsValid",
            "346 rfc7520 Figure20",
            "347 rfc7520 Figure27",
            "348 rfc7520 Figure35",
            "350 rfc7520WithKeyOps Figure20",
            "351 rfc7520WithKeyOps Figure27",
            "352 rfc7520 Figure35",
            "357 base64 ValidMac",
            "358 base64 ValidEdgeCaseMac",
            "359 base64 ValidEdgeCaseMac",
            "372 base64 InvalidCharacterInsertedInHeader",
            "373 base64 InvalidCharacterInsertedInPayload",
            "376 base64 ValidSpacesInJsonHeader",
            "377 base64 ValidWhiteSpaceInJsonHeader",
        ]
    );
}

// Refused though valid: shared secrets. Accepted though weak: a modulus that a faulty smart card
// made (ROCA); which keys a provider makes is not ours to judge.
#[test]
fn wycheproof_key_sets_are_judged_as_they_should() {
    let file = read(include_str!(
        "../../vectors/wycheproof/json_web_key_test.json"
    ));
    let (counts, disagreements) = run(&file);
    assert_eq!(counts, BTreeMap::from([("accepted", 2), ("refused", 24)]));
    assert_eq!(
        disagreements,
        [
            "2 jws_keyset acceptsValid",
            "7 jws_rsa_roca_key rejectsKeyWithRocaVulnerability",
            "13 HS256 long_key",
            "14 HS384 long_key",
            "15 HS512 long_key",
        ]
    );
}

// Signed and encrypted tokens mixed: no encrypted one passes for a signed one.
#[test]
fn wycheproof_mixed_tokens_are_judged_as_they_should() {
    let file = read(include_str!(
        "../../vectors/wycheproof/json_web_crypto_test.json"
    ));
    let (_, disagreements) = run(&file);
    let wrongly_accepted: Vec<_> = disagreements
        .iter()
        .filter(|it| !it.contains("Valid"))
        .collect();
    assert_eq!(
        wrongly_accepted,
        ["46 jws_rsa_roca_key rejectsKeyWithRocaVulnerability"]
    );
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
        let text = match (case["b64"].as_str(), name) {
            (Some(text), _) => STANDARD.decode(text).unwrap(),
            (None, "n_structure_100000_opening_arrays.json") => b"[".repeat(100_000),
            (None, _) => b"[{\"\":".repeat(50_000),
        };
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
