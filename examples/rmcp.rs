//! An MCP server with the official Rust SDK: its tool knows who calls, and asks the provider about
//! them with their own token.
//!
//! ```sh
//! cargo run --example rmcp                 # or: -- 127.0.0.1:8081
//! claude mcp add --transport http example http://127.0.0.1:8080/mcp
//! ```
//!
//! People sign in at the demo identity provider, as Alice or Bob. In earnest, `.demo(…)` becomes
//! `.upstream("github", Upstream::preset("github")…)`, and the root keys are kept.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use mcp_oauth::{DemoProvider, Identity, McpOauth, Resource};
use rmcp::handler::server::tool::Extension;
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, tool, tool_handler, tool_router};
use tokio::net::TcpListener;

/// The MCP server.
#[derive(Clone, Debug)]
struct Tools {
    http: reqwest::Client,
    userinfo_url: String,
}

#[tool_router]
impl Tools {
    #[tool(description = "Says who is signed in, and what the provider knows about them")]
    async fn whoami(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        let failed = |what: &str| ErrorData::internal_error(what.to_owned(), None);
        let person = parts.extensions.get::<Identity>();
        let person = person.ok_or_else(|| failed("nobody is signed in"))?;
        let token = person.upstream_token();
        let token = token.ok_or_else(|| failed("there is no token of the provider"))?;

        let request = self
            .http
            .get(&self.userinfo_url)
            .bearer_auth(token.expose());
        // The error could name the URL, which is nothing that a client needs to see.
        let answer = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|_| failed("the provider did not answer"))?;
        let userinfo = answer.text().await;
        let userinfo = userinfo.map_err(|_| failed("the provider broke off its answer"))?;
        Ok(format!("{}: {userinfo}", person.subject()))
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    let public_url = format!("http://{}", listener.local_addr()?);

    let provider = DemoProvider::start(&public_url).await?;
    let oauth = McpOauth::builder()
        .public_url(&public_url)
        .demo(&provider)
        .resource(
            Resource::new("/mcp")
                .name("Example tools")
                .scopes(["tools"])
                .required_scopes(["tools"])
                .with_upstream_token(),
        )
        .scope("tools", "Say who you are")
        .passing_keys()
        .build()
        .await?;

    #[expect(clippy::disallowed_methods, reason = "not the product's own client")]
    let tools = Tools {
        http: reqwest::Client::new(),
        userinfo_url: provider.userinfo_url(),
    };
    // The SDK's own check of `Host` admits this computer only; in earnest, name your host.
    let mcp = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let app = Router::new()
        .route_service("/mcp", mcp)
        .layer(oauth.layer("/mcp")?)
        .merge(oauth.router());

    #[expect(clippy::print_stdout, reason = "says where it is")]
    {
        println!("{public_url}/mcp");
    }
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            // Without a way to hear of Ctrl-C the program is stopped all the same.
            let _ = tokio::signal::ctrl_c().await;
            oauth.drain();
        })
        .await?;
    Ok(())
}
