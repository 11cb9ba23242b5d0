//! Reading an answer: capped while it streams, refused when it is compressed.

use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use zeroize::Zeroizing;

use super::Failure;

/// Reads a body of at most `limit` bytes.
pub(super) async fn body(
    mut response: Response,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let coded = response
        .headers()
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(Failure::Encoded);
    }
    let announced = response.content_length().unwrap_or_default();
    if usize::try_from(announced).unwrap_or(usize::MAX) > limit {
        return Err(Failure::TooLarge(limit));
    }
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| Failure::of(&error))?
    {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(Failure::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
