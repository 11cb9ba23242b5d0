//! Drives rmcp's client, unmodified: one line of standard input is one command (`connect`,
//! `call`, `revoke`), one line of standard output is its answer. The harness is the person:
//! it opens the authorization URL and hands back the redirect.

use std::error::Error;
use std::path::PathBuf;

use async_trait::async_trait;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{
    AuthClient, AuthError, AuthorizationManager, AuthorizationRequest, CredentialStore, OAuthState,
    StoredCredentials,
};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Connection = RunningService<RoleClient, ()>;

const REDIRECT_URI: &str = "http://127.0.0.1:8765/callback";

/// What the harness gave this run.
struct Case {
    url: String,
    browser: String,
    modern: bool,
    credentials: PathBuf,
}

impl Case {
    fn from_environment() -> Answer<Self> {
        let case: Value = serde_json::from_str(&std::env::var("CLIENT_CASE")?)?;
        let word = |name: &str| {
            case.get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| format!("CLIENT_CASE has no {name}"))
        };
        Ok(Self {
            url: word("url")?,
            browser: word("browser")?,
            modern: word("era")? == "2026-07-28",
            credentials: PathBuf::from(word("state")?).join("credentials.json"),
        })
    }
}

/// Credentials in a file, so that they outlive the process.
struct FileStore(PathBuf);

#[async_trait]
impl CredentialStore for FileStore {
    async fn load(&self) -> Result<Option<StoredCredentials>, AuthError> {
        let Ok(text) = std::fs::read(&self.0) else {
            return Ok(None);
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| AuthError::CredentialStoreError(error.to_string()))
    }

    async fn save(&self, credentials: StoredCredentials) -> Result<(), AuthError> {
        serde_json::to_vec(&credentials)
            .map_err(|error| error.to_string())
            .and_then(|text| std::fs::write(&self.0, text).map_err(|error| error.to_string()))
            .map_err(AuthError::CredentialStoreError)
    }

    async fn clear(&self) -> Result<(), AuthError> {
        let _ = std::fs::remove_file(&self.0);
        Ok(())
    }
}

async fn manager(case: &Case) -> Answer<AuthorizationManager> {
    let mut manager = AuthorizationManager::new(case.url.as_str()).await?;
    manager.set_credential_store(FileStore(case.credentials.clone()));
    manager.initialize_from_store().await?;
    Ok(manager)
}

/// Connects; a 401 starts the authorization that its challenge asks for, once.
async fn connect(case: &Case) -> Answer<Connection> {
    match serve(case, manager(case).await?).await {
        Ok(connection) => Ok(connection),
        Err(error) => {
            let challenge = error.auth_challenge().map(str::to_owned);
            let Some(challenge) = challenge else {
                return Err(error.into());
            };
            Ok(serve(case, authorize(case, &challenge).await?).await?)
        }
    }
}

async fn serve(
    case: &Case,
    manager: AuthorizationManager,
) -> Result<Connection, rmcp::service::ClientInitializeError> {
    let transport = StreamableHttpClientTransport::with_client(
        AuthClient::new(reqwest::Client::new(), manager),
        StreamableHttpClientTransportConfig::with_uri(case.url.as_str()),
    );
    let lifecycle = if case.modern {
        ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        }
    } else {
        ClientLifecycleMode::Initialize
    };
    ().serve_with_lifecycle(transport, lifecycle).await
}

async fn authorize(case: &Case, challenge: &str) -> Answer<AuthorizationManager> {
    let mut state = OAuthState::Unauthorized(manager(case).await?);
    let request = AuthorizationRequest::new(REDIRECT_URI)
        .with_client_name("rmcp")
        .with_challenge(challenge);
    state.start_authorization(request).await?;
    let location = open_in_browser(case, &state.get_authorization_url().await?).await?;
    state.handle_callback_url(&location).await?;
    if matches!(state, OAuthState::Session(_)) {
        state.complete_authorization().await?;
    }
    state
        .into_authorization_manager()
        .ok_or_else(|| "the authorization did not complete".into())
}

async fn open_in_browser(case: &Case, url: &str) -> Answer<String> {
    let answer: Value = reqwest::Client::new()
        .post(&case.browser)
        .json(&json!({ "url": url }))
        .send()
        .await?
        .json()
        .await?;
    match answer.get("location").and_then(Value::as_str) {
        Some(location) => Ok(location.to_owned()),
        None => Err(format!("the browser got nowhere: {answer}").into()),
    }
}

/// Calls; where only the call is answered 401, signs in as that challenge asks, connects with the
/// token, and calls again, once.
async fn call(case: &Case, connection: &mut Option<Connection>) -> Answer<Value> {
    let open = connection.as_ref().ok_or("not connected")?;
    let error = match list_and_call(open).await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let challenge = error.auth_challenge().map(str::to_owned);
    let Some(challenge) = challenge else {
        return Err(error.into());
    };
    let manager = authorize(case, &challenge).await?;
    let open = connection.insert(serve(case, manager).await?);
    Ok(list_and_call(open).await?)
}

async fn list_and_call(connection: &Connection) -> Result<Value, ServiceError> {
    let tools = connection.list_all_tools().await?;
    let result = connection
        .call_tool(CallToolRequestParams::new("headers"))
        .await?;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.to_string()).collect();
    Ok(json!({ "ok": true, "tools": names, "result": result }))
}

async fn obey(case: &Case, connection: &mut Option<Connection>, command: &str) -> Answer<Value> {
    match command {
        "connect" => {
            *connection = Some(connect(case).await?);
            Ok(json!({ "ok": true }))
        }
        "call" => call(case, connection).await,
        "revoke" => Ok(json!({ "ok": true, "n/a": "rmcp has no revocation call" })),
        _ => Err(format!("cannot {command}").into()),
    }
}

/// The error and all its causes: rmcp wraps what matters.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[tokio::main]
async fn main() -> Answer<()> {
    let case = Case::from_environment()?;
    let mut connection = None;
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    let mut answers = tokio::io::stdout();
    while let Some(command) = commands.next_line().await? {
        let answer = match obey(&case, &mut connection, command.trim()).await {
            Ok(answer) => answer,
            Err(error) => json!({ "ok": false, "error": causes(error.as_ref()) }),
        };
        answers.write_all(format!("{answer}\n").as_bytes()).await?;
        answers.flush().await?;
    }
    Ok(())
}
