//! Discovery: what clients find, and where.

use serde_json::json;

use super::support::world::World;

const SERVER: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

// D1, D2, D6, D7, D8, D10, D11, D14, D15
#[tokio::test]
async fn server_metadata_names_what_is_there() {
    let world = World::new();
    let answer = world.get(SERVER).await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.json());
}

// P1, P2, P3, P5, P6, P8
#[tokio::test]
async fn resource_metadata_names_the_resource_and_its_server() {
    let world = World::new();
    let answer = world.get(&format!("{RESOURCE}/mcp")).await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.json());
}

// D4, P2
#[tokio::test]
async fn documents_are_the_same_at_the_root_and_under_the_path() {
    let world = World::new();
    for document in [SERVER, RESOURCE] {
        let (root, path) = (
            world.get(document).await,
            world.get(&format!("{document}/mcp")).await,
        );
        assert_eq!((root.status.as_u16(), path.status.as_u16()), (200, 200));
        assert_eq!(root.body, path.body);
        let other = world.get(&format!("{document}/other")).await;
        assert_eq!(
            (other.status.as_u16(), other.header("content-type")),
            (404, "application/json")
        );
    }
}

// D5, D16
#[tokio::test]
async fn nothing_else_is_under_well_known() {
    let world = World::new();
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/x",
        "/.well-known/openid-configuration/mcp",
    ] {
        let answer = world.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (404, "application/json"),
            "{path}"
        );
    }
}

// D17, X1, P7
#[tokio::test]
async fn documents_can_be_read_from_any_origin_and_kept_for_a_while() {
    let world = World::new();
    for document in [SERVER, RESOURCE] {
        let answer = world.get(document).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        assert!(
            answer
                .headers
                .get("access-control-allow-credentials")
                .is_none()
        ); // X3
    }
}

// D10
#[tokio::test]
async fn registration_is_advertised_only_where_it_is_on() {
    let world = World::with(|config| config.clients.dcr = false);
    assert!(
        world
            .get(SERVER)
            .await
            .json()
            .get("registration_endpoint")
            .is_none()
    );
    let answer = world
        .post_json(
            "/register",
            &json!({"redirect_uris": ["https://a.example/cb"]}),
        )
        .await;
    assert_eq!(answer.status, 404);
}

// D15: no store among several processes, and an upstream that ends all tokens of a person.
#[tokio::test]
async fn revocation_is_advertised_only_where_it_holds() {
    use mcp_oauth::config::StoreKind;

    use super::support::stub::Stub;

    let stub = Stub::new("stub").edit(|profile| profile.revokes_one_token = false);
    let world = World::made(|config| config.replay.store = StoreKind::Upstream, stub);
    assert!(
        world
            .get(SERVER)
            .await
            .json()
            .get("revocation_endpoint")
            .is_none()
    );
    assert_eq!(
        world.post_form("/revoke", &[("token", "x")]).await.status,
        404
    );
    let world = World::with(|config| config.replay.store = StoreKind::Upstream);
    assert!(
        world
            .get(SERVER)
            .await
            .json()
            .get("revocation_endpoint")
            .is_some()
    );
}
