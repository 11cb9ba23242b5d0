//! B5, F13: ID tokens that must not be believed. Each row is signed by the provider's own key unless
//! it says otherwise, so that nothing but the row's own fault can be why it is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::upstream::id_token::{Expected, validate};
use mcp_oauth::upstream::jwks::KeySet;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::super::support::upstream::SigningKey;
use super::NOW;

const ISSUER: &str = "https://idp.example";
const ACCESS: &str = "the-access-token";

struct Verifier {
    key: SigningKey,
    keys: KeySet,
    nonce: Secret,
    access_token: Secret,
}

fn verifier(algorithm: Algorithm) -> Verifier {
    let key = SigningKey::fixed("k", algorithm);
    let set = json!({ "keys": [key.public()] }).to_string();
    Verifier {
        keys: KeySet::parse(set.as_bytes()).unwrap(),
        key,
        nonce: Secret::new("the-nonce"),
        access_token: Secret::new(ACCESS),
    }
}

fn good() -> Value {
    let now = NOW.as_secs();
    json!({
        "iss": ISSUER, "sub": "alice", "aud": "us", "exp": now + 300, "iat": now,
        "nonce": "the-nonce",
        "at_hash": URL_SAFE_NO_PAD.encode(&Sha256::digest(ACCESS)[..16]),
    })
}

impl Verifier {
    fn check(&self, token: &str) -> Result<Value, String> {
        let expected = Expected {
            issuer: ISSUER,
            issuer_aliases: &["idp.example".to_owned()],
            client_id: "us",
            nonce: Some(&self.nonce),
            access_token: &self.access_token,
            now: NOW,
        };
        validate(&Secret::new(token), &self.keys, expected).map_err(|error| error.to_string())
    }

    fn check_with(&self, name: &str, value: Value) -> Result<Value, String> {
        let mut claims = good();
        if value == json!("REMOVED") {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        self.check(&self.key.sign(&claims))
    }
}

#[test]
fn good_token_is_accepted() {
    let verifier = verifier(Algorithm::ES256);
    let claims = verifier.check(&verifier.key.sign(&good())).unwrap();
    assert_eq!(claims["sub"], "alice");
}

#[test]
fn other_shapes_of_good_claims_are_accepted() {
    let verifier = verifier(Algorithm::ES256);
    let now = NOW.as_secs();
    for (name, value) in [
        ("aud", json!(["us"])),
        ("azp", json!("us")),
        ("iss", json!("idp.example")),
        ("at_hash", json!("REMOVED")),
        ("exp", json!(now - 59)),
        ("iat", json!(now + 60)),
        ("nbf", json!(now + 60)),
        ("nbf", json!(0)),
        ("exp", json!(f64::from(u32::try_from(now).unwrap()) + 0.5)),
        ("email_verified", json!("maybe")),
    ] {
        let outcome = verifier.check_with(name, value.clone());
        assert!(outcome.is_ok(), "{name} = {value}: {outcome:?}");
    }
    let mut claims = good();
    (claims["aud"], claims["azp"]) = (json!(["us", "others"]), json!("us"));
    assert!(verifier.check(&verifier.key.sign(&claims)).is_ok());
}

// B5, CVE-2026-25537: a claim of the wrong type is refused, not counted as absent.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn wrong_claims_are_refused() {
    let verifier = verifier(Algorithm::ES256);
    let now = NOW.as_secs();
    let rows = [
        ("iss", json!("REMOVED"), "iss is missing"),
        (
            "iss",
            json!("https://evil.example"),
            "iss is another issuer",
        ),
        (
            "iss",
            json!("https://idp.example/"),
            "iss is another issuer",
        ),
        ("iss", json!("https://IDP.example"), "iss is another issuer"),
        ("iss", json!([ISSUER]), "iss is not text"),
        ("iss", json!(null), "iss is not text"),
        ("aud", json!("REMOVED"), "aud is missing"),
        ("aud", json!("them"), "aud is another client"),
        ("aud", json!(["them"]), "aud is another client"),
        ("aud", json!([]), "aud is another client"),
        (
            "aud",
            json!(["us", 1]),
            "aud holds something that is not text",
        ),
        (
            "aud",
            json!(["us", null]),
            "aud holds something that is not text",
        ),
        ("aud", json!({"us": true}), "aud is neither text nor a list"),
        ("aud", json!(1), "aud is neither text nor a list"),
        ("aud", json!("us "), "aud is another client"),
        ("aud", json!(["us", "them"]), "azp is missing"),
        ("azp", json!("them"), "azp is another client"),
        ("azp", json!(["us"]), "azp is not text"),
        ("azp", json!(null), "azp is not text"),
        ("exp", json!("REMOVED"), "exp is missing"),
        ("exp", json!(now - 60), "exp was 60 s ago"),
        (
            "exp",
            json!(now - 300),
            "exp was 300 s ago, 60 s are tolerated: the clocks differ",
        ),
        ("exp", json!(0), "exp was"),
        (
            "exp",
            json!((now + 300).to_string()),
            "exp is not a point in time",
        ),
        ("exp", json!(null), "exp is not a point in time"),
        ("exp", json!(true), "exp is not a point in time"),
        ("exp", json!([now + 300]), "exp is not a point in time"),
        ("exp", json!(-1), "exp is not a point in time"),
        ("iat", json!("REMOVED"), "iat is missing"),
        ("iat", json!(now + 61), "iat is 61 s ahead"),
        (
            "iat",
            json!(now + 300),
            "iat is 300 s ahead, 60 s are tolerated: the clocks differ",
        ),
        ("iat", json!(now.to_string()), "iat is not a point in time"),
        ("nbf", json!(now + 61), "nbf is 61 s ahead"),
        (
            "nbf",
            json!((now - 10).to_string()),
            "nbf is not a point in time",
        ),
        ("nbf", json!(null), "nbf is not a point in time"),
        ("nbf", json!({}), "nbf is not a point in time"),
        ("nonce", json!("REMOVED"), "nonce is missing"),
        ("nonce", json!("another"), "nonce is another sign-in's"),
        ("nonce", json!(""), "nonce is another sign-in's"),
        ("nonce", json!(["the-nonce"]), "nonce is not text"),
        (
            "at_hash",
            json!("AAAAAAAAAAAAAAAAAAAAAA"),
            "at_hash is another access token's",
        ),
        ("at_hash", json!(""), "at_hash is another access token's"),
        ("at_hash", json!(null), "at_hash is not text"),
        ("at_hash", json!(1), "at_hash is not text"),
        ("sub", json!("REMOVED"), "sub is missing"),
        ("sub", json!(""), "sub is empty"),
        ("sub", json!("x".repeat(256)), "too long"),
        ("sub", json!(1), "sub is not text"),
    ];
    for (name, value, expected) in rows {
        let error = verifier.check_with(name, value.clone()).expect_err(name);
        assert!(error.contains(expected), "{name} = {value}: {error}");
    }
}

#[test]
fn at_hash_follows_the_signature_s_hash_function() {
    let half = |digest: &[u8]| URL_SAFE_NO_PAD.encode(&digest[..digest.len() / 2]);
    let rows = [
        (Algorithm::RS256, half(&Sha256::digest(ACCESS))),
        (Algorithm::PS256, half(&Sha256::digest(ACCESS))),
        (Algorithm::RS384, half(&Sha384::digest(ACCESS))),
        (Algorithm::PS384, half(&Sha384::digest(ACCESS))),
        (Algorithm::RS512, half(&Sha512::digest(ACCESS))),
        (Algorithm::EdDSA, half(&Sha512::digest(ACCESS))),
    ];
    for (algorithm, hash) in rows {
        let verifier = verifier(algorithm);
        assert!(
            verifier.check_with("at_hash", json!(hash)).is_ok(),
            "{algorithm:?}"
        );
        if hash != half(&Sha256::digest(ACCESS)) {
            let wrong = half(&Sha256::digest(ACCESS));
            assert!(
                verifier.check_with("at_hash", json!(wrong)).is_err(),
                "{algorithm:?}"
            );
        }
    }
}

#[test]
fn forged_signatures_are_refused() {
    let verifier = verifier(Algorithm::RS256);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = encode(&good());
    let real = verifier.key.sign(&good());
    let signature = real.rsplit('.').next().unwrap();

    // alg: none, in its spellings.
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        for tail in ["", signature] {
            let token = format!(
                "{}.{claims}.{tail}",
                encode(&json!({"alg": alg, "kid": "k"}))
            );
            assert!(verifier.check(&token).unwrap_err().contains("alg"), "{alg}");
        }
    }
    // HS256 with what is public, as text and as bytes of the modulus.
    let public = verifier.key.public();
    let modulus = URL_SAFE_NO_PAD
        .decode(public["n"].as_str().unwrap())
        .unwrap();
    for secret in [public.to_string().into_bytes(), modulus] {
        for (alg, name) in [
            (Algorithm::HS256, "HS256"),
            (Algorithm::HS384, "HS384"),
            (Algorithm::HS512, "HS512"),
        ] {
            let mut header = jsonwebtoken::Header::new(alg);
            header.kid = Some("k".to_owned());
            let key = jsonwebtoken::EncodingKey::from_secret(&secret);
            let token = jsonwebtoken::encode(&header, &good(), &key).unwrap();
            assert!(
                verifier.check(&token).unwrap_err().contains("alg"),
                "{name}"
            );
        }
    }
    // Another key under the same name, and no name at all.
    let stranger = SigningKey::fresh("k");
    assert!(verifier.check(&stranger.sign(&good())).is_err());
    // The claims of one token under the signature of another.
    let mut other = good();
    other["sub"] = json!("mallory");
    let mut parts: Vec<&str> = real.split('.').collect();
    let other = encode(&other);
    parts[1] = &other;
    assert!(
        verifier
            .check(&parts.join("."))
            .unwrap_err()
            .contains("signature")
    );
    // RS256 key under the name of another algorithm of the family.
    let mut parts: Vec<String> = real.split('.').map(str::to_owned).collect();
    parts[0] = encode(&json!({"alg": "PS256", "kid": "k"}));
    assert!(verifier.check(&parts.join(".")).is_err());
}

#[test]
fn unusual_headers_are_refused() {
    let verifier = verifier(Algorithm::ES256);
    let payload = good().to_string();
    let check = |header: Value| verifier.check(&verifier.key.sign_raw(&header, &payload));
    assert!(check(json!({"alg": "ES256", "kid": "k"})).is_ok());
    assert!(check(json!({"alg": "ES256", "kid": "k", "typ": "JWT", "x5t": "abc"})).is_ok());
    assert!(check(json!({"alg": "ES256"})).is_ok(), "one key, no name");
    for header in [
        json!({"alg": "ES256", "kid": "k", "crit": ["exp"]}),
        json!({"alg": "ES256", "kid": "k", "crit": []}),
        json!({"alg": "ES256", "kid": "k", "b64": false}),
        json!({"alg": "ES256", "kid": "k", "zip": "DEF"}),
        json!({"alg": "ES256", "kid": "k", "enc": "A256GCM"}),
        json!({"alg": "ES256", "kid": 1}),
        json!({"alg": "ES256", "kid": null}),
        json!({"alg": ["ES256"], "kid": "k"}),
        json!({"kid": "k"}),
        json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"}),
        json!({"alg": "ES256", "kid": "k", "typ": "logout+jwt"}),
        json!({"alg": "ES256", "kid": "k", "typ": "dpop+jwt"}),
        json!({"alg": "ES256", "kid": "k", "typ": 1}),
    ] {
        assert!(check(header.clone()).is_err(), "{header}");
    }
    // A key in the header is not looked at.
    let stranger = SigningKey::fresh("k");
    let header = json!({"alg": "ES256", "kid": "k", "jwk": stranger.public()});
    assert!(
        verifier
            .check(&stranger.sign_raw(&header, &payload))
            .is_err()
    );
}

#[test]
fn repeated_members_and_odd_encodings_are_refused() {
    let verifier = verifier(Algorithm::ES256);
    let header = json!({"alg": "ES256", "kid": "k"});
    let twice = good().to_string().replacen('{', "{\"sub\":\"mallory\",", 1);
    assert!(
        verifier
            .check(&verifier.key.sign_raw(&header, &twice))
            .unwrap_err()
            .contains("repeat")
    );
    for payload in ["", "null", "[]", "\"x\"", "{} {}"] {
        assert!(
            verifier
                .check(&verifier.key.sign_raw(&header, payload))
                .is_err(),
            "{payload}"
        );
    }
    let real = verifier.key.sign(&good());
    for token in [
        format!("{real}="),
        format!("{real}."),
        format!(".{real}"),
        real.replacen('.', "..", 1),
        real.replace('.', " ."),
        format!("{real}\n"),
        String::new(),
        "a.b".to_owned(),
        "x".repeat(40_000),
    ] {
        assert!(verifier.check(&token).is_err(), "{token}");
    }
}

// OpenID Connect Core §12.2: no nonce at a refresh.
#[test]
fn nonce_is_not_asked_for_at_a_refresh() {
    let verifier = verifier(Algorithm::ES256);
    let mut claims = good();
    claims.as_object_mut().unwrap().remove("nonce");
    let expected = Expected {
        issuer: ISSUER,
        issuer_aliases: &[],
        client_id: "us",
        nonce: None,
        access_token: &verifier.access_token,
        now: NOW,
    };
    let token = Secret::new(verifier.key.sign(&claims));
    assert!(validate(&token, &verifier.keys, expected).is_ok());
}
