//! `doctor` against a real deployment in this process, and against deployments that are broken in
//! one way each: every finding names what is wrong and the line to change.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use mcp_oauth::cli::{self, Exit, Terminal};
use mcp_oauth::config::{self, Flags, KeySource, Loaded};
use mcp_oauth::demo::backend::Backend;
use mcp_oauth::doctor::{self, Area, Finding, Report, Status};
use mcp_oauth::entropy;
use mcp_oauth::seal::Keys;
use mcp_oauth::server::Server;
use mcp_oauth::time::{Clock, SystemClock};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::support::upstream::{CLIENT_ID, CLIENT_SECRET, FakeUpstream};

/// A deployment: a provider, an MCP server, and what stands between them and the clients.
pub(super) struct Deployment {
    folder: TempDir,
    listener: Option<TcpListener>,
    upstream: FakeUpstream,
    clock: Arc<dyn Clock>,
    text: String,
}

impl Deployment {
    pub(super) async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let upstream = FakeUpstream::start_at(Arc::clone(&clock)).await;
        let listener = listen().await;
        let public_url = format!("http://{}", listener.local_addr().unwrap());
        let backend = Backend::new();
        let key = backend.gateway_key().expose().to_owned();
        let backend = serve(backend.router()).await;
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let text = format!(
            "public_url = \"{public_url}\"\n\
             [keys]\ndirectory = \"{}\"\n\
             [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"{}\"\n\
             client_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\n\
             [[resources]]\npath = \"/mcp\"\nbackend = \"http://{backend}/mcp\"\n\
             backend_headers = {{ x-gateway-key = \"{key}\" }}\n\
             [access]\nallow_all = true\n",
            keys.display(),
            upstream.issuer(),
        );
        let this = Self {
            folder,
            listener: Some(listener),
            upstream,
            clock,
            text,
        };
        this.make_keys();
        this
    }

    fn make_keys(&self) {
        let loaded = self.loaded();
        let KeySource::Directory { path, .. } = loaded.config.keys else {
            unreachable!("the keys are files");
        };
        let source = KeySource::Directory { path, create: true };
        let issuer = &loaded.config.public_url.issuer;
        Keys::load(&source, issuer, self.clock.now(), &mut entropy::rng()).unwrap();
    }

    /// Changes a part of the file.
    pub(super) fn change(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{from}: {}", self.text);
        self.text = self.text.replace(from, to);
    }

    fn file(&self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;

        let path = self.folder.path().join("mcp-oauth.toml");
        std::fs::write(&path, &self.text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn loaded(&self) -> Loaded {
        config::inspect(Some(&self.file()), Vec::new(), &Flags::default()).unwrap()
    }

    /// Serves what the file says now, behind whatever the test puts before it.
    pub(super) async fn start(&mut self, before: impl FnOnce(Router) -> Router) {
        let config = self.loaded().config;
        let server = Server::assemble(config, Arc::clone(&self.clock)).await;
        let app = before(server.unwrap().router());
        let listener = self.listener.take().unwrap();
        tokio::spawn(async move {
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, app).await
        });
    }

    pub(super) async fn examine(&self) -> Report {
        doctor::examine(&self.loaded(), &self.clock).await.unwrap()
    }

    /// The line of the file that holds a text.
    fn place(&self, text: &str) -> String {
        let index = self.text.lines().position(|line| line.contains(text));
        let path = self.folder.path().join("mcp-oauth.toml");
        format!("{}:{}", path.display(), index.unwrap() + 1)
    }

    /// Examines, and finds exactly this wrong.
    pub(super) async fn has_failed(&self, area: Area, message: &str, place: &str) {
        let report = self.examine().await;
        let found = failures(&report);
        let it = found
            .iter()
            .find(|it| it.area == area && it.message.contains(message));
        let it = it.unwrap_or_else(|| panic!("no `{message}` among {found:#?}"));
        let fix = it.fix.as_ref().unwrap();
        assert!(!fix.change.is_empty());
        if place.is_empty() {
            assert_eq!(fix.place, "");
        } else {
            assert_eq!(fix.place, self.place(place), "{it:#?}");
        }
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve(app: Router) -> SocketAddr {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn failures(report: &Report) -> Vec<Finding> {
    let findings = report.findings().iter();
    let failed = findings.filter(|finding| finding.status == Status::Failed);
    failed.cloned().collect()
}

/// A proxy that answers some requests itself.
fn proxy<F>(
    app: Router,
    answer: impl Fn(&Request) -> Option<F> + Clone + Send + Sync + 'static,
) -> Router
where
    F: Future<Output = Response> + Send + 'static,
{
    app.layer(from_fn(move |request: Request, next: Next| {
        let own = answer(&request);
        async move {
            match own {
                Some(own) => own.await,
                None => next.run(request).await,
            }
        }
    }))
}

/// A proxy that takes a header away from every answer.
fn without(app: Router, name: &'static str) -> Router {
    app.layer(from_fn(move |request: Request, next: Next| async move {
        let mut response = next.run(request).await;
        response.headers_mut().remove(name);
        response
    }))
}

#[tokio::test]
async fn healthy_deployment_is_found_healthy() {
    let mut deployment = Deployment::new().await;
    deployment.start(|app| app).await;
    let report = deployment.examine().await;
    assert_eq!(failures(&report), []);
    assert_eq!(report.count(Status::Warning), 0, "{:#?}", report.findings());
    for area in [
        Area::Configuration,
        Area::Keys,
        Area::Store,
        Area::Reach,
        Area::Metadata,
        Area::Clients,
        Area::Resources,
        Area::Upstreams,
        Area::Backends,
        Area::Clock,
        Area::Sizes,
    ] {
        let found = report.findings().iter().any(|it| it.area == area);
        assert!(found, "nothing was said about {area:?}");
    }
    let said = |words: &str| {
        report
            .findings()
            .iter()
            .any(|it| it.message.contains(words))
    };
    for words in [
        "/.well-known/oauth-authorization-server names",
        "/.well-known/oauth-authorization-server/mcp names",
        "/.well-known/oauth-protected-resource/mcp describes",
        "/.well-known/oauth-protected-resource/mcp/ describes",
        "/.well-known/openid-configuration is 404",
        "HEAD /mcp/ without a token is challenged",
        "VS Code gets the consent page",
        "Cursor can register",
        "has the keys that this file names",
        "takes our credentials: a made-up code is refused (invalid_grant",
        "speaks MCP",
        "has the same time",
        "no known client strains",
    ] {
        assert!(said(words), "{words}: {:#?}", report.findings());
    }
}

#[tokio::test]
async fn deployment_that_does_not_answer_is_told_once() {
    let mut deployment = Deployment::new().await;
    deployment.listener.take();
    deployment
        .has_failed(Area::Reach, "no connection", "public_url")
        .await;
    let report = deployment.examine().await;
    assert_eq!(failures(&report).len(), 1, "{:#?}", failures(&report));
}

#[tokio::test]
async fn wrong_secret_is_proven_by_a_made_up_code() {
    let mut deployment = Deployment::new().await;
    deployment.change(CLIENT_SECRET, "an-outdated-secret");
    deployment.start(|app| app).await;
    deployment
        .has_failed(
            Area::Upstreams,
            "does not take our credentials: invalid_client",
            "client_secret",
        )
        .await;
}

#[tokio::test]
async fn wrong_issuer_is_found_by_discovery() {
    let mut deployment = Deployment::new().await;
    let issuer = deployment.upstream.issuer();
    deployment.change(&issuer, &format!("{issuer}/realms/other"));
    deployment.start(|app| app).await;
    deployment
        .has_failed(Area::Upstreams, "discovery", "issuer")
        .await;
}

#[tokio::test]
async fn backend_that_is_away_or_speaks_something_else_is_told() {
    let page = Router::new().fallback(|| async { "<html>hello</html>" });
    let none = Router::new();
    for (backend, message) in [
        (Some(page), "does not speak MCP"),
        (Some(none), "is no MCP endpoint"),
        (None, "no connection"),
    ] {
        let mut deployment = Deployment::new().await;
        let address = match backend {
            Some(app) => serve(app).await,
            None => listen().await.local_addr().unwrap(),
        };
        let line = deployment
            .text
            .lines()
            .find(|it| it.starts_with("backend ="));
        let line = line.unwrap().to_owned();
        deployment.change(&line, &format!("backend = \"http://{address}/mcp\""));
        deployment.start(|app| app).await;
        deployment
            .has_failed(Area::Backends, message, "backend =")
            .await;
    }
}

#[tokio::test]
async fn deployment_with_other_keys_is_noticed() {
    let mut deployment = Deployment::new().await;
    deployment.start(|app| app).await;
    let keys = deployment.folder.path().join("keys");
    std::fs::remove_dir_all(&keys).unwrap();
    // The server looks for new keys when it meets an unknown one, so they lie elsewhere.
    let elsewhere = deployment.folder.path().join("other-keys");
    deployment.change(
        &keys.display().to_string(),
        &elsewhere.display().to_string(),
    );
    deployment.make_keys();
    deployment
        .has_failed(
            Area::Clients,
            "does not open what these keys seal",
            "directory",
        )
        .await;
    std::fs::remove_dir_all(&elsewhere).unwrap();
    deployment.has_failed(Area::Keys, "no ", "directory").await;
}

#[tokio::test]
async fn proxy_that_hides_a_document_is_told() {
    let mut deployment = Deployment::new().await;
    deployment
        .start(|app| {
            proxy(app, |request| {
                let hidden = request.uri().path() == "/.well-known/oauth-protected-resource/mcp";
                hidden.then_some(async { StatusCode::NOT_FOUND.into_response() })
            })
        })
        .await;
    deployment
        .has_failed(
            Area::Metadata,
            "/.well-known/oauth-protected-resource/mcp is no document: status 404",
            "public_url",
        )
        .await;
}

#[tokio::test]
async fn proxy_that_redirects_slashes_is_told() {
    let mut deployment = Deployment::new().await;
    deployment
        .start(|app| {
            proxy(app, |request| {
                let slashed = request.uri().path() == "/mcp/";
                slashed.then_some(async {
                    axum::response::Redirect::permanent("/mcp").into_response()
                })
            })
        })
        .await;
    deployment
        .has_failed(
            Area::Resources,
            "POST /mcp/ without a token: a redirect (status 308)",
            "public_url",
        )
        .await;
}

#[tokio::test]
async fn proxy_that_drops_the_challenge_is_told() {
    let mut deployment = Deployment::new().await;
    deployment
        .start(|app| without(app, "www-authenticate"))
        .await;
    deployment
        .has_failed(
            Area::Resources,
            "401 without WWW-Authenticate",
            "public_url",
        )
        .await;
}

#[tokio::test]
async fn proxy_that_drops_cors_is_told() {
    let mut deployment = Deployment::new().await;
    deployment
        .start(|app| without(app, "access-control-allow-origin"))
        .await;
    deployment
        .has_failed(
            Area::Metadata,
            "/token refuses a browser's preflight",
            "public_url",
        )
        .await;
}

#[tokio::test]
async fn proxy_with_small_header_buffers_is_told() {
    let mut deployment = Deployment::new().await;
    deployment.change("[access]", "forward = [\"access_token\"]\n[access]");
    deployment
        .start(|app| {
            proxy(app, |request| {
                let bytes = request
                    .headers()
                    .values()
                    .map(http::HeaderValue::len)
                    .sum::<usize>();
                let large = bytes > 4_096;
                large.then_some(async {
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()
                })
            })
        })
        .await;
    deployment
        .has_failed(
            Area::Resources,
            "a bad token of 7168 bytes at /mcp: status 431",
            "",
        )
        .await;
    let report = deployment.examine().await;
    let strained = report.findings().iter().find(|it| {
        it.area == Area::Sizes && it.status == Status::Warning && it.message.contains("Codex")
    });
    assert!(strained.is_some(), "{:#?}", report.findings());
}

#[tokio::test]
async fn clock_of_the_deployment_is_compared() {
    let mut deployment = Deployment::new().await;
    deployment
        .start(|app| {
            app.layer(from_fn(|request: Request, next: Next| async move {
                let mut response = next.run(request).await;
                let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap();
                response.headers_mut().insert("date", long_ago);
                response
            }))
        })
        .await;
    deployment
        .has_failed(Area::Clock, "the deployment is", "")
        .await;
}

#[tokio::test]
async fn deployment_with_another_file_is_noticed() {
    let mut deployment = Deployment::new().await;
    deployment.start(|app| app).await;
    deployment.change("[access]", "[clients]\ncimd = false\n[access]");
    deployment
        .has_failed(
            Area::Metadata,
            "differs from this file: client_id_metadata_document_supported",
            "cimd",
        )
        .await;
}

/// Puts TLS before a deployment, with a certificate for `localhost` that ends in some days.
async fn start_with_certificate(deployment: &mut Deployment, days: i64) {
    let day = Duration::from_secs(86_400);
    let now = Duration::from_secs(deployment.clock.now().as_secs());
    let now = rcgen::date_time_ymd(1970, 1, 1) + now;
    let mut made = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    made.not_before = now - 30 * day;
    made.not_after = if days < 0 {
        now - day
    } else {
        now + day * u32::try_from(days).unwrap()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = made.self_signed(&key).unwrap().pem();
    let folder = deployment.folder.path();
    let (crt, private) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&crt, certificate).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let tls = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n[access]",
        crt.display(),
        private.display()
    );
    deployment.change("[access]", &tls);
    deployment.change(
        "public_url = \"http://127.0.0.1",
        "public_url = \"https://localhost",
    );
    let server = Server::assemble(deployment.loaded().config, Arc::clone(&deployment.clock)).await;
    let listener = deployment.listener.take().unwrap();
    tokio::spawn(server.unwrap().serve(listener, std::future::pending()));
}

/// What the command says about the reach of a deployment, if it trusts the deployment's certificate.
async fn reach_of(deployment: &Deployment) -> Vec<(String, String)> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_mcp-oauth"))
        .args(["doctor", "--json", "--config"])
        .arg(deployment.file())
        .current_dir(&deployment.folder)
        .env_remove("MCP_OAUTH_TEST_REDIS_SERVER")
        .env("SSL_CERT_FILE", deployment.folder.path().join("tls.crt"))
        .kill_on_drop(true)
        .output();
    let output = super::support::upstream::soon(output).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["area"] == "reach")
        .map(|check| (text(&check["status"]), text(&check["message"])))
        .collect()
}

#[tokio::test]
async fn certificate_that_ends_soon_is_told() {
    for (days, status, message) in [
        (
            60,
            "ok",
            "the certificate is good for more than a fortnight",
        ),
        (7, "warning", "the certificate ends within a fortnight"),
        (-1, "failed", "https://localhost"),
    ] {
        let mut deployment = Deployment::new().await;
        start_with_certificate(&mut deployment, days).await;
        let found = reach_of(&deployment).await;
        let told = found
            .iter()
            .any(|(how, what)| how == status && what.contains(message));
        assert!(told, "{days} days: {found:?}");
        let ends_soon = found.iter().any(|(_, what)| what.contains("fortnight"));
        assert_eq!(ends_soon, days > 0, "{days} days: {found:?}");
    }
}

/// Runs the command as a shell would.
async fn command(arguments: Vec<String>) -> (Exit, String, String) {
    let run = tokio::task::spawn_blocking(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            input: &mut std::io::empty(),
            out: &mut out,
            err: &mut err,
            env: Vec::new(),
        };
        let arguments = ["mcp-oauth".to_owned(), "doctor".to_owned()]
            .into_iter()
            .chain(arguments);
        let exit = cli::run(arguments.map(Into::into), &mut terminal);
        (
            exit,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    });
    run.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_reports_for_people_and_for_machines_and_ends_as_promised() {
    let mut deployment = Deployment::new().await;
    deployment.start(|app| app).await;
    let file = deployment.file().display().to_string();
    let config = || vec!["--config".to_owned(), file.clone()];

    let (exit, out, err) = command(config()).await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{out}");
    assert!(out.contains("\nkeys\n  ✓ key "), "{out}");
    assert!(out.ends_with(" fine\n"), "{out}");
    assert!(
        !out.contains(CLIENT_SECRET) && !out.contains("eyJ"),
        "{out}"
    );

    deployment.change(CLIENT_SECRET, "an-outdated-secret");
    deployment.file();
    let (exit, out, err) = command([config(), vec!["--json".to_owned()]].concat()).await;
    assert_eq!(exit, Exit::Failed, "{err}");
    assert_eq!(err, "error: 1 of the checks failed\n");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["healthy"], false);
    assert_eq!(report["failed"], 1);
    let checks = report["checks"].as_array().unwrap();
    let failed = checks.iter().find(|it| it["status"] == "failed").unwrap();
    assert_eq!(failed["area"], "upstreams");
    assert_eq!(failed["fix"]["key"], "upstreams.idp.client_secret");
    assert_eq!(
        failed["fix"]["place"],
        deployment.place("client_secret").as_str()
    );

    deployment.change("allow_all = true", "allow_all = maybe");
    deployment.file();
    let (exit, out, err) = command(config()).await;
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert!(err.contains("in the configuration"), "{err}");
}
