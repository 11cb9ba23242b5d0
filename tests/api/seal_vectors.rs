//! The primitives underneath the tokens, against published vectors, and published tokens of other
//! kinds against our door: Wycheproof (C2SP), RFC 7520 §5, RFC 7516 appendix A.3.

use aes_gcm::aead::{Aead as _, AeadInOut as _, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit as _};
use aes_kw::{KwAes128, KwAes256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use mcp_oauth::entropy;
use mcp_oauth::seal::{Keyring, OpenError, Purpose};
use serde_json::Value;
use sha2::Sha256;

use super::seal::open;
use super::seal_samples::issuer;

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap().as_bytes();
    text.chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn base64(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

fn groups(json: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(json).unwrap();
    file["testGroups"].as_array().unwrap().clone()
}

fn tests(group: &Value) -> &[Value] {
    group["tests"].as_array().unwrap()
}

fn is_valid(test: &Value) -> bool {
    test["result"] == "valid"
}

/// Refused as every purpose; never for a reason that needs the content.
fn is_refused(wire: &str) {
    let ring = Keyring::generate(&issuer(), &mut entropy::rng()).unwrap();
    assert_eq!(ring.purpose_of(wire), None);
    for purpose in Purpose::ALL {
        let refused = open(&ring, purpose, wire).unwrap_err();
        assert!(
            matches!(refused, OpenError::NotSealed | OpenError::TooLong),
            "{refused}"
        );
    }
}

#[test]
fn wycheproof_aes_256_gcm() {
    let mut counted = (0, 0);
    for group in groups(include_str!("../vectors/wycheproof/aes_gcm_test.json")) {
        if (&group["keySize"], &group["ivSize"], &group["tagSize"])
            != (&256.into(), &96.into(), &128.into())
        {
            continue;
        }
        for test in tests(&group) {
            let cipher = Aes256Gcm::new_from_slice(&hex(&test["key"])).unwrap();
            let iv: [u8; 12] = hex(&test["iv"]).try_into().unwrap();
            let tag: [u8; 16] = hex(&test["tag"]).try_into().unwrap();
            let (aad, message) = (hex(&test["aad"]), hex(&test["msg"]));
            let mut buffer = hex(&test["ct"]);
            let opened = cipher.decrypt_inout_detached(
                &iv.into(),
                &aad,
                buffer.as_mut_slice().into(),
                &tag.into(),
            );
            assert_eq!(opened.is_ok(), is_valid(test), "{test}");
            if is_valid(test) {
                assert_eq!(buffer, message, "{test}");
                let sealed = cipher
                    .encrypt_inout_detached(&iv.into(), &aad, buffer.as_mut_slice().into())
                    .unwrap();
                assert_eq!((buffer, sealed.as_slice()), (hex(&test["ct"]), &tag[..]));
                counted.0 += 1;
            } else {
                // What does not verify is not decrypted.
                assert_eq!(buffer, hex(&test["ct"]), "{test}");
                counted.1 += 1;
            }
        }
    }
    assert_eq!(counted, (39, 27));
}

#[test]
fn wycheproof_aes_256_key_wrap() {
    let mut counted = 0;
    for group in groups(include_str!("../vectors/wycheproof/aes_wrap_test.json")) {
        if group["keySize"] != 256 {
            continue;
        }
        for test in tests(&group) {
            let key = KwAes256::new_from_slice(&hex(&test["key"])).unwrap();
            let (message, wrapped) = (hex(&test["msg"]), hex(&test["ct"]));
            let mut buffer = vec![0; wrapped.len()];
            let unwrapped = key.unwrap_key(&wrapped, &mut buffer).ok();
            if is_valid(test) {
                assert_eq!(unwrapped, Some(message.as_slice()), "{test}");
                let mut buffer = vec![0; message.len() + 8];
                let rewrapped = key.wrap_key(&message, &mut buffer).ok();
                assert_eq!(rewrapped, Some(wrapped.as_slice()), "{test}");
            } else if unwrapped.is_some() {
                // Lengths that the crate is lax about and that a token cannot have: 40 bytes only.
                assert_ne!(wrapped.len(), 40, "{test}");
                assert!(message.len() <= 8, "{test}");
            }
            counted += 1;
        }
    }
    assert_eq!(counted, 68);
}

#[test]
fn wycheproof_hkdf_sha_256() {
    let mut counted = 0;
    for group in groups(include_str!("../vectors/wycheproof/hkdf_sha256_test.json")) {
        for test in tests(&group) {
            let kdf = Hkdf::<Sha256>::new(Some(&hex(&test["salt"])), &hex(&test["ikm"]));
            let length = usize::try_from(test["size"].as_u64().unwrap()).unwrap();
            let mut derived = vec![0; length];
            let result = kdf.expand(&hex(&test["info"]), &mut derived);
            assert_eq!(result.is_ok(), is_valid(test), "{test}");
            if is_valid(test) {
                assert_eq!(derived, hex(&test["okm"]), "{test}");
            }
            counted += 1;
        }
    }
    assert_eq!(counted, 86);
}

// K3: one algorithm pair, one header form; everything else is somebody else's token.
#[test]
fn wycheproof_jwe_is_refused_to_the_last() {
    let mut counted = 0;
    for group in groups(include_str!(
        "../vectors/wycheproof/json_web_encryption_test.json"
    )) {
        for test in tests(&group) {
            is_refused(test["jwe"].as_str().unwrap());
            counted += 1;
        }
    }
    assert_eq!(counted, 139);
}

macro_rules! cookbook {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            "../vectors/jose-cookbook/jwe/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}

/// Decrypts the content of an RFC 7520 example of `A128GCM`.
fn decrypt(example: &Value, content_key: &[u8]) -> String {
    let content = &example["encrypting_content"];
    let sealed = [base64(&content["ciphertext"]), base64(&content["tag"])].concat();
    let iv: [u8; 12] = base64(&example["generated"]["iv"]).try_into().unwrap();
    let payload = Payload {
        msg: &sealed,
        aad: content["protected_b64u"].as_str().unwrap().as_bytes(),
    };
    let cipher = Aes128Gcm::new_from_slice(content_key).unwrap();
    String::from_utf8(cipher.decrypt(&iv.into(), payload).unwrap()).unwrap()
}

#[test]
fn rfc_7520_section_5_6_direct_encryption() {
    let example = cookbook!("5_6.direct_encryption_using_aes-gcm");
    let plaintext = decrypt(&example, &base64(&example["input"]["key"]["k"]));
    assert_eq!(plaintext, example["input"]["plaintext"]);
    is_refused(example["output"]["compact"].as_str().unwrap());
}

#[test]
fn rfc_7520_section_5_8_key_wrap() {
    let example = cookbook!("5_8.key_wrap_using_aes-keywrap_with_aes-gcm");
    let key = KwAes128::new_from_slice(&base64(&example["input"]["key"]["k"])).unwrap();
    let mut content_key = [0; 16];
    key.unwrap_key(
        &base64(&example["encrypting_key"]["encrypted_key"]),
        &mut content_key,
    )
    .ok()
    .unwrap();
    assert_eq!(content_key.to_vec(), base64(&example["generated"]["cek"]));
    let plaintext = decrypt(&example, &content_key);
    assert_eq!(plaintext, example["input"]["plaintext"]);
    is_refused(example["output"]["compact"].as_str().unwrap());
}

#[test]
fn rfc_7520_passwords_compression_and_json_forms_are_refused() {
    for example in [
        cookbook!("5_3.key_wrap_using_pbes2-aes-keywrap_with-aes-cbc-hmac-sha2"),
        cookbook!("5_9.compressed_content"),
        cookbook!("5_10.including_additional_authentication_data"),
        cookbook!("5_11.protecting_specific_header_fields"),
        cookbook!("5_12.protecting_content_only"),
        cookbook!("5_13.encrypting_to_multiple_recipients"),
    ] {
        let forms = example["output"].as_object().unwrap();
        assert!(!forms.is_empty());
        for form in forms.values() {
            match form {
                Value::String(compact) => is_refused(compact),
                json => is_refused(&json.to_string()),
            }
        }
    }
}

#[test]
fn rfc_7516_appendix_a_3_unwraps_and_is_refused() {
    let example: Value =
        serde_json::from_str(include_str!("../vectors/rfc/rfc7516-a3.json")).unwrap();
    let wire = example["jwe"].as_str().unwrap();
    let wrapped = URL_SAFE_NO_PAD
        .decode(wire.split('.').nth(1).unwrap())
        .unwrap();
    let key = KwAes128::new_from_slice(&base64(&example["key"]["k"])).unwrap();
    let mut content_key = [0; 32];
    key.unwrap_key(&wrapped, &mut content_key).ok().unwrap();
    assert_eq!(content_key.to_vec(), hex(&example["cek_hex"]));
    is_refused(wire);
}
