//! Following the file while the server runs.

use std::path::PathBuf;

use mcp_oauth::config::{self, Change, Flags, Watch};
use mcp_oauth::time::Timestamp;

use super::SMALL;

struct Followed {
    _directory: tempfile::TempDir,
    path: PathBuf,
    watch: Watch,
}

impl Followed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mcp-oauth.toml");
        std::fs::write(&path, SMALL).unwrap();
        let (_, watch) = config::watch(Some(&path), Vec::new(), &Flags::default()).unwrap();
        Self {
            _directory: directory,
            path,
            watch: watch.unwrap(),
        }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    /// What two looks say.
    fn look_twice(&mut self) -> Option<Change> {
        assert!(self.watch.look().is_none(), "believed at the first look");
        self.watch.look()
    }
}

const REVOKED: &str = "[revocation]\nnot_before = \"2026-01-01T00:00:00Z\"\n";

#[test]
fn a_change_counts_at_the_second_look_and_once() {
    let mut followed = Followed::new();
    assert!(followed.look_twice().is_none(), "nothing changed");
    followed.write(&format!("{SMALL}{REVOKED}"));
    let Some(Change::Valid(loaded)) = followed.look_twice() else {
        panic!("the change was not seen")
    };
    let not_before = loaded.config.revocation.not_before;
    assert_eq!(not_before, Some(Timestamp::from_secs(1_767_225_600)));
    assert!(followed.look_twice().is_none(), "said twice");
}

// F24
#[test]
fn a_wrong_file_changes_nothing_and_is_reported_once() {
    let wrong = [
        "public_url = ".to_owned(),
        String::new(),
        SMALL.replace("client_id", "cleint_id"),
        SMALL.replace("client_secret = \"", "client_secret_file = \"/nonexistent/"),
    ];
    for text in wrong {
        let mut followed = Followed::new();
        followed.write(&text);
        let change = followed.look_twice();
        assert!(
            matches!(change, Some(Change::Invalid(_))),
            "{text}: {change:?}"
        );
        assert!(followed.look_twice().is_none(), "{text}: said twice");
        followed.write(&format!("{SMALL}{REVOKED}"));
        assert!(
            matches!(followed.look_twice(), Some(Change::Valid(_))),
            "{text}"
        );
    }
}

// F24
#[test]
fn a_file_that_is_being_written_is_not_believed() {
    let mut followed = Followed::new();
    let text = format!("{SMALL}{REVOKED}");
    for end in [text.len() - 40, text.len() - 20, SMALL.len(), text.len()] {
        followed.write(&text[..end]);
        assert!(followed.watch.look().is_none(), "believed {end} bytes");
    }
    assert!(matches!(followed.watch.look(), Some(Change::Valid(_))));
}

// F24
#[test]
fn a_file_that_is_gone_changes_nothing() {
    let mut followed = Followed::new();
    std::fs::remove_file(&followed.path).unwrap();
    assert!(matches!(followed.look_twice(), Some(Change::Invalid(_))));
    followed.write(SMALL);
    assert!(matches!(followed.look_twice(), Some(Change::Valid(_))));
}

#[test]
fn other_tables_that_changed_are_named() {
    let mut followed = Followed::new();
    let (before, _) = config::watch(Some(&followed.path), Vec::new(), &Flags::default()).unwrap();
    let text = SMALL
        .replace("/mcp\"\n[access]", "/v2\"\n[access]")
        .replace("0123456789abcdef", "fedcba9876543210");
    followed.write(&format!(
        "# moves every line\n{text}{REVOKED}[log]\nlevel = \"debug\"\n"
    ));
    let Some(Change::Valid(after)) = followed.look_twice() else {
        panic!("the change was not seen")
    };
    let changed = ["upstreams.github", "resources[0]", "revocation", "log"];
    assert_eq!(before.changed_tables(&after), changed);
    assert_eq!(before.changed_tables(&before), Vec::<String>::new());
}

#[test]
fn what_is_kept_for_another_look_does_not_show() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mcp-oauth.toml");
    std::fs::write(&path, SMALL).unwrap();
    let secret = (
        "MCP_OAUTH_UPSTREAMS_GITHUB_CLIENT_SECRET",
        "hunter2-hunter2-hunter2",
    );
    let env = [(secret.0.to_owned(), secret.1.to_owned())];
    let (loaded, watch) = config::watch(Some(&path), env, &Flags::default()).unwrap();
    assert!(!format!("{loaded:?}{watch:?}").contains("hunter2"));
}

#[test]
fn without_a_file_there_is_nothing_to_follow() {
    let env = [(
        "MCP_OAUTH_PUBLIC_URL".to_owned(),
        "http://127.0.0.1:8080".to_owned(),
    )];
    let problems = config::watch(Some("/nonexistent".as_ref()), env, &Flags::default());
    assert!(problems.is_err());
}
