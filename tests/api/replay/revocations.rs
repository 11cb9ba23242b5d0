//! Revocations (RFC 7009 §2) and what is parked between callback and redemption.

use std::time::Duration;

use mcp_oauth::replay::RefreshTurn;

use super::{CLAIM, GRANT, World, attempt, attempt_id, grant, just_before};

// V2, V3
pub(crate) async fn revoked_grant_is_revoked_everywhere(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    assert!(!world.store.is_revoked(&grant));
    world.store.revoke(grant, GRANT).await.unwrap();
    assert!(world.store.is_revoked(&grant));
    for generation in 0..3 {
        let turn = world.begin(attempt(grant, generation)).await;
        assert_eq!(turn, RefreshTurn::Revoked);
    }
}

pub(crate) async fn revoking_twice_is_fine(world: &World) {
    let grant = grant();
    world.store.revoke(grant, GRANT).await.unwrap();
    world.store.revoke(grant, GRANT).await.unwrap();
    assert!(world.store.is_revoked(&grant));
}

pub(crate) async fn revoked_grant_does_not_touch_another(world: &World) {
    let (one, other) = (grant(), grant());
    world.rotate(other, 0).await;
    world.store.revoke(one, GRANT).await.unwrap();
    assert!(!world.store.is_revoked(&other));
    world.rotate(other, 1).await;
    world.claim(grant(), attempt_id()).await;
}

pub(crate) async fn revocation_lasts_as_long_as_the_grant(world: &World) {
    let grant = grant();
    world.store.revoke(grant, GRANT).await.unwrap();
    // A shorter revocation does not shorten it.
    world.store.revoke(grant, CLAIM).await.unwrap();
    world.advance(just_before(GRANT)).await;
    assert!(world.store.is_revoked(&grant));
    assert_eq!(world.begin(attempt(grant, 0)).await, RefreshTurn::Revoked);
}

pub(crate) async fn parked_blob_is_read_until_its_end(world: &World) {
    let grant = grant();
    assert_eq!(world.store.parked(grant).await.unwrap(), None);
    let blob: Vec<u8> = (0..=255).collect();
    world.store.park(grant, blob.clone(), CLAIM).await.unwrap();
    assert_eq!(world.store.parked(grant).await.unwrap(), Some(blob.clone()));
    world.advance(just_before(CLAIM)).await;
    assert_eq!(world.store.parked(grant).await.unwrap(), Some(blob));
    world.advance(Duration::from_secs(2)).await;
    assert_eq!(world.store.parked(grant).await.unwrap(), None);
}

pub(crate) async fn parked_blob_can_be_replaced(world: &World) {
    let grant = grant();
    world.store.park(grant, vec![1], CLAIM).await.unwrap();
    world
        .store
        .park(grant, vec![2, 3], CLAIM * 2)
        .await
        .unwrap();
    world.advance(CLAIM + Duration::from_secs(1)).await;
    assert_eq!(world.store.parked(grant).await.unwrap(), Some(vec![2, 3]));
}

pub(crate) async fn store_is_ready(world: &World) {
    world.store.ready().await.expect("ready");
}
