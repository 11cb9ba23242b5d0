//! One atomic script for each operation, and how it is sent.

use std::sync::LazyLock;

use redis::Cmd;

/// A script and the hash that the server knows it by.
pub(super) struct Script {
    code: String,
    hash: String,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)+) => {
        $(
            $(#[$doc])*
            pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::of(include_str!(concat!("scripts/", $file))));
        )+
    };
}

scripts! {
    /// Asks, on every connect, whether the store kept its memory.
    MEET = "meet.lua";
    /// Claims a code.
    CLAIM = "claim.lua";
    /// Marks a claim as done.
    SETTLE = "settle.lua";
    /// Gives a claim back.
    RELEASE = "release.lua";
    /// Asks for a turn at refreshing.
    BEGIN = "begin.lua";
    /// Makes a new refresh token the current one.
    COMMIT = "commit.lua";
    /// Gives a lease back.
    ABANDON = "abandon.lua";
    /// Uses a client assertion.
    ASSERTION = "assertion.lua";
    /// Ends a grant.
    REVOKE = "revoke.lua";
    /// Reads what was revoked.
    LOOK = "look.lua";
    /// Asks whether claims are answered.
    READY = "ready.lua";
}

impl Script {
    fn of(body: &str) -> Self {
        let code = format!("{}{body}", include_str!("scripts/library.lua"));
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }
}

/// A script with its keys and arguments.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(super) const fn of(script: &'static Script) -> Self {
        Self {
            script,
            keys: Vec::new(),
            arguments: Vec::new(),
        }
    }

    pub(super) fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    pub(super) fn bytes(mut self, argument: Vec<u8>) -> Self {
        self.arguments.push(argument);
        self
    }

    pub(super) fn text(self, argument: &str) -> Self {
        self.bytes(argument.as_bytes().to_vec())
    }

    pub(super) fn show(self, argument: &impl ToString) -> Self {
        self.bytes(argument.to_string().into_bytes())
    }

    /// The short form, for a server that knows the script.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// The long form, which also teaches it.
    pub(super) fn whole(&self) -> Cmd {
        self.command("EVAL", &self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command
            .arg(script)
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.arguments);
        command
    }
}
