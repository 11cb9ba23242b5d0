//! The fixtures: one file per client, each with the ways in which it can be known.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// What is known of one client.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) client: String,
    pub(crate) ways: Vec<Way>,
    raw: Value,
}

/// One way in which a client is known.
#[derive(Debug)]
pub(crate) enum Way {
    /// It registers, and is answered.
    Registers { body: Value, answer: Value },
    /// It has a metadata document.
    Document { document: Value },
    /// The operator wrote it into the configuration.
    Configured { client: Value },
}

/// One authorization request that a client makes.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) redirect_uri: String,
    pub(crate) scope: Option<String>,
    /// What the consent page must show in bold.
    pub(crate) shown: String,
    /// How the client proves who it is at `/token`.
    pub(crate) authenticates: String,
}

impl Fixture {
    /// Every fixture, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/clients");
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|it| it == "json"))
            .collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Self {
        let raw: Value = serde_json::from_str(&fs::read_to_string(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(raw["quirks"].as_str().unwrap().len() > 20);
        let ways = raw["ways"].as_array().unwrap().iter().map(Way::of);
        Self {
            client: raw["client"].as_str().unwrap().to_owned(),
            ways: ways.collect(),
            raw,
        }
    }

    fn raw(&self, way: &Way) -> &Value {
        let at = self.ways.iter().position(|it| std::ptr::eq(it, way));
        &self.raw["ways"][at.unwrap()]
    }

    /// Redirects that look like the client's.
    pub(crate) fn refused(&self, way: &Way) -> Vec<String> {
        let all = self.raw(way)["refused"].as_array().unwrap();
        all.iter()
            .map(|it| it.as_str().unwrap().to_owned())
            .collect()
    }

    /// The app that the page about a dead identity speaks of.
    pub(crate) fn heals_as(&self) -> &str {
        match self.client.as_str() {
            "Kiro and others" => "mcp-remote",
            "Copilot Studio" => "Copilot Studio or Power Platform",
            name => name,
        }
    }
}

impl Way {
    fn of(raw: &Value) -> Self {
        let member = |name: &str| raw.get(name).cloned();
        match (
            member("registers"),
            member("document"),
            member("configured"),
        ) {
            (Some(body), None, None) => Self::Registers {
                body,
                answer: member("answered").unwrap(),
            },
            (None, Some(document), None) => Self::Document { document },
            (None, None, Some(client)) => Self::Configured { client },
            other => panic!("one way each: {other:?}"),
        }
    }

    /// What the client asks for when it is known in this way.
    pub(crate) fn asks(&self, fixture: &Fixture) -> Vec<Ask> {
        let raw = fixture.raw(self);
        let authenticates = raw["authenticates"]
            .as_str()
            .or_else(|| raw["answered"]["token_endpoint_auth_method"].as_str())
            .unwrap_or("none");
        let asks = raw["asks"].as_array().unwrap().iter();
        asks.map(|ask| Ask {
            redirect_uri: ask["redirect_uri"].as_str().unwrap().to_owned(),
            scope: ask["scope"].as_str().map(str::to_owned),
            shown: ask["shown"].as_str().unwrap().to_owned(),
            authenticates: authenticates.to_owned(),
        })
        .collect()
    }
}
