//! The flags of `serve`: the common case, one upstream and one resource, without a file.
//!
//! Refuses nothing secret by taking nothing secret: the client secret comes as a file.

use std::path::PathBuf;

use clap::Args;

use super::problem::Report;
use super::secrets::replace;
use super::tree::{KeyPath, Node, Origin, Value};

/// What `serve` takes on its command line.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct Flags {
    /// Origin that clients reach this server at, `https://mcp.example.com`
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Where people sign in: a preset (`mcp-oauth providers list`), `oidc` or `oauth2`
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,

    /// Issuer, for `--provider oidc`
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,

    /// Client id that the provider gave this server
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,

    /// File that holds the client secret
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,

    /// Scope to ask the provider for, may be repeated
    #[arg(long, value_name = "SCOPE", num_args = 1..)]
    pub scope: Vec<String>,

    /// MCP server to protect, `http://127.0.0.1:3000/mcp`
    #[arg(long, value_name = "URL")]
    pub backend: Option<String>,

    /// Public path of the MCP server [default: /mcp]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,

    /// Who may sign in: a verified address or `*@example.com`, may be repeated
    #[arg(long, value_name = "EMAIL", num_args = 1..)]
    pub allow: Vec<String>,

    /// Let everybody in who can sign in at the provider
    #[arg(long)]
    pub allow_all: bool,

    /// What the backend learns: `identity`, `access_token`, `authorization`, may be repeated
    #[arg(long, value_name = "WHAT", num_args = 1..)]
    pub forward: Vec<String>,
}

impl Flags {
    /// The upstream that the flags are about: the file's own of that name, its only one of that
    /// provider, or a new one. Without `--provider`, the file's only one.
    pub(super) fn upstream(&self, tree: &Node) -> Option<String> {
        let names = tree.names(&KeyPath::of("upstreams"));
        let Some(provider) = &self.provider else {
            return match names.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            };
        };
        if names.contains(provider) {
            return Some(provider.clone());
        }
        let upstreams = KeyPath::of("upstreams");
        let is_of_provider =
            |name: &&String| tree.text_at(&upstreams.key(name).key("provider")) == Some(provider);
        match names.iter().filter(is_of_provider).collect::<Vec<_>>()[..] {
            [only] => Some(only.clone()),
            _ => Some(provider.clone()),
        }
    }

    /// Lays the flags over the tree.
    pub(super) fn overlay(&self, tree: &mut Node) {
        let upstream = self.upstream(tree);
        self.overlay_top(tree);
        if let Some(name) = &upstream {
            self.overlay_upstream(tree, &KeyPath::of("upstreams").key(name));
        }
        self.overlay_resource(tree, upstream.as_deref());
    }

    /// Says which flags have nothing to apply to.
    pub(super) fn check(&self, tree: &Node, report: &mut Report<'_>) {
        let for_upstream = [
            (self.client_id.is_some(), "--client-id"),
            (self.client_secret_file.is_some(), "--client-secret-file"),
            (self.issuer.is_some(), "--issuer"),
            (!self.scope.is_empty(), "--scope"),
        ];
        if let Some((_, flag)) = for_upstream.iter().find(|(is_given, _)| *is_given)
            && self.upstream(tree).is_none()
        {
            let message = "which upstream this is for is not clear";
            report.outside(flag, message, Some("add `--provider NAME`".to_owned()));
        }
        let for_resource = [
            (self.backend.is_some(), "--backend"),
            (self.path.is_some(), "--path"),
            (!self.forward.is_empty(), "--forward"),
        ];
        let resources = tree.len_at(&KeyPath::of("resources"));
        if let Some((_, flag)) = for_resource.iter().find(|(is_given, _)| *is_given)
            && resources > 1
        {
            let message = format!("flags describe one resource, and there are {resources}");
            let hint = "change the file's `[[resources]]` instead".to_owned();
            report.outside(flag, message, Some(hint));
        }
    }

    const fn has_resource_flags(&self) -> bool {
        self.backend.is_some() || self.path.is_some() || !self.forward.is_empty()
    }

    fn overlay_top(&self, tree: &mut Node) {
        set_text(
            tree,
            &KeyPath::of("public_url"),
            self.public_url.as_deref(),
            "--public-url",
        );
        set_text(
            tree,
            &KeyPath::of("listen"),
            self.listen.as_deref(),
            "--listen",
        );
        set_list(
            tree,
            &KeyPath::of("access.allow_emails"),
            &self.allow,
            "--allow",
        );
        if self.allow_all {
            let value = Value::Boolean(true);
            let origin = Origin::Flag("--allow-all");
            tree.set(&KeyPath::of("access.allow_all"), Node { value, origin });
        }
    }

    fn overlay_upstream(&self, tree: &mut Node, upstream: &KeyPath) {
        let secret_file = self
            .client_secret_file
            .as_ref()
            .map(|path| path.display().to_string());
        for (key, value, flag) in [
            ("provider", self.provider.as_deref(), "--provider"),
            ("issuer", self.issuer.as_deref(), "--issuer"),
            ("client_id", self.client_id.as_deref(), "--client-id"),
            (
                "client_secret_file",
                secret_file.as_deref(),
                "--client-secret-file",
            ),
        ] {
            set_text(tree, &upstream.key(key), value, flag);
        }
        set_list(tree, &upstream.key("scopes"), &self.scope, "--scope");
    }

    fn overlay_resource(&self, tree: &mut Node, upstream: Option<&str>) {
        let resources = KeyPath::of("resources");
        if !self.has_resource_flags() || tree.len_at(&resources) > 1 {
            return;
        }
        let resource = resources.index(0);
        if tree.len_at(&resources) == 0 {
            tree.push(&resources, Node::table(Origin::Flag("--backend")));
            tree.set(&resource.key("path"), Node::text("/mcp", Origin::Default));
            if self.provider.is_some() {
                set_text(tree, &resource.key("upstream"), upstream, "--provider");
            }
        }
        set_text(
            tree,
            &resource.key("backend"),
            self.backend.as_deref(),
            "--backend",
        );
        set_text(tree, &resource.key("path"), self.path.as_deref(), "--path");
        set_list(tree, &resource.key("forward"), &self.forward, "--forward");
    }
}

fn set_text(tree: &mut Node, path: &KeyPath, text: Option<&str>, flag: &'static str) {
    if let Some(text) = text {
        replace(tree, path, Node::text(text, Origin::Flag(flag)));
    }
}

fn set_list(tree: &mut Node, path: &KeyPath, list: &[String], flag: &'static str) {
    if !list.is_empty() {
        tree.set(path, Node::list(list, &Origin::Flag(flag)));
    }
}
