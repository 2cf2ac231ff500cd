//! Reading the files: one reading at a time, and one more for operators, whom no tenant keeps from theirs. A month of many tenants is
//! some hundred MiB to be read, and no reading holds up a packet.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::http::code::Code;
use crate::http::error::Problem;
use crate::usage::sum::{Sums, Wanted, as_json, files};

/// When whoever finds another reading under way may come again.
const AGAIN: Duration = Duration::from_secs(2);

/// The files. Clones share.
#[derive(Clone, Debug)]
pub(in crate::http) struct Files {
    directory: Option<PathBuf>,
    /// Of operators, of tenants.
    pub(super) reading: [Arc<Semaphore>; 2],
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Operator,
    /// Is told how much is wrong with the files, and not where: that names files, and records of other tenants.
    Tenant,
}

impl Files {
    pub(in crate::http) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory,
            reading: [(); 2].map(|()| Arc::new(Semaphore::new(1))),
        }
    }

    /// What is there.
    pub(super) async fn read(&self, wanted: Wanted, reader: Reader) -> Result<Value, Problem> {
        let Some(directory) = self.directory.clone() else {
            return Err(Problem::new(
                Code::NoUsage,
                "no records are kept here (usage.directory is not set)",
            ));
        };
        let [operators, tenants] = &self.reading;
        let reading = match reader {
            Reader::Operator => operators,
            Reader::Tenant => tenants,
        };
        let Ok(permit) = Arc::clone(reading).try_acquire_owned() else {
            return Err(Problem::unavailable(Code::Busy, "another reading is under way", AGAIN));
        };
        let read = move || -> io::Result<Value> {
            // For as long as it reads, whether somebody waits for it or not.
            let _permit = permit;
            let mut sums = Sums::of(wanted.clone());
            for file in files(&directory, &wanted)? {
                sums.read(&file)?;
            }
            let (used, mut findings) = sums.finish();
            if reader == Reader::Tenant {
                findings.named.clear();
            }
            Ok(as_json(&used, &findings))
        };
        let read = spawn_blocking(read).await.map_err(io::Error::other).flatten();
        read.map_err(|error| {
            tracing::error!(%error, "records of usage cannot be read");
            Problem::new(Code::Internal, "the records cannot be read, see the log")
        })
    }
}
