//! The envelope against tokens made by an independent implementation: the ten of our kind open, and
//! nothing else does, not even the 75 that are authentic.

use std::collections::HashMap;

use base64::Engine as _;
use serde_json::Value;

use super::OpenError;
use super::jwe::{BASE64, Plaintext, Segments, WrappingKey};

const HEADER: &str = r#"{"alg":"A256KW","enc":"A256GCM","kid":"k1","typ":"test+jwe"}"#;

fn vectors() -> Value {
    let file = include_str!("../../tests/vectors/jwe-a256gcm/vectors.json");
    serde_json::from_str(file).unwrap()
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap().as_bytes();
    text.chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Opens as the keyring does: by a map of header segments, here of one.
fn open(vector: &Value) -> Result<Plaintext, OpenError> {
    let key = hex(&vector["key_hex"]).try_into().unwrap();
    let map = HashMap::from([(BASE64.encode(HEADER), WrappingKey::new(&key))]);
    let segments = Segments::split(vector["jwe"].as_str().unwrap())?;
    let key = map.get(segments.header).ok_or(OpenError::NotSealed)?;
    key.open(&segments)
}

#[test]
fn key_wrapped_vectors_open_and_direct_ones_do_not() {
    let vectors = vectors();
    let mut opened = 0;
    for vector in vectors["valid"].as_array().unwrap() {
        let result = open(vector);
        if vector["alg"] == "A256KW" {
            assert_eq!(result.unwrap().as_slice(), hex(&vector["pt_hex"]));
            opened += 1;
        } else {
            assert_eq!(result.err(), Some(OpenError::NotSealed), "{}", vector["id"]);
        }
    }
    assert_eq!(opened, 10);
}

// K3
#[test]
fn every_invalid_vector_is_refused() {
    let vectors = vectors();
    let invalid = vectors["invalid"].as_array().unwrap();
    assert_eq!(invalid.len(), 99);
    for vector in invalid {
        assert!(open(vector).is_err(), "{}: {}", vector["id"], vector["why"]);
    }
}
