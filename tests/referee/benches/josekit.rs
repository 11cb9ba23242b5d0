//! Sealing and opening the same record, by us and by `josekit`.
//!
//! `cargo bench -p referee`; the goal is at least 2.5 times as fast.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use josekit::jwe::{A256KW, JweHeader, deserialize_compact, serialize_compact};
use mcp_oauth::entropy;
use mcp_oauth::seal::{Keyring, Record};

#[expect(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../../api/seal_samples.rs"]
mod samples;

fn compare<T: Record>(criterion: &mut Criterion, name: &str, record: &T) {
    let mut rng = entropy::rng();
    let ring = Keyring::generate(&samples::issuer(), &mut rng).unwrap();
    let sealed = ring.seal(record, &mut rng).unwrap();
    let mut header = JweHeader::new();
    header.set_algorithm("A256KW");
    header.set_content_encryption("A256GCM");
    header.set_key_id(ring.active().to_string());
    header.set_token_type(T::PURPOSE.typ());
    let encrypter = A256KW.encrypter_from_bytes([7; 32]).unwrap();
    let decrypter = A256KW.decrypter_from_bytes([7; 32]).unwrap();
    let theirs = |record: &T| {
        let plaintext = serde_json::to_vec(record).unwrap();
        serialize_compact(&plaintext, &header, &encrypter).unwrap()
    };
    let wire = theirs(record);
    assert_eq!(wire.len(), sealed.as_str().len());

    let mut group = criterion.benchmark_group(format!("open/{name}, {} B", wire.len()));
    group.bench_function("ours", |bench| {
        bench.iter(|| ring.open(black_box(&sealed), samples::NOW).unwrap());
    });
    group.bench_function("josekit", |bench| {
        bench.iter(|| {
            let (plaintext, _) = deserialize_compact(black_box(&wire), &decrypter).unwrap();
            serde_json::from_slice::<T>(&plaintext).unwrap()
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group(format!("seal/{name}, {} B", wire.len()));
    group.bench_function("ours", |bench| {
        bench.iter(|| ring.seal(black_box(record), &mut rng).unwrap());
    });
    group.bench_function("josekit", |bench| bench.iter(|| theirs(black_box(record))));
    group.finish();
}

fn records(criterion: &mut Criterion) {
    compare(criterion, "code", &samples::code(110));
    compare(criterion, "access", &samples::access(None));
    compare(
        criterion,
        "access with upstream token",
        &samples::access(Some(1_300)),
    );
    compare(criterion, "refresh", &samples::refresh(800));
}

criterion_group!(benches, records);
criterion_main!(benches);
