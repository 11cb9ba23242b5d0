//! Root keys in files and in the environment, and how a running server follows them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use mcp_oauth::entropy;
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::oauth::records::{ClientRegistration, SessionId};
use mcp_oauth::seal::{
    KeyDirectory, KeyError, KeySource, KeyState, Keyring, Keys, Kid, OpenError, RootKey, Sealed,
};
use serde_json::{Value, json};

use super::seal_samples::{NOW, issuer, registration, session};

const FIVE_SECONDS: Duration = Duration::from_secs(5);

fn key(state: KeyState) -> RootKey {
    RootKey::generate(state, NOW, &mut entropy::rng())
}

fn jwk(key: &RootKey) -> Value {
    serde_json::from_str(key.to_jwk().expose()).unwrap()
}

/// The same key with some members changed; `null` removes one.
fn changed(key: &RootKey, members: &Value) -> String {
    let mut jwk = jwk(key);
    for (name, value) in members.as_object().unwrap() {
        if value.is_null() {
            jwk.as_object_mut().unwrap().remove(name);
        } else {
            jwk[name] = value.clone();
        }
    }
    jwk.to_string()
}

fn put(directory: &Path, name: &str, content: &str) {
    fs::write(directory.join(name), content).unwrap();
}

fn source(directory: &Path) -> KeySource {
    KeySource::Directory {
        path: directory.to_owned(),
        create: false,
    }
}

fn load(source: &KeySource) -> Result<Keys, KeyError> {
    Keys::load(source, &issuer(), NOW, &mut entropy::rng())
}

fn seal(keys: &[RootKey]) -> Sealed<SessionId> {
    let ring = Keyring::new(keys, &issuer(), "test").unwrap();
    ring.seal(&session(), &mut entropy::rng()).unwrap()
}

/// A key as another process would have it.
fn copy(key: &RootKey, state: KeyState) -> RootKey {
    let members = json!({ "state": state.to_string() });
    RootKey::from_jwk(&changed(key, &members), "copy").unwrap()
}

fn complaint(json: &str) -> String {
    RootKey::from_jwk(json, "keys/key-1.jwk")
        .unwrap_err()
        .to_string()
}

#[test]
fn key_comes_back_from_its_file_as_it_was() {
    let key = key(KeyState::Active);
    let again = RootKey::from_jwk(key.to_jwk().expose(), "file").unwrap();
    assert_eq!(again.kid(), key.kid());
    assert_eq!(again.state, KeyState::Active);
    assert_eq!((again.created_at, again.activated_at), (NOW, Some(NOW)));
    assert!(seal(&[key]).as_str().starts_with("eyJhbGciOiJBMjU2S1ci"));
}

#[test]
fn kid_is_the_thumbprint_of_the_key() {
    // RFC 7638 §3: SHA-256 over {"k":"…","kty":"oct"}; checked against another implementation.
    let jwk = json!({ "kty": "oct", "k": "W1vBUI1-5HARc-qyT8hcYBt6q9sFNsztBrhlbl9W2CA" });
    let key = RootKey::from_jwk(&jwk.to_string(), "file").unwrap();
    assert_eq!(key.kid().to_string(), "e7bd92b70438");
    assert_eq!(Kid::parse("e7bd92b70438").as_ref(), Some(key.kid()));
    for text in [
        "",
        "e7bd92b7043",
        "+12345678901",
        "0e7bd92b70438",
        "zzzzzzzzzzzz",
    ] {
        assert_eq!(Kid::parse(text), None, "{text}");
    }
}

#[test]
fn unfit_key_is_named_with_what_to_do() {
    let key = key(KeyState::Active);
    let cases = [
        (json!({ "k": "correct horse battery staple" }), "passphrase"),
        // Text of the right length, encoded, is a passphrase still.
        (
            json!({ "k": "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSEhISE" }),
            "passphrase",
        ),
        (
            json!({ "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
            "pattern",
        ),
        (json!({ "k": "GawgguFyGrWKav7AX4VKUg" }), "16 bytes, not 32"),
        (json!({ "kid": "000000000000" }), "does not belong"),
        (json!({ "kty": "RSA" }), "`kty`"),
        (json!({ "alg": "HS256" }), "`alg`"),
        (json!({ "use": "sig" }), "`use`"),
        (json!({ "state": "aktive" }), "`state`"),
        (json!({ "stat": "active" }), "unknown field `stat`"),
        (json!({ "k": null }), "missing field `k`"),
        (json!({ "created_at": "yesterday" }), "wrong type"),
    ];
    for (members, hint) in cases {
        let complaint = complaint(&changed(&key, &members));
        assert!(complaint.starts_with("keys/key-1.jwk: "), "{complaint}");
        assert!(complaint.contains(hint), "{complaint} should say {hint}");
    }
    assert!(complaint("{").contains("not JSON (line 1, column 1)"));
}

#[test]
fn complaint_never_quotes_the_key() {
    let hidden = "hunter2hunter2hunter2";
    for text in [
        hidden.to_owned(),
        format!("\"{hidden}\""),
        format!(r#"{{"kty":"oct","k":"{hidden}"}}"#),
        format!(r#"{{"kty":"{hidden}","k":"AAAA"}}"#),
        format!(r#"{{"kty":"oct","k":["{hidden}"]}}"#),
        format!(r#"{{"kty":"oct","k":"AAAA","created_at":"{hidden}"}}"#),
        format!(r#"{{"kty":"oct","k":"AAAA","state":"{hidden}"}}"#),
    ] {
        assert!(!complaint(&text).contains("hunter2"), "{text}");
        let set = RootKey::from_jwk_set(&text, "MCP_OAUTH_KEYS").unwrap_err();
        assert!(!set.to_string().contains("hunter2"), "{text}");
    }
    assert!(!format!("{:?}", key(KeyState::Active)).contains("k\":"));
}

#[test]
fn states_decide_what_opens() {
    let (old, new) = (key(KeyState::Active), key(KeyState::Active));
    let before = Keyring::new(&[copy(&old, KeyState::Active)], &issuer(), "test").unwrap();
    let token = before.seal(&session(), &mut entropy::rng()).unwrap();
    let client = before.seal(&registration(1), &mut entropy::rng()).unwrap();
    let secret = before.client_secret(old.kid(), client.as_str()).unwrap();

    let cases = [
        (KeyState::Accept, None, None, true),
        (KeyState::Retired, Some(OpenError::RetiredKey), None, true),
        (
            KeyState::Revoked,
            Some(OpenError::RevokedKey),
            Some(OpenError::RevokedKey),
            false,
        ),
    ];
    for (state, token_refused, client_refused, has_secret) in cases {
        let keys = [copy(&old, state), copy(&new, KeyState::Active)];
        let ring = Keyring::new(&keys, &issuer(), "test").unwrap();
        assert_eq!(ring.active(), new.kid());
        assert_eq!(ring.open(&token, NOW).err(), token_refused);
        assert_eq!(ring.open(&client, NOW).err(), client_refused);
        let derived = ring.client_secret(old.kid(), client.as_str());
        assert_eq!(derived.is_some(), has_secret);
        assert!(derived.is_none_or(|it| it.matches(secret.expose())));
    }
}

#[test]
fn latest_activation_seals() {
    let keys: Vec<_> = [3, 9, 6]
        .into_iter()
        .map(|at| {
            let members = json!({ "activated_at": at });
            RootKey::from_jwk(&changed(&key(KeyState::Active), &members), "test").unwrap()
        })
        .collect();
    let ring = Keyring::new(&keys, &issuer(), "test").unwrap();
    assert_eq!(ring.active(), keys[1].kid());
}

#[test]
fn ring_needs_one_active_key_and_no_twins() {
    let error = |keys: &[RootKey]| Keyring::new(keys, &issuer(), "keys").unwrap_err();
    assert!(matches!(error(&[]), KeyError::Missing(_)));
    let idle = [key(KeyState::Accept), key(KeyState::Retired)];
    assert!(matches!(error(&idle), KeyError::NoneActive(_)));
    let one = key(KeyState::Active);
    let twins = [copy(&one, KeyState::Active), copy(&one, KeyState::Revoked)];
    assert!(matches!(error(&twins), KeyError::Twice(kid) if kid == *one.kid()));
}

#[test]
fn inline_set_is_read_and_its_faults_are_numbered() {
    let (active, waiting) = (key(KeyState::Active), key(KeyState::Accept));
    let set = json!({ "keys": [jwk(&waiting), jwk(&active)] }).to_string();
    let keys = load(&KeySource::Inline(Secret::new(set))).unwrap();
    assert_eq!(keys.current().active(), active.kid());
    assert!(!keys.reload(), "the environment does not change");

    // Bare keys, as another tool makes them, seal.
    let bare = changed(
        &active,
        &json!({ "kid": null, "state": null, "created_at": null, "activated_at": null }),
    );
    let keys = load(&KeySource::Inline(Secret::new(format!(
        "{{\"keys\":[{bare}]}}"
    ))))
    .unwrap();
    assert_eq!(keys.current().active(), active.kid());

    let set = json!({ "keys": [jwk(&active), { "kty": "oct", "k": "AAAA" }] }).to_string();
    let error = load(&KeySource::Inline(Secret::new(set))).unwrap_err();
    assert!(
        error.to_string().starts_with("MCP_OAUTH_KEYS, key 2: "),
        "{error}"
    );
}

#[test]
fn directory_ignores_what_is_not_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let active = key(KeyState::Active);
    put(directory.path(), "root.json", active.to_jwk().expose());
    put(directory.path(), "README.md", "# Keys");
    put(directory.path(), ".gitignore", "*");
    put(directory.path(), ".half.jwk", "{");
    let keys = load(&source(directory.path())).unwrap();
    assert_eq!(keys.current().active(), active.kid());
}

#[test]
fn nothing_is_made_unless_asked() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(&source(&directory.path().join("keys"))).unwrap_err();
    assert!(
        error.to_string().contains("mcp-oauth keys generate"),
        "{error}"
    );
    assert!(!directory.path().join("keys").exists());
}

#[test]
fn first_key_is_private_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let create = KeySource::Directory {
        path: path.clone(),
        create: true,
    };
    let first = load(&create).unwrap().current().active().clone();
    let again = load(&create).unwrap().current().active().clone();
    assert_eq!(first, again);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    assert_eq!(files, [path.join("key-1.jwk")], "no draft stays behind");
    assert_eq!(mode(&files[0]), 0o600);
}

#[test]
fn processes_that_start_together_end_up_with_one_key() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let create = KeySource::Directory {
            path: directory.path().join("keys"),
            create: true,
        };
        let barrier = Barrier::new(8);
        let kids: Vec<Kid> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                load(&create).unwrap().current().active().clone()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(kids.iter().all(|kid| *kid == kids[0]), "{kids:?}");
    }
}

#[test]
fn file_that_others_can_read_is_marked() {
    let directory = tempfile::tempdir().unwrap();
    let keys = KeyDirectory::new(directory.path());
    let file = keys.add(key(KeyState::Active)).unwrap();
    assert!(!keys.read().unwrap()[0].exposed);
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(keys.read().unwrap()[0].exposed, "{mode:o}");
    }
    keys.replace(&keys.read().unwrap()[0]).unwrap();
    assert!(
        !keys.read().unwrap()[0].exposed,
        "a rewrite closes it again"
    );
}

#[test]
fn unknown_key_is_looked_for_at_once_and_then_at_most_every_five_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new, newer) = (
        key(KeyState::Active),
        key(KeyState::Active),
        key(KeyState::Active),
    );
    put(directory.path(), "old.jwk", old.to_jwk().expose());
    let keys = load(&source(directory.path())).unwrap();

    let token = seal(&[copy(&new, KeyState::Active)]);
    put(directory.path(), "new.jwk", new.to_jwk().expose());
    assert!(keys.open(&token, NOW).is_ok());
    assert!(keys.open(&seal(&[old]), NOW).is_ok());

    let token = seal(&[copy(&newer, KeyState::Active)]);
    put(directory.path(), "newer.jwk", newer.to_jwk().expose());
    let soon = NOW.plus(Duration::from_secs(4));
    assert_eq!(keys.open(&token, soon).unwrap_err(), OpenError::UnknownKey);
    assert!(keys.open(&token, NOW.plus(FIVE_SECONDS)).is_ok());
}

// F22
#[test]
fn token_opens_at_every_step_of_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (key(KeyState::Active), key(KeyState::Accept));
    put(directory.path(), "old.jwk", old.to_jwk().expose());
    let (one, two) = (
        load(&source(directory.path())).unwrap(),
        load(&source(directory.path())).unwrap(),
    );
    let client = one
        .current()
        .seal(&registration(1), &mut entropy::rng())
        .unwrap();
    let both_open = || {
        for (from, to) in [(&one, &two), (&two, &one)] {
            let token = from
                .current()
                .seal(&session(), &mut entropy::rng())
                .unwrap();
            assert!(to.open(&token, NOW).is_ok());
            assert!(to.open::<ClientRegistration>(&client, NOW).is_ok());
        }
    };
    let later = json!({ "state": "active", "activated_at": NOW.as_secs() + 1 });
    let steps = [
        ("new.jwk", changed(&new, &json!({ "state": "accept" }))),
        ("new.jwk", changed(&new, &later)),
        ("old.jwk", changed(&old, &json!({ "state": "accept" }))),
        ("old.jwk", changed(&old, &json!({ "state": "retired" }))),
    ];
    for (name, content) in steps {
        put(directory.path(), name, &content);
        // One replica is always a step behind the other.
        assert!(one.reload());
        both_open();
        assert!(two.reload());
        both_open();
    }
    assert_eq!(one.current().active(), new.kid());
}

// F24
#[test]
fn bad_file_keeps_the_old_ring() {
    let directory = tempfile::tempdir().unwrap();
    let active = key(KeyState::Active);
    let good = active.to_jwk();
    put(directory.path(), "key.jwk", good.expose());
    let keys = load(&source(directory.path())).unwrap();
    let token = seal(&[active]);

    let half = &good.expose()[..good.expose().len() / 2];
    let idle = key(KeyState::Accept).to_jwk();
    for bad in ["", "{}", half, idle.expose(), "\u{0}"] {
        put(directory.path(), "key.jwk", bad);
        assert!(!keys.reload());
        assert!(keys.open(&token, NOW).is_ok());
    }
    fs::remove_file(directory.path().join("key.jwk")).unwrap();
    assert!(!keys.reload());
    fs::create_dir(directory.path().join("key.jwk")).unwrap();
    assert!(!keys.reload());
    assert!(keys.open(&token, NOW).is_ok());
    fs::remove_dir(directory.path().join("key.jwk")).unwrap();

    let next = key(KeyState::Active);
    put(directory.path(), "key.jwk", next.to_jwk().expose());
    assert!(keys.reload());
    assert_eq!(keys.current().active(), next.kid());
}

// F23, and the way orchestrators replace a whole directory.
#[tokio::test(start_paused = true)]
async fn watch_follows_a_swapped_symbolic_link_within_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (key(KeyState::Active), key(KeyState::Active));
    for (version, key) in [("..1", &old), ("..2", &new)] {
        fs::create_dir(directory.path().join(version)).unwrap();
        put(
            &directory.path().join(version),
            "key.jwk",
            key.to_jwk().expose(),
        );
    }
    symlink("..1", directory.path().join("..data")).unwrap();
    symlink("..data/key.jwk", directory.path().join("key.jwk")).unwrap();
    let keys = Arc::new(load(&source(directory.path())).unwrap());
    let watch = tokio::spawn(Arc::clone(&keys).watch());
    assert_eq!(keys.current().active(), old.kid());

    symlink("..2", directory.path().join("..next")).unwrap();
    let (from, to) = (
        directory.path().join("..next"),
        directory.path().join("..data"),
    );
    fs::rename(from, to).unwrap();
    tokio::time::sleep(2 * FIVE_SECONDS).await;
    assert_eq!(keys.current().active(), new.kid());
    let refused = keys.open(&seal(&[old]), NOW).unwrap_err();
    assert_eq!(refused, OpenError::UnknownKey);
    watch.abort();
}
