//! Countries of addresses, out of a file in the format of MaxMind (GeoLite2, DB-IP, IPinfo, ip-location-db).
//!
//! The file is read into memory: nothing that happens to it later, short of a reload, changes an answer.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

use super::config::Country;

/// Longest file that is read. The largest databases of countries have about a tenth of it.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A database that was read.
pub struct Countries(Reader<Vec<u8>>);

/// Why a file is no database of countries.
#[derive(Debug, thiserror::Error)]
pub enum CountriesError {
    /// It cannot be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// It is longer than any database of countries.
    #[error("is longer than 256 MiB, which no database of countries is")]
    TooLong,
    /// It is something else.
    #[error("is not a database in the format of MaxMind")]
    Format(#[from] MaxMindDbError),
}

/// Where each publisher puts the two letters.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Of<'a>>,
    #[serde(borrow)]
    registered_country: Option<Of<'a>>,
    country_code: Option<&'a str>,
}

/// An object, or the letters alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Of<'a> {
    Object { iso_code: Option<&'a str> },
    Text(&'a str),
}

impl Of<'_> {
    fn country(&self) -> Option<Country> {
        match self {
            Self::Object { iso_code } => Country::parse((*iso_code)?),
            Self::Text(text) => Country::parse(text),
        }
    }
}

impl Countries {
    /// Reads it whole.
    ///
    /// # Errors
    /// When it is not there, or is something else.
    pub fn try_open(path: &Path) -> Result<Self, CountriesError> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(CountriesError::TooLong);
        }
        Self::try_read(bytes)
    }

    /// The same of bytes that were read, however many they are.
    ///
    /// # Errors
    /// When they are something else.
    pub fn try_read(bytes: Vec<u8>) -> Result<Self, CountriesError> {
        Ok(Self(Reader::from_source(bytes)?))
    }

    /// The country of an address, if the database knows one. What is wrong inside of it is as good as unknown.
    pub fn of(&self, ip: IpAddr) -> Option<Country> {
        let found = self.0.lookup(ip.to_canonical()).ok()?;
        let record: Record<'_> = found.decode().ok()??;
        let of = |each: &Option<Of<'_>>| each.as_ref().and_then(Of::country);
        of(&record.country)
            .or_else(|| Country::parse(record.country_code?))
            .or_else(|| of(&record.registered_country))
    }
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = &self.0.metadata();
        f.debug_struct("Countries")
            .field("kind", &metadata.database_type)
            .finish_non_exhaustive()
    }
}
