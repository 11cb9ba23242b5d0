//! Sealing and opening at real sizes, beside the floor: the same parts (key wrap, AEAD, base64,
//! JSON) in a straight line, without a keyring, checks or wiping.
//!
//! `cargo bench --bench seal`; compare `open/…/ours` with `open/…/floor` of the same run.

use std::hint::black_box;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use aes_kw::KwAes256;
use base64::Engine as _;
use base64::engine::general_purpose::NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use mcp_oauth::entropy;
use mcp_oauth::seal::{Keyring, Record, Sealed};
use rand::CryptoRng;

#[path = "../tests/api/seal_samples.rs"]
mod samples;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Base64 = base64::engine::Simd;

/// The parts, prepared as the keyring prepares them.
struct Floor {
    key: KwAes256,
    header: String,
    base64: Base64,
}

impl Floor {
    fn new(wire: &str) -> Self {
        Self {
            key: KwAes256::new(&[7; 32].into()),
            header: wire.split('.').next().unwrap_or_default().to_owned(),
            base64: Base64::url_safe(NO_PAD),
        }
    }

    fn seal<T: Record>(&self, record: &T, rng: &mut impl CryptoRng) -> Option<String> {
        let mut plaintext = serde_json::to_vec(record).ok()?;
        let (mut content_key, mut iv, mut wrapped) = ([0; 32], [0; 12], [0; 40]);
        rng.fill_bytes(&mut content_key);
        rng.fill_bytes(&mut iv);
        self.key.wrap_key(&content_key, &mut wrapped).ok()?;
        let tag = Aes256Gcm::new(&content_key.into())
            .encrypt_inout_detached(
                &iv.into(),
                self.header.as_bytes(),
                plaintext.as_mut_slice().into(),
            )
            .ok()?;
        let mut wire = String::with_capacity(200 + plaintext.len() * 4 / 3);
        wire.push_str(&self.header);
        for segment in [wrapped.as_slice(), &iv, &plaintext, &tag] {
            wire.push('.');
            self.base64.encode_string(segment, &mut wire);
        }
        Some(wire)
    }

    fn open<T: Record>(&self, wire: &str) -> Option<T> {
        let mut segments = wire.split('.');
        let header = segments.next()?;
        let mut decode = |room: &mut [u8]| {
            let segment = segments.next()?;
            self.base64.decode_slice(segment, room).ok()
        };
        let (mut wrapped, mut iv) = ([0; 42], [0; 12]);
        decode(&mut wrapped)?;
        decode(&mut iv)?;
        let mut plaintext = self.base64.decode(segments.next()?).ok()?;
        let mut tag = [0; 18];
        self.base64.decode_slice(segments.next()?, &mut tag).ok()?;
        let mut content_key = [0; 32];
        self.key
            .unwrap_key(wrapped.get(..40)?, &mut content_key)
            .ok()?;
        Aes256Gcm::new(&content_key.into())
            .decrypt_inout_detached(
                &iv.into(),
                header.as_bytes(),
                plaintext.as_mut_slice().into(),
                tag.first_chunk::<16>()?.into(),
            )
            .ok()?;
        serde_json::from_slice(&plaintext).ok()
    }
}

fn compare<T: Record>(criterion: &mut Criterion, name: &str, record: &T) {
    let mut rng = entropy::rng();
    let Ok(keyring) = Keyring::generate(&samples::issuer(), &mut rng) else {
        return;
    };
    let Ok(sealed) = keyring.seal(record, &mut rng) else {
        return;
    };
    let size = sealed.as_str().len();
    let floor = Floor::new(sealed.as_str());
    let below: Sealed<T> = Sealed::from_wire(floor.seal(record, &mut rng).unwrap_or_default());
    assert!(floor.open::<T>(below.as_str()).is_some());
    assert!(keyring.open(&sealed, samples::NOW).is_ok());

    let mut group = criterion.benchmark_group(format!("open/{name}, {size} B"));
    group.bench_function("ours", |bench| {
        bench.iter(|| keyring.open(black_box(&sealed), samples::NOW));
    });
    group.bench_function("floor", |bench| {
        bench.iter(|| floor.open::<T>(black_box(below.as_str())));
    });
    group.finish();
    let mut group = criterion.benchmark_group(format!("seal/{name}, {size} B"));
    group.bench_function("ours", |bench| {
        bench.iter(|| keyring.seal(black_box(record), &mut rng));
    });
    group.bench_function("floor", |bench| {
        bench.iter(|| floor.seal(black_box(record), &mut rng));
    });
    group.finish();
}

fn records(criterion: &mut Criterion) {
    compare(criterion, "client registration", &samples::registration(2));
    compare(criterion, "consent", &samples::consent());
    compare(criterion, "login", &samples::login(43));
    compare(criterion, "code", &samples::code(110));
    compare(criterion, "access", &samples::access(None));
    compare(
        criterion,
        "access with upstream token",
        &samples::access(Some(1_300)),
    );
    compare(criterion, "refresh", &samples::refresh(800));
    compare(criterion, "session id", &samples::session());
    compare(criterion, "memo", &samples::memo());
}

criterion_group!(benches, records);
criterion_main!(benches);
