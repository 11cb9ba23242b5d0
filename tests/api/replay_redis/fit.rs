//! Which servers are fit to be the store, and how they are reached: eviction, users, TLS.

use std::path::Path;

use mcp_oauth::oauth::names::Secret;
use mcp_oauth::replay::ReplayStore as _;
use mcp_oauth::replay::redis::{OpenError, RedisSettings, RedisStore};
use mcp_oauth::time::SystemClock;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::server::{self, free_port};
use super::{PREFIX, Rig, open};
use crate::api::replay::{CLAIM, Time as _, World, codes, grant, refresh, revocations};

#[tokio::test]
async fn store_that_evicts_is_refused_at_start() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let arguments = ["--maxmemory", "64mb", "--maxmemory-policy", policy];
        let Some(rig) = Rig::start_with(&arguments).await else {
            return;
        };
        let refused = open(&rig.server.url(), rig.clock.clone()).await;
        let Err(OpenError::Refused(why)) = refused else {
            panic!("{policy} was accepted");
        };
        assert!(why.contains(policy) && why.contains("noeviction"), "{why}");
    }
    let arguments = ["--maxmemory", "64mb", "--maxmemory-policy", "noeviction"];
    let Some(rig) = Rig::start_with(&arguments).await else {
        return;
    };
    rig.first().await.ready().await.expect("fit");
}

#[tokio::test]
async fn user_needs_what_the_documentation_says_and_no_more() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let rights = "+@read +@write +@scripting +@connection +time +info";
    let user = format!("ACL SETUSER oauth on >pa55 resetkeys ~{PREFIX}* -@all {rights}");
    rig.server.tell(&user.split(' ').collect::<Vec<_>>()).await;
    rig.server.tell(&["ACL", "SETUSER", "default", "off"]).await;
    let at = |user: &str| format!("redis://{user}@127.0.0.1:{}", rig.server.port);
    let store = open(&at("oauth:pa55"), rig.clock.clone())
        .await
        .expect("the user may");
    let world = World {
        store: std::sync::Arc::new(store),
        time: Box::new(Patience),
    };
    world.advance(std::time::Duration::from_secs(5)).await;
    codes::code_is_claimed_once(&world).await;
    codes::assertion_is_claimed_with_the_code(&world).await;
    refresh::of_many_concurrent_refreshes_one_leads(&world).await;
    revocations::revoked_grant_is_revoked_everywhere(&world).await;
    world
        .store
        .park(grant(), vec![1], CLAIM)
        .await
        .expect("the user may");

    let error = open_briefly(&at("oauth:wrong"), None, &rig).await;
    assert!(!error.to_string().contains("wrong"), "{error}");
}

/// Time that passes by itself.
struct Patience;

#[async_trait::async_trait]
impl crate::api::replay::Time for Patience {
    async fn advance(&self, by: std::time::Duration) {
        tokio::time::sleep(by).await;
    }
}

/// Opens a store that must not open.
async fn open_briefly(url: &str, authorities: Option<Vec<u8>>, rig: &Rig) -> OpenError {
    let settings = RedisSettings {
        url: Secret::new(url),
        prefix: PREFIX.into(),
        capacity: 10,
        authorities,
    };
    let opened = RedisStore::open(settings, rig.clock.clone()).await;
    opened.expect_err("it must not open")
}

/// An authority and a certificate of it for this computer, as PEM files in a directory.
fn certify(directory: &Path) -> Vec<u8> {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority
        .self_signed(&authority_key)
        .expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".into()])
        .expect("parameters")
        .signed_by(&key, &Issuer::new(authority, authority_key))
        .expect("a certificate");
    std::fs::write(directory.join("server.pem"), server.pem()).expect("written");
    std::fs::write(directory.join("server.key"), key.serialize_pem()).expect("written");
    certificate.pem().into_bytes()
}

/// A server that also speaks TLS, and the authority of its certificate; `None` where the server at
/// hand was built without.
async fn with_tls() -> Option<(Rig, u16, Vec<u8>, TempDir)> {
    let directory = TempDir::new().expect("a directory");
    let authority = certify(directory.path());
    let file = |name: &str| directory.path().join(name).display().to_string();
    let port = free_port();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let arguments = [
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
    ];
    if !server::speaks_tls() {
        return None;
    }
    let rig = Rig::start_with(&arguments).await?;
    Some((rig, port, authority, directory))
}

#[tokio::test]
async fn tls_needs_an_authority_that_is_trusted() {
    let Some((rig, port, authority, _directory)) = with_tls().await else {
        return;
    };
    let stranger = certify(TempDir::new().expect("a directory").path());
    let url = format!("rediss://localhost:{port}");
    let settings = |authorities| RedisSettings {
        url: Secret::new(url.as_str()),
        prefix: PREFIX.into(),
        capacity: 10,
        authorities,
    };
    let store = RedisStore::open(settings(Some(authority)), rig.clock.clone()).await;
    let store = store.expect("the authority is trusted");
    rig.advance(std::time::Duration::from_secs(5)).await;
    store.ready().await.expect("ready over TLS");

    let (public, strange) = tokio::join!(
        open_briefly(&url, None, &rig),
        open_briefly(&url, Some(stranger), &rig),
    );
    assert!(matches!(public, OpenError::Unreachable(_)), "{public:?}");
    assert!(matches!(strange, OpenError::Unreachable(_)), "{strange:?}");
    // There is no switch that turns the check off.
    let insecure = open_briefly(&format!("{url}/#insecure"), None, &rig).await;
    assert!(!insecure.to_string().is_empty());
}

/// Starts the whole server from a file with these lines in `[replay]`.
async fn start(directory: &Path, replay: &str) -> Result<mcp_oauth::server::Server, String> {
    let keys = directory.join("keys").display().to_string();
    let file = directory.join("mcp-oauth.toml");
    let text = format!(
        "public_url = \"http://127.0.0.1:8080\"\n[keys]\ndirectory = \"{keys}\"\n\
         [upstreams.github]\nprovider = \"github\"\nclient_id = \"us\"\n\
         client_secret = \"0123456789abcdef\"\n\
         [[resources]]\npath = \"/mcp\"\nbackend = \"http://127.0.0.1:1/mcp\"\n\
         [access]\nallow_all = true\n[replay]\nstore = \"redis\"\n{replay}\n"
    );
    std::fs::write(&file, text).expect("written");
    let flags = mcp_oauth::config::Flags::default();
    let config = mcp_oauth::config::load(Some(&file), Vec::new(), &flags);
    let config = config.map_err(|problems| problems.to_string())?;
    let clock = std::sync::Arc::new(SystemClock::start());
    let server = mcp_oauth::server::Server::assemble(config, clock).await;
    server.map_err(|error| error.to_string())
}

// A user with a password, over TLS that a private authority vouches for: as managed stores are.
#[tokio::test]
async fn ca_file_is_what_lets_a_server_use_a_store_with_a_private_authority() {
    let Some((rig, port, authority, directory)) = with_tls().await else {
        return;
    };
    let rights = "+@read +@write +@scripting +@connection +time +info";
    let user = format!("ACL SETUSER oauth on >pa55 resetkeys ~{PREFIX}* -@all {rights}");
    rig.server.tell(&user.split(' ').collect::<Vec<_>>()).await;
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority).expect("written");
    let store = format!(
        "url = \"rediss://oauth:pa55@localhost:{port}\"\nprefix = \"{PREFIX}\"\nca_file = \"{}\"",
        ca.display()
    );
    let server = start(directory.path(), &store).await;
    let guarantees = server.expect("the authority is the store's").guarantees();
    // DP6
    assert_eq!(
        (guarantees.store, guarantees.code_single_use),
        ("redis", "exact on all replicas")
    );
    let (without, _) = store
        .split_once("\nca_file")
        .expect("a line for the authority");
    let refused = start(directory.path(), without).await;
    let error = refused.expect_err("the public authorities do not know it");
    assert!(error.contains("not reached"), "{error}");
    assert!(!error.contains("pa55"), "{error}");
}

#[tokio::test]
async fn wrong_address_is_an_error_without_the_secret() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    for url in ["http://:s3cret@127.0.0.1", "redis://", "not a url s3cret"] {
        let error = open_briefly(url, None, &rig).await;
        assert!(matches!(error, OpenError::Address(_)), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("s3cret"));
    }
}

#[tokio::test]
async fn nothing_secret_shows_in_debug() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    assert!(!format!("{store:?}").contains(&rig.server.port.to_string()));
}
