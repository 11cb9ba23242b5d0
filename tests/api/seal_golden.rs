//! Tokens that a release has sealed open in every later one, for two minor versions at least.
//!
//! A release adds its own file to `tests/golden/`, written by
//! `MCP_OAUTH_WRITE_GOLDEN=1 cargo test --test api golden`, and never changes an older one.

use mcp_oauth::entropy;
use mcp_oauth::oauth::names::{Issuer, Secret};
use mcp_oauth::oauth::records::Memo;
use mcp_oauth::seal::{KeyState, Keyring, Purpose, RootKey, Sealed};
use serde_json::{Value, json};

use super::seal::{open, seal};
use super::seal_samples::{NOW, issuer, memo};

/// The same tokens are where fuzzing starts from.
const FUZZ_SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/token_parse");

const BINDING: &str = "the refresh token that was presented";

fn ring(golden: &Value) -> Keyring {
    let key = RootKey::from_jwk(&golden["key"].to_string(), "golden").unwrap();
    let issuer = Issuer::new(golden["issuer"].as_str().unwrap());
    Keyring::new(&[key], &issuer, "golden").unwrap()
}

fn write(path: &str) {
    let key = RootKey::generate(KeyState::Active, NOW, &mut entropy::rng());
    let key: Value = serde_json::from_str(key.to_jwk().expose()).unwrap();
    let mut golden = json!({ "issuer": issuer(), "now": NOW, "key": key });
    let ring = ring(&golden);
    let tokens: Vec<Value> = Purpose::ALL
        .into_iter()
        .map(|purpose| {
            let token = seal(&ring, purpose);
            let record: Value =
                serde_json::from_str(&open(&ring, purpose, &token).unwrap()).unwrap();
            let seed = format!("{FUZZ_SEEDS}/seed-{}", purpose.typ());
            std::fs::write(seed, &token).unwrap();
            json!({ "typ": purpose.typ(), "token": token, "record": record })
        })
        .collect();
    golden["tokens"] = tokens.into();
    let bound = ring.seal_bound(&memo(), &Secret::new(BINDING), &mut entropy::rng());
    golden["bound_memo"] = bound.unwrap().into_wire().into();
    golden["client_secret"] = ring
        .client_secret(ring.active(), "client")
        .unwrap()
        .expose()
        .into();
    std::fs::write(path, format!("{golden:#}\n")).unwrap();
}

#[test]
fn golden_tokens_of_every_release_still_open() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    if std::env::var_os("MCP_OAUTH_WRITE_GOLDEN").is_some() {
        write(&format!("{directory}/{}.json", env!("CARGO_PKG_VERSION")));
    }
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let ring = ring(&golden);
        let tokens = golden["tokens"].as_array().unwrap();
        assert_eq!(tokens.len(), 8, "{}", path.display());
        for token in tokens {
            let typ = token["typ"].as_str().unwrap();
            let wire = token["token"].as_str().unwrap();
            let purpose = Purpose::ALL.into_iter().find(|it| it.typ() == typ).unwrap();
            let record: Value = serde_json::from_str(&open(&ring, purpose, wire).unwrap()).unwrap();
            assert_eq!(record, token["record"], "{} {typ}", path.display());
        }
        let bound = Sealed::<Memo>::from_wire(golden["bound_memo"].as_str().unwrap());
        let opened = ring.open_bound(&bound, &Secret::new(BINDING), NOW).unwrap();
        assert!(opened.record.body.matches(memo().body.expose()));
        let secret = ring.client_secret(ring.active(), "client").unwrap();
        assert!(secret.matches(golden["client_secret"].as_str().unwrap()));
        files += 1;
    }
    assert!(files > 0);
}
