//! From settings and text to a server: the command's own judgement, every problem at once.

use mcp_oauth::{BuildError, Builder, McpOauth, Problem, Resource, Severity, Upstream};

async fn problems(builder: Builder) -> Vec<Problem> {
    match builder.passing_keys().build().await {
        Err(BuildError::Configuration(problems)) => problems.iter().cloned().collect(),
        other => panic!("{other:?}"),
    }
}

fn told(problems: &[Problem]) -> Vec<String> {
    let lines = problems.iter();
    lines
        .map(|it| format!("{}: {}", it.place, it.message))
        .collect()
}

fn github() -> Upstream {
    Upstream::preset("github")
        .client_id("Iv1.0123")
        .client_secret("s".repeat(24))
}

#[tokio::test]
async fn every_problem_of_the_settings_is_reported_at_once() {
    let builder = McpOauth::builder()
        .public_url("https://mcp.example.com/")
        .upstream("github", Upstream::preset("githup").client_id("c"))
        .resource(Resource::new("mcp").required_scopes(["admin"]))
        .set("tokens.acess_ttl", "10m")
        .set("tokens.code_ttl", "1d");
    let found = problems(builder).await;
    let told = told(&found);
    for place in [
        "public_url: ",
        "upstreams.github.provider: ",
        "resources[0].path: ",
        "resources[0].required_scopes: ",
        "tokens.acess_ttl: ",
        "tokens.code_ttl: ",
    ] {
        let count = told.iter().filter(|it| it.starts_with(place)).count();
        assert_eq!(count, 1, "{place}{told:#?}");
    }
    let meant = found
        .iter()
        .find(|it| it.key == "tokens.acess_ttl")
        .unwrap();
    assert_eq!(meant.hint.as_deref(), Some("did you mean `access_ttl`?"));
    assert!(found.iter().all(|it| it.severity == Severity::Error));
}

#[tokio::test]
async fn text_is_judged_as_settings_are_and_names_its_lines() {
    let text = "public_url = \"https://mcp.example.com\"\n\
                [[resources]]\n\
                path = \"mcp\"\n\
                [upstreams.github]\n\
                provider = \"github\"\n\
                client_id = \"Iv1.0123\"\n\
                client_secret = \"ssssssssssssssssssssssss\"\n";
    let of_text = problems(McpOauth::builder().toml(text)).await;
    let of_settings = McpOauth::builder()
        .public_url("https://mcp.example.com")
        .resource(Resource::new("mcp"))
        .upstream("github", github());
    let of_settings = problems(of_settings).await;
    let said = |found: &[Problem]| {
        let mut said: Vec<_> = found.iter().map(|it| it.message.clone()).collect();
        said.sort();
        said
    };
    assert_eq!(said(&of_text), said(&of_settings));
    // A public server must say who may sign in.
    assert_eq!(of_text.len(), 2, "{of_text:#?}");
    assert!(told(&of_text).contains(&"the configuration:3: `mcp` is not a path".to_owned()));
}

#[tokio::test]
async fn settings_lie_over_variables_and_these_over_text() {
    let text = "public_url = \"https://one.example.com\"\n\
                [access]\nallow_all = true\n\
                [tokens]\naccess_ttl = \"1s\"\n";
    let variables = [
        ("MCP_OAUTH_PUBLIC_URL", "https://two.example.com"),
        ("MCP_OAUTH_TOKENS_ACCESS_TTL", "30m"),
        ("PORT", "80"),
        ("HOME", "/"),
    ];
    let oauth = McpOauth::builder()
        .toml(text)
        .variables(variables.map(|(a, b)| (a.to_owned(), b.to_owned())))
        .public_url("https://three.example.com")
        .upstream("github", github())
        .resource(Resource::new("/mcp"))
        .passing_keys()
        .build()
        .await
        .unwrap();
    assert!(oauth.warnings().is_empty(), "{:?}", oauth.warnings());
    let shown = format!("{oauth:?}");
    assert!(shown.contains("https://three.example.com"), "{shown}");
}

#[tokio::test]
async fn what_the_program_does_itself_is_warned_about() {
    let text = "listen = \"127.0.0.1:9\"\n\
                [admin]\nlisten = \"127.0.0.1:10\"\n\
                [log]\nlevel = \"debug\"\n\
                [shutdown]\ndelay = \"1s\"\ndrain = \"1s\"\n";
    let oauth = McpOauth::builder()
        .toml(text)
        .public_url("https://mcp.example.com")
        .allow_all()
        .upstream("github", github())
        .resource(Resource::new("/mcp"))
        .passing_keys()
        .build()
        .await
        .unwrap();
    let keys: Vec<_> = oauth.warnings().iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["listen", "admin", "log", "shutdown.delay"]);
}

#[tokio::test]
async fn backend_at_the_origin_would_take_every_path() {
    let whole = Resource::new("").backend("http://127.0.0.1:9");
    let builder = McpOauth::builder()
        .public_url("https://mcp.example.com")
        .allow_all()
        .upstream("github", github())
        .resource(whole);
    let found = problems(builder).await;
    assert_eq!(found[0].key, "resources[0].backend");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[cfg(not(feature = "redis"))]
#[tokio::test]
async fn store_that_is_not_built_in_is_refused() {
    let built = McpOauth::builder()
        .public_url("https://mcp.example.com")
        .allow_all()
        .upstream("github", github())
        .resource(Resource::new("/mcp"))
        .redis("redis://127.0.0.1:9")
        .passing_keys()
        .build()
        .await;
    let Err(BuildError::Start(cause)) = built else {
        panic!("{built:?}");
    };
    assert!(cause.to_string().contains("feature `redis`"), "{cause}");
}
