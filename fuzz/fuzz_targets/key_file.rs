//! Any text as a key file or as a set of keys: no panic, and a key that is read survives being
//! written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth::seal::RootKey;

fuzz_target!(|text: &str| {
    if let Ok(key) = RootKey::from_jwk(text, "file") {
        let again = RootKey::from_jwk(key.to_jwk().expose(), "file").expect("we wrote it");
        assert_eq!(key.kid(), again.kid());
        assert_eq!(key.state, again.state);
    }
    let _ = RootKey::from_jwk_set(text, "variable");
});
