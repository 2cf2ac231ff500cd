//! Keys that are made while it runs, in a file: digests alone, as in the configuration.
//!
//! Each change writes the whole file anew beside the old one and puts it in its place, so that a crash leaves the one or the
//! other. It is read before that, and a lock of the kernel's is held from the reading to the end of the writing: of processes that
//! share a file none loses what another one changed. The lock is on a file of its own, since the one with the keys is another one each time.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::form::{KeyHash, NewKey, hex};
use crate::credentials::{UnixTime, is_realm_name};

/// Most keys that can be made. Past it there is no other until one is ended.
pub(super) const MAX_MADE_KEYS: usize = 1024;

/// Most that a tenant can make for itself. Without it one would leave no place for the others.
pub(super) const MAX_MADE_BY_TENANT: usize = MAX_MADE_KEYS / 8;

/// Longest name of one.
pub(super) const MAX_MADE_NAME_BYTES: usize = 128;

/// Longest file that is read: four times as long as it can be written.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024;

/// Bytes of a key's id, half as many as it has digits.
const UID_BYTES: usize = 16;

/// What the file is a version of.
const VERSION: u32 = 1;

/// A key that was made while it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeKey {
    /// Its id, 32 hexadecimal digits.
    pub uid: Box<str>,
    /// What its maker calls it.
    pub name: Box<str>,
    hash: Box<str>,
    /// The tenant whose credentials it fetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<Box<str>>,
    /// The key that made it, and that it never can do more than. Without: an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
    /// When it was made.
    pub created: UnixTime,
    /// When it was changed.
    pub modified: UnixTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    keys: Vec<MadeKey>,
}

/// Why keys cannot be read, kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No file is configured.
    #[error("no http.keys_file is configured")]
    NoFile,
    /// It cannot be read or written.
    #[error("{path} cannot be {done}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        done: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// It is not what was written.
    #[error("{path} is no file of keys: {wrong}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, without anything of a key.
        wrong: String,
    },
    /// It is being changed already, here or by another process; to be tried again.
    #[error("the keys are being changed already")]
    Locked,
    /// As many as there may be.
    #[error("as many keys were made as may")]
    Full,
    /// Nobody has that id.
    #[error("there is no such key")]
    NoKey,
    /// The system gives none.
    #[error("there is no randomness to make a key of")]
    NoRandomness,
}

/// The file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
}

/// A key with the scope `keys`, which makes others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Maker<'a> {
    /// By which the configuration has it.
    pub(in crate::http) name: &'a str,
    /// Its realm, which is that of all that it makes.
    pub(in crate::http) realm: Option<&'a str>,
}

/// Whose keys are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Of<'a> {
    /// Everybody's: for operators.
    All,
    /// Those of a tenant, or of the default realm.
    Realm(Option<&'a str>),
}

impl Of<'_> {
    /// Whether this one is.
    pub(super) fn has(self, key: &MadeKey) -> bool {
        match self {
            Self::All => true,
            Self::Realm(realm) => key.realm.as_deref() == realm,
        }
    }
}

impl MadeKey {
    fn new(
        key: &NewKey,
        name: &str,
        realm: Option<&str>,
        by: Option<Maker<'_>>,
        now: UnixTime,
    ) -> Result<Self, StoreError> {
        let mut uid = [0; UID_BYTES];
        getrandom::fill(&mut uid).map_err(|_| StoreError::NoRandomness)?;
        Ok(Self {
            uid: hex(&uid).into(),
            name: name.into(),
            hash: key.hash().written().into(),
            realm: by.map_or(realm, |maker| maker.realm).map(Box::from),
            by: by.map(|maker| maker.name.into()),
            created: now,
            modified: now,
        })
    }

    /// What opens it; `None` for nothing.
    pub(super) fn hash(&self) -> Option<KeyHash> {
        KeyHash::parse(&self.hash)
    }
}

impl Store {
    /// The file at `path`, and what is in it. One that is not there is made; that waits for whoever else is making it.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<MadeKey>), StoreError> {
        let store = Self { path: path.to_owned() };
        let is_missing = |read: &Result<_, StoreError>| matches!(read, Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound);
        let mut read = store.read();
        if is_missing(&read) {
            // Whether it can be written is better known now than when the first key is made.
            let lock = store.lock_file()?;
            lock.lock().map_err(|error| store.failed("locked", error))?;
            read = store.read();
            if is_missing(&read) {
                read = store.write(Vec::new());
            }
        }
        Ok((store, read?))
    }

    /// Keeps everybody else from changing the file until what is given back is dropped. Waits for nobody.
    fn lock(&self) -> Result<File, StoreError> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => Err(self.failed("locked", error)),
        }
    }

    /// There from the first change on, for ever: whoever removed it would lock another one than those who have it open.
    fn lock_file(&self) -> Result<File, StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options
            .open(self.beside(".lock"))
            .map_err(|error| self.failed("written", error))
    }

    /// A file beside it.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        self.path.with_file_name(name)
    }

    /// What is in the file now.
    pub(super) fn read(&self) -> Result<Vec<MadeKey>, StoreError> {
        let failed = |error| self.failed("read", error);
        let length = fs::metadata(&self.path).map_err(failed)?.len();
        if length > MAX_FILE_BYTES {
            return Err(self.malformed("it is too long"));
        }
        let text = fs::read(&self.path).map_err(failed)?;
        let document: Document = serde_json::from_slice(&text).map_err(|error| {
            // The error of an unknown word repeats it: it may be a key that somebody wrote there.
            self.malformed(&format!("line {}, column {}", error.line(), error.column()))
        })?;
        self.checked(document)
    }

    fn checked(&self, document: Document) -> Result<Vec<MadeKey>, StoreError> {
        let Document { version, keys } = document;
        if version != VERSION {
            return Err(self.malformed(&format!("version {version} is of another meetpoint")));
        }
        if keys.len() > MAX_MADE_KEYS {
            return Err(self.malformed(&format!("more than {MAX_MADE_KEYS} keys")));
        }
        let (mut uids, mut hashes) = (HashSet::new(), HashSet::new());
        for (at, key) in keys.iter().enumerate() {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let is_uid = key.uid.len() == 2 * UID_BYTES && key.uid.bytes().all(digit);
            let is_realm = key.realm.as_deref().is_none_or(is_realm_name);
            let is_maker = key.by.as_deref().is_none_or(is_realm_name);
            let wrong = match key.hash() {
                _ if !is_uid || !uids.insert(&key.uid) => "uid",
                None => "hash",
                Some(hash) if !hashes.insert(hash) => "hash",
                _ if !is_made_name(&key.name) => "name",
                _ if !is_realm => "realm",
                _ if !is_maker => "by",
                Some(_) => continue,
            };
            return Err(self.malformed(&format!("key {}: {wrong}", at + 1)));
        }
        Ok(keys)
    }

    /// Puts these in place of what is in the file, and gives them back. For whoever holds the lock.
    fn write(&self, keys: Vec<MadeKey>) -> Result<Vec<MadeKey>, StoreError> {
        let failed = |error| self.failed("written", error);
        let document = Document { version: VERSION, keys };
        let mut text = serde_json::to_vec_pretty(&document).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let new = self.beside(".new");
        // What a crash left there is nobody's; and nobody else's file is written through a link.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&new, &self.path).map_err(failed)?;
        // The name is in the directory, which has a cache of its own.
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
        Ok(document.keys)
    }

    /// Makes one more, for `realm` or for that of its maker. All keys, the new one last.
    pub(super) fn add(
        &self,
        key: &NewKey,
        name: &str,
        realm: Option<&str>,
        by: Option<Maker<'_>>,
        now: UnixTime,
    ) -> Result<Vec<MadeKey>, StoreError> {
        let _lock = self.lock()?;
        let mut keys = self.read()?;
        // Operators have all places that are left, and nobody else leaves them none.
        let is_full_for = |maker: Maker<'_>| {
            let of_realm = keys.iter().filter(|key| Of::Realm(maker.realm).has(key));
            of_realm.count() >= MAX_MADE_BY_TENANT
        };
        if keys.len() >= MAX_MADE_KEYS || by.is_some_and(is_full_for) {
            return Err(StoreError::Full);
        }
        keys.push(MadeKey::new(key, name, realm, by, now)?);
        self.write(keys)
    }

    /// Gives one another name.
    pub(super) fn rename(&self, uid: &str, of: Of<'_>, name: &str, now: UnixTime) -> Result<Vec<MadeKey>, StoreError> {
        let _lock = self.lock()?;
        let mut keys = self.read()?;
        let key = keys.iter_mut().find(|key| *key.uid == *uid && of.has(key));
        let key = key.ok_or(StoreError::NoKey)?;
        key.name = name.into();
        key.modified = now;
        self.write(keys)
    }

    /// Ends one: it, and those that are left.
    pub(super) fn remove(&self, uid: &str, of: Of<'_>) -> Result<(MadeKey, Vec<MadeKey>), StoreError> {
        let _lock = self.lock()?;
        let mut keys = self.read()?;
        let at = keys.iter().position(|key| *key.uid == *uid && of.has(key));
        let gone = keys.remove(at.ok_or(StoreError::NoKey)?);
        Ok((gone, self.write(keys)?))
    }

    fn failed(&self, done: &'static str, error: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            done,
            error,
        }
    }

    fn malformed(&self, wrong: &str) -> StoreError {
        StoreError::Malformed {
            path: self.path.clone(),
            wrong: wrong.to_owned(),
        }
    }
}

/// Whether somebody may call a key so: anything that is short and prints.
pub(in crate::http) fn is_made_name(name: &str) -> bool {
    name.len() <= MAX_MADE_NAME_BYTES && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn store() -> (TempDir, Store) {
        let directory = TempDir::new().unwrap();
        let (store, keys) = Store::open(&directory.path().join("keys.json")).unwrap();
        assert!(keys.is_empty());
        (directory, store)
    }

    #[test]
    fn what_is_made_is_there_after_a_restart_readable_by_its_owner_alone_and_without_the_key() {
        let (directory, store) = store();
        let key = NewKey::make().unwrap();
        let made = store.add(&key, "shop", Some("acme"), None, NOW).unwrap();
        let (_, read) = Store::open(&store.path).unwrap();
        assert_eq!(read, made);
        assert_eq!((&*read[0].name, read[0].hash()), ("shop", Some(key.hash())));
        let mode = fs::metadata(&store.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!fs::read_to_string(&store.path).unwrap().contains(key.expose()));
        let lock = fs::metadata(store.beside(".lock")).unwrap();
        assert_eq!(lock.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);

        let uid = read[0].uid.clone();
        let renamed = store.rename(&uid, Of::All, "new", UnixTime(NOW.0 + 5)).unwrap();
        assert_eq!(
            (&*renamed[0].name, renamed[0].created, renamed[0].modified.0),
            ("new", NOW, NOW.0 + 5)
        );
        let of_globex = Of::Realm(Some("globex"));
        for of in [of_globex, Of::Realm(None)] {
            assert!(matches!(store.rename(&uid, of, "x", NOW), Err(StoreError::NoKey)));
            assert!(matches!(store.remove(&uid, of), Err(StoreError::NoKey)));
        }
        let (gone, left) = store.remove(&uid, Of::Realm(Some("acme"))).unwrap();
        assert!(gone.uid == uid && left.is_empty());
        assert!(matches!(store.remove(&uid, Of::All), Err(StoreError::NoKey)));
        assert!(matches!(store.rename(&uid, Of::All, "x", NOW), Err(StoreError::NoKey)));
    }

    #[test]
    fn there_are_as_many_as_may_and_no_more() {
        let (_directory, store) = store();
        let key = || MadeKey::new(&NewKey::make().unwrap(), "", None, None, NOW).unwrap();
        store.write((1..MAX_MADE_KEYS).map(|_| key()).collect()).unwrap();
        let one = NewKey::make().unwrap();
        assert_eq!(store.add(&one, "last", None, None, NOW).unwrap().len(), MAX_MADE_KEYS);
        assert!(matches!(
            store.add(&NewKey::make().unwrap(), "", None, None, NOW),
            Err(StoreError::Full)
        ));
        assert_eq!(store.read().unwrap().len(), MAX_MADE_KEYS);
    }

    #[test]
    fn a_tenant_makes_no_more_keys_than_its_share_and_operators_and_other_tenants_have_the_rest() {
        let (_directory, store) = store();
        for realm in [Some("acme"), None] {
            let by = Some(Maker { name: "admin", realm });
            let add = |by| store.add(&NewKey::make().unwrap(), "", realm, by, NOW);
            let key = || MadeKey::new(&NewKey::make().unwrap(), "", realm, by, NOW).unwrap();
            store.write((1..MAX_MADE_BY_TENANT).map(|_| key()).collect()).unwrap();
            assert_eq!(add(by).unwrap().len(), MAX_MADE_BY_TENANT);
            assert!(matches!(add(by), Err(StoreError::Full)), "{realm:?}");
            let of_globex = Maker {
                name: "other",
                realm: Some("globex"),
            };
            assert!(add(Some(of_globex)).is_ok() && add(None).is_ok());
        }
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_is_kept() {
        let (_directory, store) = store();
        let (other, _) = Store::open(&store.path).unwrap();
        other.add(&NewKey::make().unwrap(), "theirs", None, None, NOW).unwrap();
        let all = store.add(&NewKey::make().unwrap(), "ours", None, None, NOW).unwrap();
        assert_eq!(all.iter().map(|key| &*key.name).collect::<Vec<_>>(), ["theirs", "ours"]);
    }

    #[test]
    fn while_somebody_else_changes_the_file_nothing_is_changed_and_nobody_waits() {
        let (_directory, store) = store();
        let uid = store.add(&NewKey::make().unwrap(), "one", None, None, NOW).unwrap()[0]
            .uid
            .clone();
        let theirs = store.lock().unwrap();
        let before = fs::read(&store.path).unwrap();
        let add = || store.add(&NewKey::make().unwrap(), "two", None, None, NOW);
        assert!(matches!(add(), Err(StoreError::Locked)));
        assert!(matches!(store.rename(&uid, Of::All, "x", NOW), Err(StoreError::Locked)));
        assert!(matches!(store.remove(&uid, Of::All), Err(StoreError::Locked)));
        assert!(store.read().is_ok() && fs::read(&store.path).unwrap() == before);
        drop(theirs);
        assert_eq!(add().unwrap().len(), 2);
    }

    #[test]
    fn of_many_who_change_one_file_at_once_none_loses_what_another_one_did() {
        let (_directory, store) = store();
        let add = |name: &str| loop {
            match store.add(&NewKey::make().unwrap(), name, None, None, NOW) {
                Err(StoreError::Locked) => std::thread::yield_now(),
                added => return added.map(drop),
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..8).for_each(|at| add(&format!("{thread}-{at}")).unwrap()));
            }
        });
        let names: HashSet<_> = store.read().unwrap().into_iter().map(|key| key.name).collect();
        assert_eq!(names.len(), 32);
    }

    #[test]
    fn a_file_that_is_something_else_is_refused_by_its_line_and_left_as_it_is() {
        let (_directory, store) = store();
        store.add(&NewKey::make().unwrap(), "shop", None, None, NOW).unwrap();
        let good = fs::read_to_string(&store.path).unwrap();
        let uid = store.read().unwrap()[0].uid.clone();
        for (text, word) in [
            (String::new(), "line 1"),
            ("hunter2".to_owned(), "line 1"),
            (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
            (good.replace("\"name\"", "\"hunter2\""), "line 6"),
            (good.replace("sha256:", "sha1:"), "key 1: hash"),
            (good.replace(&*uid, "../../etc"), "key 1: uid"),
            (good.replace("shop", "a\\u0000b"), "key 1: name"),
            (" ".repeat(2 * 1024 * 1024 + 1), "too long"),
        ] {
            fs::write(&store.path, &text).unwrap();
            let error = Store::open(&store.path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("keys.json"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert!(store.add(&NewKey::make().unwrap(), "", None, None, NOW).is_err());
            assert_eq!(fs::read_to_string(&store.path).unwrap(), text);
        }
        let missing = Store::open(Path::new("/nowhere/at/all/keys.json")).unwrap_err();
        assert!(missing.to_string().contains("cannot be written"), "{missing}");
    }
}
