//! An axum app with one protected route that greets whoever is signed in.
//!
//! ```sh
//! cargo run --example axum                 # or: -- 127.0.0.1:8081
//! npx @modelcontextprotocol/inspector      # any MCP client can sign in at the URL that is printed
//! ```
//!
//! People sign in at the demo identity provider, as Alice or Bob. In earnest, `.demo(…)` becomes
//! `.upstream("github", Upstream::preset("github")…)`, and the root keys are kept.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use mcp_oauth::{DemoProvider, Identity, McpOauth, Resource};
use tokio::net::TcpListener;

async fn hello(person: Identity) -> String {
    let name = person
        .preferred_username()
        .unwrap_or_else(|| person.subject());
    format!("Hello, {name}!")
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
            Resource::new("/hello")
                .name("Greeting")
                .scopes(["greet"])
                .required_scopes(["greet"]),
        )
        .scope("greet", "Be greeted by name")
        .passing_keys()
        .build()
        .await?;

    let app = Router::new()
        .route("/hello", get(hello))
        .layer(oauth.layer("/hello")?)
        .route("/", get("This page is for everybody."))
        .merge(oauth.router());

    #[expect(clippy::print_stdout, reason = "says where it is")]
    {
        println!("{public_url}/hello");
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
