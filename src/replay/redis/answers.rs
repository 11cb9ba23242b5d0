//! What the scripts answer, read strictly: anything else is trouble, never a guess.

use std::time::Duration;

use redis::Value;

use crate::oauth::names::GrantId;
use crate::replay::{Claimed, Commit, RefreshTurn, StoreError};

/// A revocation that the store knows.
pub(super) struct Revocation {
    /// Its place in the order of revocations.
    pub(super) number: u64,
    pub(super) grant: GrantId,
    /// The rest of the grant's life.
    pub(super) rest: Duration,
}

/// What a claim was answered.
pub(super) enum ClaimAnswer {
    Claimed(Claimed),
    /// The store lost its memory since we last asked.
    OtherEpoch,
}

pub(super) fn claim(answer: Value) -> Result<ClaimAnswer, StoreError> {
    let claimed = match first(answer)?.0.as_str() {
        "granted" => Claimed::Granted,
        "busy" => Claimed::Busy,
        "done" => Claimed::Done,
        "used" => Claimed::AssertionUsed,
        "lost" => Claimed::Discontinuity,
        "epoch" => return Ok(ClaimAnswer::OtherEpoch),
        "closed" => return Err(StoreError::Unavailable(CLOSED.into())),
        _ => return Err(unexpected()),
    };
    Ok(ClaimAnswer::Claimed(claimed))
}

/// Why a store that was found empty does not answer yet.
pub(super) const CLOSED: &str = "it was found empty a moment ago and opens in seconds";

pub(super) fn turn(answer: Value) -> Result<RefreshTurn, StoreError> {
    let (word, memo) = first(answer)?;
    match (word.as_str(), memo) {
        ("lead", None) => Ok(RefreshTurn::Lead),
        ("wait", None) => Ok(RefreshTurn::Wait),
        ("repeat", Some(memo)) => Ok(RefreshTurn::Repeat(memo)),
        ("other", None) => Ok(RefreshTurn::OtherRequest),
        ("often", None) => Ok(RefreshTurn::TooOften),
        ("superseded", None) => Ok(RefreshTurn::Superseded),
        ("reuse", None) => Ok(RefreshTurn::Reuse),
        ("fork", None) => Ok(RefreshTurn::Fork),
        ("revoked", None) => Ok(RefreshTurn::Revoked),
        ("used", None) => Ok(RefreshTurn::AssertionUsed),
        ("full", None) => Err(StoreError::Full),
        ("memo", None) => Err(StoreError::Unavailable("it lost an answer".into())),
        _ => Err(unexpected()),
    }
}

pub(super) fn commit(answer: Value) -> Result<Commit, StoreError> {
    match first(answer)?.0.as_str() {
        "committed" => Ok(Commit::Committed),
        "lost" => Ok(Commit::LeaseLost),
        "revoked" => Ok(Commit::Revoked),
        _ => Err(unexpected()),
    }
}

pub(super) fn truth(answer: &Value) -> Result<bool, StoreError> {
    match answer {
        Value::Int(0) => Ok(false),
        Value::Int(1) => Ok(true),
        _ => Err(unexpected()),
    }
}

pub(super) fn blob(answer: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match answer {
        Value::BulkString(blob) => Ok(Some(blob)),
        Value::Nil => Ok(None),
        _ => Err(unexpected()),
    }
}

/// The epoch's id.
pub(super) fn epoch(answer: Value) -> Result<String, StoreError> {
    first(answer).map(|(id, _)| id)
}

/// The epoch's id, and revocations.
pub(super) fn revocations(answer: Value) -> Result<(String, Vec<Revocation>), StoreError> {
    let mut items = items(answer)?;
    let epoch = text(items.next())?;
    let mut revocations = Vec::new();
    while let Some(item) = items.next() {
        revocations.push(Revocation {
            number: number(Some(item))?,
            grant: GrantId::parse(&text(items.next())?).ok_or_else(unexpected)?,
            rest: Duration::from_millis(number(items.next())?),
        });
    }
    Ok((epoch, revocations))
}

/// A word, and what came with it.
fn first(answer: Value) -> Result<(String, Option<Vec<u8>>), StoreError> {
    let mut items = items(answer)?;
    let word = text(items.next())?;
    let more = items.next().map(bytes).transpose()?;
    Ok((word, more))
}

fn items(answer: Value) -> Result<std::vec::IntoIter<Value>, StoreError> {
    match answer {
        Value::Array(items) => Ok(items.into_iter()),
        _ => Err(unexpected()),
    }
}

fn bytes(item: Value) -> Result<Vec<u8>, StoreError> {
    match item {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(unexpected()),
    }
}

fn text(item: Option<Value>) -> Result<String, StoreError> {
    let bytes = bytes(item.ok_or_else(unexpected)?)?;
    String::from_utf8(bytes).map_err(|_| unexpected())
}

fn number(item: Option<Value>) -> Result<u64, StoreError> {
    text(item)?.parse().map_err(|_| unexpected())
}

fn unexpected() -> StoreError {
    StoreError::Unavailable("its answer was not understood".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &str) -> Value {
        Value::Array(vec![Value::BulkString(word.into())])
    }

    // F9
    #[test]
    fn unexpected_answers_are_trouble() {
        for answer in [
            Value::Nil,
            Value::Okay,
            Value::Int(2),
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Nil]),
            word(""),
            word("LEAD"),
            Value::Array(vec![Value::BulkString(vec![0xff])]),
            Value::Array(vec![Value::BulkString("lead".into()), Value::Int(1)]),
            Value::Array(vec![Value::BulkString("repeat".into()), Value::Nil]),
        ] {
            assert!(claim(answer.clone()).is_err(), "{answer:?}");
            assert!(turn(answer.clone()).is_err(), "{answer:?}");
            assert!(commit(answer.clone()).is_err(), "{answer:?}");
            assert!(truth(&answer).is_err(), "{answer:?}");
        }
        assert!(turn(word("repeat")).is_err());
        assert!(blob(Value::Int(1)).is_err());
    }

    #[test]
    fn revocations_are_read_in_threes() {
        let grant = GrantId::from_bytes([3; 16]);
        let item = |text: &str| Value::BulkString(text.into());
        let mut answer = vec![item("epoch"), item("7"), item(&grant.to_string())];
        assert!(revocations(Value::Array(answer.clone())).is_err());
        answer.push(item("1500"));
        let (epoch, read) = revocations(Value::Array(answer)).expect("understood");
        assert_eq!(epoch, "epoch");
        let [one] = &read[..] else { panic!("not one") };
        assert_eq!((one.number, one.grant), (7, grant));
        assert_eq!(one.rest, Duration::from_millis(1_500));
    }
}
