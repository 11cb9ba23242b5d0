//! Several upstreams and several resources in one server: nothing of one reaches the other.

use std::sync::Arc;

use mcp_oauth::config;
use mcp_oauth::oauth::names::{UpstreamFingerprint, UpstreamName};
use mcp_oauth::upstream::Upstream;

use super::support::client::{Client, Tokens};
use super::support::stub::Stub;
use super::support::world::{Answer, World, encode};

const CONFIG: &str = r#"
public_url = "https://mcp.example.com"
[upstreams.left]
provider = "oidc"
issuer = "https://left.example"
client_id = "us"
client_secret = "secret"
[upstreams.right]
provider = "oidc"
issuer = "https://right.example"
client_id = "us"
client_secret = "secret"
[[resources]]
path = "/left"
backend = "http://127.0.0.1:9/mcp"
upstream = "left"
[[resources]]
path = "/right"
backend = "http://127.0.0.1:9/mcp"
upstream = "right"
[resources.access]
allow_emails = ["alice@example.com"]
[access]
allow_all = true
[limits]
register_per_minute = 0
authorize_per_minute = 0
token_per_minute = 0
"#;

struct Two {
    world: World,
    left: Arc<Stub>,
    right: Arc<Stub>,
}

fn stub(name: &str) -> Arc<Stub> {
    let issuer = format!("https://{name}.example");
    Arc::new(Stub::new(name).edit(|it| {
        it.fingerprint = UpstreamFingerprint::of_upstream(&issuer, "us");
        it.issuer = Some(issuer.clone());
    }))
}

impl Two {
    fn new() -> Self {
        let (left, right) = (stub("left"), stub("right"));
        let config = Arc::new(config::parse(CONFIG, "test.toml").unwrap());
        let named = [&left, &right].map(|it| {
            (
                it.profile().name.clone(),
                Arc::clone(it) as Arc<dyn Upstream>,
            )
        });
        let world = World::new().rebuilt(config, named);
        Self { world, left, right }
    }

    /// "Allow" for a resource: the redirect to its upstream.
    async fn allow(&self, client: &mut Client, path: &str) -> Answer {
        let mut request = client.request();
        request.remove("scope");
        request.insert(
            "resource".to_owned(),
            format!("https://mcp.example.com{path}"),
        );
        let page = client.authorize(&self.world, &request).await;
        assert_eq!(page.status, 200, "{}", page.body);
        client.browser.decide(&self.world, &page, "allow").await
    }

    /// An upstream sends the browser back.
    async fn back(&self, client: &mut Client, to: &str, query: &[(&str, &str)]) -> Answer {
        let uri = format!("/callback/{to}?{}", encode(query));
        client.browser.get(&self.world, &uri).await
    }

    async fn code(&self, client: &mut Client, name: &str, person: &str) -> String {
        let allowed = self.allow(client, &format!("/{name}")).await;
        let state = allowed.sent("state").unwrap();
        let answer = self
            .back(client, name, &[("code", person), ("state", &state)])
            .await;
        answer.sent("code").unwrap_or_else(|| panic!("{answer:?}"))
    }
}

fn redirect_of(answer: &Answer) -> String {
    answer.sent("redirect_uri").unwrap_or_default()
}

// B4: each upstream has a callback of its own, and each resource its upstream.
#[tokio::test]
async fn each_resource_signs_in_at_its_own_upstream() {
    let two = Two::new();
    let mut client = Client::register(&two.world).await;
    for name in ["left", "right"] {
        let allowed = two.allow(&mut client, &format!("/{name}")).await;
        let callback = format!("https://mcp.example.com/callback/{name}");
        assert_eq!(redirect_of(&allowed), callback);
    }
    let code = two.code(&mut client, "left", "alice").await;
    Tokens::of(&client.redeem(&two.world, &code).await);
    assert_eq!(two.left.counts().exchanges, 1);
    assert_eq!(two.right.counts().exchanges, 0);
}

// RFC 9700 §4.4: one upstream's code is never taken to another.
#[tokio::test]
async fn mix_up_of_upstreams_mints_nothing() {
    let two = Two::new();
    let mut client = Client::register(&two.world).await;
    let allowed = two.allow(&mut client, "/left").await;
    let state = allowed.sent("state").unwrap();
    let good = [("code", "alice"), ("state", state.as_str())];
    // The other upstream's callback, as if it had begun there.
    let answer = two.back(&mut client, "right", &good).await;
    assert_eq!(answer.status, 400);
    assert!(answer.headers.get("location").is_none());

    // The right callback, but the answer says that it comes from the other.
    let allowed = two.allow(&mut client, "/left").await;
    let state = allowed.sent("state").unwrap();
    let mixed = [
        ("code", "alice"),
        ("state", &state),
        ("iss", "https://right.example"),
    ];
    let answer = two.back(&mut client, "left", &mixed).await;
    assert_eq!(answer.status, 502);
    assert!(answer.headers.get("location").is_none());
    assert_eq!(
        two.left.counts().exchanges + two.right.counts().exchanges,
        0
    );
}

// RFC 8707 §2.2: what was granted for one resource is not for the other.
#[tokio::test]
async fn code_and_refresh_token_of_one_resource_open_no_other() {
    let two = Two::new();
    let mut client = Client::register(&two.world).await;
    let other = ("resource", "https://mcp.example.com/right");
    let code = two.code(&mut client, "left", "alice").await;
    let mut form = client.redemption(&code);
    form.push(other);
    let answer = two.world.post_form("/token", &form).await;
    assert_eq!(answer.error(), "invalid_target");
    assert_eq!(two.right.counts().exchanges, 0);

    let tokens = Tokens::of(&client.redeem(&two.world, &code).await);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.refresh.as_str()),
        ("client_id", client.client_id.as_str()),
        other,
    ];
    let answer = two.world.post_form("/token", &form).await;
    assert_eq!(answer.error(), "invalid_target");
    Tokens::of(&client.refresh(&two.world, &tokens.refresh).await);
}

// The global rules let everybody in; the rules of a resource narrow that.
#[tokio::test]
async fn rules_of_a_resource_hold_for_it_alone() {
    let two = Two::new();
    let mut client = Client::register(&two.world).await;
    for (name, person, status) in [
        ("left", "bob", 200),
        ("right", "bob", 400),
        ("right", "alice", 200),
    ] {
        let code = two.code(&mut client, name, person).await;
        let answer = client.redeem(&two.world, &code).await;
        assert_eq!(answer.status, status, "{name} {person} {}", answer.body);
        if status == 400 {
            assert_eq!(answer.error(), "invalid_grant");
            let said = answer.json()["error_description"].to_string();
            assert!(said.contains("not allowed here"), "{said}");
        }
    }
}

// An upstream's name that is pointed elsewhere, at each place where something is out.
#[tokio::test]
async fn name_that_is_pointed_elsewhere_ends_what_was_begun() {
    let two = Two::new();
    let mut client = Client::register(&two.world).await;
    let code = two.code(&mut client, "left", "alice").await;
    let tokens = Tokens::of(&client.redeem(&two.world, &code).await);
    let code = two.code(&mut client, "left", "alice").await;
    let allowed = two.allow(&mut client, "/left").await;
    let state = allowed.sent("state").unwrap();

    let moved = Arc::new(Stub::new("left").edit(|it| {
        it.fingerprint = UpstreamFingerprint::of_upstream("https://elsewhere.example", "us");
    }));
    let named = (
        UpstreamName::new("left"),
        Arc::clone(&moved) as Arc<dyn Upstream>,
    );
    let Two { world, .. } = two;
    let config = Arc::clone(&world.app.config);
    let world = world.rebuilt(config, [named]);

    let uri = format!(
        "/callback/left?{}",
        encode(&[("code", "alice"), ("state", &state)])
    );
    let answer = client.browser.get(&world, &uri).await;
    assert_eq!(answer.status, 400);
    assert!(answer.headers.get("location").is_none());
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
    let answer = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(answer.error(), "invalid_grant");
    let counts = moved.counts();
    assert_eq!((counts.exchanges, counts.refreshes), (0, 0));
}
