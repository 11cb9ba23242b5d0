//! Root keys on disk: one JWK per file, `*.jwk` or `*.json`, in one directory.
//!
//! Every write is atomic and readable by the owner only. A new file never replaces one that is
//! there: of two processes that make the first key at the same moment, one wins and both use its
//! key. Warns of files that others can read, without refusing them: platforms mount secrets so.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rand::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::keyfile::{KeyError, KeyState, RootKey};
use crate::time::Timestamp;

/// A directory of key files.
#[derive(Clone, Debug)]
pub struct KeyDirectory {
    path: PathBuf,
}

/// One key and the file that it is in.
#[derive(Debug)]
pub struct KeyFile {
    /// Where it is.
    pub path: PathBuf,
    /// The key.
    pub key: RootKey,
    /// Whether group or others may read it.
    pub exposed: bool,
}

/// The files as they are, not yet understood.
pub(super) struct Contents {
    files: Vec<(PathBuf, Zeroizing<String>)>,
    /// Changes when any name or content does.
    pub(super) digest: [u8; 32],
}

impl KeyDirectory {
    /// Names a directory; nothing is touched.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads every key, oldest first. No directory is the same as no key.
    pub fn read(&self) -> Result<Vec<KeyFile>, KeyError> {
        let mut keys = Self::parse(self.contents()?)?;
        keys.sort_by_key(|file| file.key.created_at);
        Ok(keys)
    }

    pub(super) fn contents(&self) -> Result<Contents, KeyError> {
        let mut paths = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries.map_err(|source| failed("read", &self.path, source))?),
        };
        for entry in entries.into_iter().flatten() {
            let path = entry
                .map_err(|source| failed("read", &self.path, source))?
                .path();
            if is_key_file(&path) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut digest = Sha256::new();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let content = fs::read_to_string(&path)
                .map(Zeroizing::new)
                .map_err(|source| failed("read", &path, source))?;
            digest.update(Sha256::digest(path.as_os_str().as_encoded_bytes()));
            digest.update(Sha256::digest(content.as_bytes()));
            files.push((path, content));
        }
        Ok(Contents {
            files,
            digest: digest.finalize().into(),
        })
    }

    pub(super) fn parse(contents: Contents) -> Result<Vec<KeyFile>, KeyError> {
        contents
            .files
            .into_iter()
            .map(|(path, content)| {
                Ok(KeyFile {
                    key: RootKey::from_jwk(&content, &path.display().to_string())?,
                    exposed: is_exposed(&path),
                    path,
                })
            })
            .collect()
    }

    /// Makes the first key, active at once. If another process was quicker, its key is the first.
    pub fn create_first(
        &self,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<KeyFile, KeyError> {
        let key = RootKey::generate(KeyState::Active, now, rng);
        let path = self.path.join(name(1));
        match self.put(&path, &key) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                let first = fs::read_to_string(&path)
                    .map(Zeroizing::new)
                    .map_err(|source| failed("read", &path, source))?;
                Ok(KeyFile {
                    key: RootKey::from_jwk(&first, &path.display().to_string())?,
                    exposed: is_exposed(&path),
                    path,
                })
            }
            Err(source) => Err(failed("write", &path, source)),
            Ok(()) => Ok(KeyFile {
                path,
                key,
                exposed: false,
            }),
        }
    }

    /// Adds a key under the next free name.
    pub fn add(&self, key: RootKey) -> Result<KeyFile, KeyError> {
        let mut number: u32 = 1;
        loop {
            let path = self.path.join(name(number));
            match self.put(&path, &key) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    number = number.saturating_add(1);
                }
                Err(source) => return Err(failed("write", &path, source)),
                Ok(()) => {
                    return Ok(KeyFile {
                        path,
                        key,
                        exposed: false,
                    });
                }
            }
        }
    }

    /// Writes a changed key back to its file.
    pub fn replace(&self, file: &KeyFile) -> Result<(), KeyError> {
        let write = || {
            let draft = Draft::write(&self.path, &file.key)?;
            fs::rename(&draft.0, &file.path)?;
            self.flush()
        };
        write().map_err(|source| failed("write", &file.path, source))
    }

    /// Puts a whole file at `path`, or fails if something is there.
    fn put(&self, path: &Path, key: &RootKey) -> io::Result<()> {
        create_private(&self.path)?;
        let draft = Draft::write(&self.path, key)?;
        match fs::hard_link(&draft.0, path) {
            // Some file systems know no links: there the file appears first and is filled then.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
                ) =>
            {
                write_new(path, key)?;
            }
            linked => linked?,
        }
        self.flush()
    }

    /// Makes names durable, where a directory can be synced.
    fn flush(&self) -> io::Result<()> {
        if cfg!(unix) {
            File::open(&self.path)?.sync_all()?;
        }
        Ok(())
    }
}

/// A complete file under a name that readers skip; gone when dropped, unless it was renamed.
struct Draft(PathBuf);

impl Draft {
    fn write(directory: &Path, key: &RootKey) -> io::Result<Self> {
        let name = format!(".{}-{}.new", key.kid(), std::process::id());
        let draft = Self(directory.join(name));
        // Left by a process of the same number that was killed.
        let _ = fs::remove_file(&draft.0);
        write_new(&draft.0, key)?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

fn write_new(path: &Path, key: &RootKey) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key.to_jwk().expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn name(number: u32) -> String {
    format!("key-{number}.jwk")
}

/// Hidden names are drafts, and what orchestrators swap behind symbolic links.
fn is_key_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden
        && path
            .extension()
            .is_some_and(|it| it == "jwk" || it == "json")
}

#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|it| {
        // Where somebody else owns the file, the group is how we read it: orchestrators mount so.
        let closed = if is_ours(&it) { 0o077 } else { 0o037 };
        it.permissions().mode() & closed != 0
    })
}

#[cfg(target_os = "linux")]
fn is_ours(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(all(unix, not(target_os = "linux")))]
fn is_ours(_: &fs::Metadata) -> bool {
    true
}

#[cfg(not(unix))]
fn is_exposed(_: &Path) -> bool {
    false
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> KeyError {
    KeyError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
