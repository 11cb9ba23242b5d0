//! Following the file while the server runs: `[revocation]` counts at once, the rest at the next
//! start.
//!
//! Refuses a file that was just being written: only what two looks in a row find alike is read. A
//! file that is wrong changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::file::{self, Loaded, Sources};
use super::{DEFAULT_FILE, Flags, Problems};

/// What a look at the file found.
#[derive(Debug)]
pub enum Change {
    /// Another configuration.
    Valid(Box<Loaded>),
    /// Something that cannot be used.
    Invalid(Problems),
}

/// A configuration file that is looked at again and again.
pub struct Watch {
    path: PathBuf,
    variables: Vec<(String, String)>,
    flags: Flags,
    /// What counts, or was found wrong.
    known: Look,
    /// What the latest look found.
    latest: Look,
}

/// What a look found: the digest of the bytes, or of why there are none.
type Look = [u8; 32];

/// Reads the configuration as [`load`](super::load) does, to be followed if there is a file.
///
/// # Errors
///
/// Every problem at once.
pub fn watch(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<(Loaded, Option<Watch>), Problems> {
    let ours =
        |(name, _): &(String, String)| name == "PORT" || name.starts_with(super::env::PREFIX);
    let variables: Vec<_> = env.into_iter().filter(ours).collect();
    let Some(path) = file_or_default(path) else {
        let loaded = file::resolve(Sources {
            file: None,
            variables,
            flags,
        })?;
        return Ok((loaded, None));
    };
    let (name, text) = file::read(path)?;
    let loaded = file::resolve(Sources {
        file: Some((&name, &text)),
        variables: variables.clone(),
        flags,
    })?;
    let known = Sha256::digest(text.as_bytes()).into();
    let watch = Watch {
        path: path.to_owned(),
        variables,
        flags: flags.clone(),
        known,
        latest: known,
    };
    Ok((loaded, Some(watch)))
}

/// The file that is named, or else the default one if it exists.
pub(super) fn file_or_default(path: Option<&Path>) -> Option<&Path> {
    let default = Path::new(DEFAULT_FILE);
    path.or_else(|| default.exists().then_some(default))
}

impl Watch {
    /// Looks at the file. Says something once for each change, at the second look that finds it.
    pub fn look(&mut self) -> Option<Change> {
        let read = file::read(&self.path);
        let look: Look = match &read {
            Ok((_, text)) => Sha256::digest(text.as_bytes()).into(),
            Err(problems) => Sha256::digest(problems.to_string()).into(),
        };
        let before = std::mem::replace(&mut self.latest, look);
        if look == self.known || look != before {
            return None;
        }
        self.known = look;
        let loaded = read.and_then(|(name, text)| {
            file::resolve(Sources {
                file: Some((&name, &text)),
                variables: self.variables.clone(),
                flags: &self.flags,
            })
        });
        Some(match loaded {
            Ok(loaded) => Change::Valid(Box::new(loaded)),
            Err(problems) => Change::Invalid(problems),
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut watch = f.debug_struct("Watch");
        watch.field("path", &self.path).finish_non_exhaustive()
    }
}
