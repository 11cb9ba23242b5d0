//! `mcp-oauth keys` and `mcp-oauth token`, as typed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use mcp_oauth::cli::keys::{KeysArgs, KeysCommandError, run_keys};
use mcp_oauth::cli::token::{Deployment, TokenArgs, TokenCommandError, run_token};
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::seal::{
    KeyDirectory, KeySource, KeyState, Keyring, Keys, OpenError, Record, RootKey,
};
use mcp_oauth::time::Timestamp;
use tempfile::TempDir;

use super::seal_samples::{self as sample, NOW, issuer};

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[derive(Parser)]
enum Cli {
    Keys(KeysArgs),
    Token(TokenArgs),
}

fn parse(command: &str, directory: &Path) -> Result<Cli, clap::Error> {
    let words = ["mcp-oauth"].into_iter().chain(command.split_whitespace());
    let directory = directory.to_str().unwrap();
    Cli::try_parse_from(words.chain(["--directory", directory]))
}

/// Runs `mcp-oauth keys …` and gives back what it prints.
pub(crate) fn keys_at(
    now: Timestamp,
    directory: &TempDir,
    command: &str,
    answer: &str,
) -> Result<String, KeysCommandError> {
    let Ok(Cli::Keys(args)) = parse(&format!("keys {command}"), directory.path()) else {
        panic!("{command}");
    };
    let mut out = Vec::new();
    let mut rng = entropy::rng();
    run_keys(&args, &mut answer.as_bytes(), &mut out, now, &mut rng)?;
    Ok(String::from_utf8(out).unwrap())
}

fn keys(directory: &TempDir, command: &str) -> Result<String, KeysCommandError> {
    keys_at(NOW, directory, command, "")
}

fn read(directory: &TempDir) -> Vec<RootKey> {
    let files = KeyDirectory::new(directory.path()).read().unwrap();
    files.into_iter().map(|file| file.key).collect()
}

fn states(directory: &TempDir) -> Vec<KeyState> {
    read(directory).iter().map(|key| key.state).collect()
}

fn ring(directory: &TempDir) -> Keyring {
    Keyring::new(&read(directory), &issuer(), "test").unwrap()
}

fn generated() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    keys(&directory, "generate").unwrap();
    directory
}

/// A directory whose first key has been replaced by a second one.
fn rotated() -> TempDir {
    let directory = generated();
    keys(&directory, "rotate").unwrap();
    keys_at(NOW.plus(TEN_MINUTES), &directory, "rotate --promote", "").unwrap();
    directory
}

#[test]
fn generate_makes_the_first_key_and_no_second() {
    let directory = generated();
    assert_eq!(states(&directory), [KeyState::Active]);
    let refused = keys(&directory, "generate").unwrap_err();
    assert!(refused.to_string().contains("keys rotate"), "{refused}");
    assert_eq!(read(&directory).len(), 1);
}

#[test]
fn generate_to_standard_output_is_a_set_for_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let set = keys(&directory, "generate --stdout").unwrap();
    assert!(read(&directory).is_empty());
    let source = KeySource::Inline(Secret::new(set));
    assert!(Keys::load(&source, &issuer(), NOW, &mut entropy::rng()).is_ok());
}

#[test]
fn list_shows_states_and_ages_and_no_key_material() {
    let directory = rotated();
    let later = NOW.plus(Duration::from_secs(3 * 86_400));
    let list = keys_at(later, &directory, "list", "").unwrap();
    for key in read(&directory) {
        assert!(list.contains(&key.kid().to_string()), "{list}");
        let jwk: serde_json::Value = serde_json::from_str(key.to_jwk().expose()).unwrap();
        assert!(!list.contains(jwk["k"].as_str().unwrap()));
    }
    assert!(list.contains("seals    3 days ago"), "{list}");
    assert!(list.contains("accept   3 days ago"), "{list}");

    let empty = tempfile::tempdir().unwrap();
    assert!(
        keys(&empty, "list")
            .unwrap_err()
            .to_string()
            .contains("keys generate")
    );
}

#[cfg(unix)]
#[test]
fn list_warns_of_files_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = generated();
    let path = directory.path().join("key-1.jwk");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(keys(&directory, "list").unwrap().contains("chmod 600"));
}

// F22
#[test]
fn rotation_takes_two_steps_ten_minutes_apart() {
    let directory = generated();
    let first = ring(&directory).active().clone();
    assert!(matches!(
        keys(&directory, "rotate --promote"),
        Err(KeysCommandError::NoneWaiting)
    ));
    keys(&directory, "rotate").unwrap();
    assert_eq!(ring(&directory).active(), &first);
    assert!(matches!(
        keys(&directory, "rotate"),
        Err(KeysCommandError::Waiting(_))
    ));

    let early = NOW.plus(Duration::from_secs(540));
    let refused = keys_at(early, &directory, "rotate --promote", "").unwrap_err();
    assert!(refused.to_string().contains("wait 60 seconds"), "{refused}");
    assert_eq!(ring(&directory).active(), &first);

    keys_at(NOW.plus(TEN_MINUTES), &directory, "rotate --promote", "").unwrap();
    assert_ne!(ring(&directory).active(), &first);
    let mut states = states(&directory);
    states.sort_unstable();
    assert_eq!(states, [KeyState::Active, KeyState::Accept]);
    // What has sealed before does not wait again.
    assert!(matches!(
        keys(&directory, "rotate --promote"),
        Err(KeysCommandError::NoneWaiting)
    ));
}

#[test]
fn promotion_can_be_forced() {
    let directory = generated();
    let first = ring(&directory).active().clone();
    keys(&directory, "rotate").unwrap();
    keys(&directory, "rotate --promote --now").unwrap();
    assert_ne!(ring(&directory).active(), &first);
    assert!(parse("keys rotate --now", directory.path()).is_err());
}

#[test]
fn promoted_key_seals_even_if_the_clock_was_set_back() {
    let directory = generated();
    let first = ring(&directory).active().clone();
    let behind = NOW.minus(Duration::from_secs(3_600));
    keys_at(behind, &directory, "rotate", "").unwrap();
    keys_at(behind, &directory, "rotate --promote --now", "").unwrap();
    assert_ne!(ring(&directory).active(), &first);
}

#[test]
fn retired_key_opens_registrations_and_the_sealing_one_is_not_retired() {
    let directory = generated();
    let old = ring(&directory);
    let client = old
        .seal(&sample::registration(1), &mut entropy::rng())
        .unwrap();
    let token = old.seal(&sample::session(), &mut entropy::rng()).unwrap();
    let refused = keys(&directory, &format!("retire {}", old.active()));
    assert!(matches!(refused, Err(KeysCommandError::Sealing(_))));

    keys(&directory, "rotate").unwrap();
    keys(&directory, "rotate --promote --now").unwrap();
    keys(&directory, &format!("retire {}", old.active())).unwrap();
    let ring = ring(&directory);
    assert!(ring.open(&client, NOW).is_ok());
    assert_eq!(ring.open(&token, NOW).unwrap_err(), OpenError::RetiredKey);
}

#[test]
fn unknown_key_is_said_so() {
    let directory = generated();
    let refused = keys(&directory, "retire 000000000000").unwrap_err();
    assert!(refused.to_string().contains("000000000000"));
    assert!(parse("keys retire nonsense", directory.path()).is_err());
}

#[test]
fn revoke_says_what_it_breaks_and_asks() {
    let directory = rotated();
    let old = read(&directory)[0].kid().clone();
    let before = states(&directory);
    for answer in ["", "no\n", "\n", "yesterday\n"] {
        let declined = keys_at(NOW, &directory, &format!("revoke {old}"), answer);
        assert!(
            matches!(declined, Err(KeysCommandError::Declined)),
            "{answer:?}"
        );
        assert_eq!(states(&directory), before);
    }
    let said = keys_at(NOW, &directory, &format!("revoke {old}"), "yes\n").unwrap();
    assert!(
        said.contains("sign in again") && said.contains("register again"),
        "{said}"
    );
    assert_eq!(states(&directory)[0], KeyState::Revoked);
    // Already sealed with by another: nothing else changes.
    assert_eq!(states(&directory)[1], KeyState::Active);
    let refused = keys(&directory, &format!("retire {old}"));
    assert!(matches!(refused, Err(KeysCommandError::Revoked(_))));
}

// F23: a ring without a sealing key would be refused by running servers, and the leak stay open.
#[test]
fn revoking_the_sealing_key_puts_another_in_its_place() {
    let directory = generated();
    let old = ring(&directory);
    let token = old.seal(&sample::session(), &mut entropy::rng()).unwrap();
    keys(&directory, &format!("revoke {} --yes", old.active())).unwrap();
    let new = ring(&directory);
    assert_eq!(new.open(&token, NOW).unwrap_err(), OpenError::RevokedKey);
    assert!(new.client_secret(old.active(), "client").is_none());

    // A key that waits already is taken first.
    keys(&directory, "rotate").unwrap();
    keys(&directory, &format!("revoke {} --yes", new.active())).unwrap();
    assert_eq!(read(&directory).len(), 3);
    assert!(
        ring(&directory)
            .seal(&sample::session(), &mut entropy::rng())
            .is_ok()
    );
}

/// Runs `mcp-oauth token inspect`: what it prints, and how it ends.
fn inspect(
    directory: &TempDir,
    flags: &str,
    token: &str,
    now: Timestamp,
) -> (String, Result<(), TokenCommandError>) {
    let command = format!("token inspect {flags}");
    let Ok(Cli::Token(args)) = parse(&command, directory.path()) else {
        panic!("{flags}");
    };
    let configured = Deployment {
        keys: KeySource::Inline(Secret::new("the flags win")),
        issuer: issuer(),
    };
    let mut out = Vec::new();
    let mut rng = entropy::rng();
    let ended = run_token(
        &args,
        Some(configured),
        &mut token.as_bytes(),
        &mut out,
        now,
        &mut rng,
    );
    (String::from_utf8(out).unwrap(), ended)
}

fn sealed<T: Record>(directory: &TempDir, record: &T) -> String {
    let sealed = ring(directory).seal(record, &mut entropy::rng()).unwrap();
    sealed.into_wire()
}

#[test]
fn inspect_shows_kind_claims_and_times_but_no_secret() {
    let directory = generated();
    let token = sealed(&directory, &sample::access(Some(200)));
    let (said, ended) = inspect(&directory, "", &format!("{token}\n"), NOW);
    assert!(ended.is_ok(), "{ended:?}");
    for part in [
        "access token (at1)",
        "in 60 minutes",
        "alice.liddell@example.com",
        &ring(&directory).active().to_string(),
        &format!("{} bytes", token.len()),
    ] {
        assert!(said.contains(part), "{said} should say {part}");
    }
    assert!(!said.contains(&sample::opaque(20)));
    let (said, _) = inspect(&directory, "--reveal", &token, NOW);
    assert!(said.contains(&sample::opaque(200)));
}

#[test]
fn inspect_knows_every_kind() {
    let directory = generated();
    let cases = [
        (
            sealed(&directory, &sample::registration(1)),
            "client registration (cl1)",
        ),
        (
            sealed(&directory, &sample::consent()),
            "pending consent (cs1)",
        ),
        (
            sealed(&directory, &sample::login(20)),
            "pending login (lg1)",
        ),
        (
            sealed(&directory, &sample::code(20)),
            "authorization code (ac1)",
        ),
        (
            sealed(&directory, &sample::refresh(40)),
            "refresh token (rt1)",
        ),
        (sealed(&directory, &sample::session()), "session id (ms1)"),
        (sealed(&directory, &sample::memo()), "memo (mm1)"),
    ];
    for (token, kind) in cases {
        let (said, ended) = inspect(&directory, "", &token, NOW);
        assert!(ended.is_ok() && said.contains(kind), "{said}");
    }
}

#[test]
fn inspect_shows_what_has_expired_and_fails() {
    let directory = generated();
    let token = sealed(&directory, &sample::code(20));
    let later = NOW.plus(Duration::from_secs(3_660));
    let (said, ended) = inspect(&directory, "", &token, later);
    assert!(
        said.contains("60 minutes ago") && said.contains("claims"),
        "{said}"
    );
    assert!(matches!(
        ended,
        Err(TokenCommandError::Refused(OpenError::Expired))
    ));
}

#[test]
fn inspect_says_which_check_failed() {
    let directory = generated();
    let token = sealed(&directory, &sample::session());
    let flipped = token.replace(&token[token.len() - 8..], "AAAAAAAA");
    let foreign = sealed(&generated(), &sample::session());
    let cases = [
        ("", "hello".to_owned(), OpenError::NotSealed),
        ("", flipped, OpenError::Tampered),
        ("", foreign, OpenError::UnknownKey),
        ("", format!("{token}="), OpenError::Malformed),
        ("", "a".repeat(20_000), OpenError::TooLong),
        (
            "--public-url https://other.example/",
            token,
            OpenError::WrongKey,
        ),
    ];
    for (flags, token, cause) in cases {
        let (_, ended) = inspect(&directory, flags, &token, NOW);
        let Err(TokenCommandError::Refused(refused)) = ended else {
            panic!("{cause}");
        };
        assert_eq!(refused, cause);
    }
    let (_, ended) = inspect(&directory, "", " \n", NOW);
    assert!(matches!(ended, Err(TokenCommandError::NoToken)));
}

#[test]
fn inspect_needs_to_know_the_issuer() {
    let directory = generated();
    let Ok(Cli::Token(args)) = parse("token inspect", directory.path()) else {
        panic!();
    };
    assert!(args.needs_deployment() && args.config().is_none());
    let mut rng = entropy::rng();
    let ended = run_token(&args, None, &mut &b""[..], &mut Vec::new(), NOW, &mut rng);
    assert!(matches!(ended, Err(TokenCommandError::NoIssuer)));
    let given = "token inspect --public-url https://mcp.example.com";
    let Ok(Cli::Token(args)) = parse(given, directory.path()) else {
        panic!();
    };
    assert!(!args.needs_deployment());
}
