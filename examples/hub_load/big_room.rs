//! One room that thousands join: how long that takes, what each of them is told, and whether anybody is missing or twice.

use std::{cell::RefCell, collections::HashSet, rc::Rc, time::Duration};

use clap::Args;
use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    Failure,
    histogram::Histogram,
    process,
    report::Report,
    socket::Reader,
    speak::{Protocol, Target},
};

#[derive(Args, Clone)]
pub(crate) struct BigRoom {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=18_000))]
    pub(crate) members: u32,
    /// Clients that come in at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) at_once: u32,
    /// One in so many asks for every page of the list when it has joined, and keeps a list of its own.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) thorough: u32,
    /// How long may pass between the last join and the last word of it.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) patience: u64,
}

const ROOM: &str = "big";

/// What all members together have seen.
#[derive(Default)]
struct Told {
    /// Joins and leaves that somebody was told of.
    events: u64,
    bytes: u64,
    /// Joins that each member knows of, itself left out: from the list it got and from events.
    known: Vec<u32>,
    closed: usize,
}

/// Whom a thorough member knows.
#[derive(Default)]
struct Known {
    here: HashSet<String>,
    twice: usize,
    unknown: usize,
}

impl Known {
    /// How many are missing, twice, or gone that were never there.
    fn wrong(&self, others: usize) -> usize {
        others.abs_diff(self.here.len()) + self.twice + self.unknown
    }

    fn add(&mut self, peer: &Value) {
        if let Some(peer) = peer.as_str()
            && !self.here.insert(peer.to_owned())
        {
            self.twice += 1;
        }
    }
}

pub(crate) async fn run(big: &BigRoom) -> Result<Report, Failure> {
    let target = &big.target;
    if target.protocol != Protocol::Native {
        return Err("only the native protocol tells who is in a room".into());
    }
    process::descriptors();
    let count = big.members as usize;
    let told = Rc::new(RefCell::new(Told {
        known: vec![0; count],
        ..Told::default()
    }));
    let joins = Rc::new(RefCell::new(Histogram::new()));
    let lists: Rc<RefCell<Vec<Rc<RefCell<Known>>>>> = Rc::default();
    let turns = std::sync::Arc::new(Semaphore::new(big.at_once as usize));
    let before = process::sample(&target.pid);
    let started = Instant::now();
    let failed = Rc::new(RefCell::new(Vec::<String>::new()));
    for at in 0..count {
        let turn = std::sync::Arc::clone(&turns).acquire_owned().await?;
        let (target, told, joins) = (target.clone(), Rc::clone(&told), Rc::clone(&joins));
        let (lists, failed) = (Rc::clone(&lists), Rc::clone(&failed));
        let thorough = at.is_multiple_of(big.thorough as usize);
        tokio::task::spawn_local(async move {
            let began = Instant::now();
            let mut entered = match target.enter(at, ROOM).await {
                Ok(entered) => entered,
                Err(error) => return failed.borrow_mut().push(error.to_string()),
            };
            joins.borrow_mut().record(began.elapsed().as_nanos() as u64);
            let joined = entered.joined.take().unwrap_or_default();
            told.borrow_mut().known[at] = joined["total"].as_u64().unwrap_or_default() as u32;
            let known: Rc<RefCell<Known>> = Rc::default();
            if thorough {
                lists.borrow_mut().push(Rc::clone(&known));
                if let Err(error) = all_pages(&mut entered.reader, &joined, &known, &told, at).await {
                    failed.borrow_mut().push(error.to_string());
                }
            }
            drop(turn);
            let each = |frame: &[u8]| {
                let mut told = told.borrow_mut();
                count_event(frame, &mut told, at);
                if thorough {
                    note(frame, &mut known.borrow_mut());
                }
            };
            if tokio::time::timeout(Duration::from_secs(700), entered.reader.take(each))
                .await
                .is_ok()
            {
                told.borrow_mut().closed += 1;
            }
        });
    }
    let _all = turns.acquire_many(big.at_once).await?;
    let joined_in = started.elapsed().as_secs_f64();
    let complete = wait_until_all_know(&told, count, Duration::from_secs(big.patience)).await;
    let told_in = started.elapsed().as_secs_f64();
    let after = process::sample(&target.pid);
    let lists = lists.borrow();
    let wrong = lists.iter().map(|known| known.borrow().wrong(count - 1)).sum();
    report(
        &told.borrow(),
        &joins.borrow(),
        &failed.borrow(),
        big,
        (complete, wrong),
        (joined_in, told_in),
        (before, after),
    )
}

fn report(
    told: &Told,
    joins: &Histogram,
    failed: &[String],
    big: &BigRoom,
    (complete, wrong): (bool, usize),
    (joined_in, told_in): (f64, f64),
    (before, after): (process::Sample, process::Sample),
) -> Result<Report, Failure> {
    let mut report = Report::default();
    report.add("members", big.members, "");
    report.add("failed", failed.len(), "could not come in");
    report.add("closed", told.closed, "closed meanwhile");
    report.add_rounded("joined_in_s", joined_in, "s");
    report.add_rounded("told_in_s", told_in, "s until everybody knew of everybody");
    report.add("complete", complete, "");
    let wanted = big.members.saturating_sub(1);
    let short = told.known.iter().filter(|known| **known != wanted).count();
    report.add("members_who_miscount", short, "");
    report.add("missing_or_twice", wrong, "on the lists of the thorough");
    report.add("events_told", told.events, "");
    report.add("bytes_told_mib", told.bytes >> 20, "MiB");
    for (name, share) in [("join_p50_ms", 0.5), ("join_p99_ms", 0.99)] {
        report.add_rounded(name, joins.quantile(share).unwrap_or_default() as f64 / 1e6, "ms");
    }
    report.add_rounded("cpu_s", after.cpu - before.cpu, "s of the server");
    report.add(
        "rss_bytes_per_member",
        after.grown(&before) / u64::from(big.members),
        "B",
    );
    process::add_resident(&mut report, &before, &after);
    if let Some(first) = failed.first() {
        report.add("complaint", first.clone(), "");
    }
    Ok(report)
}

/// Asks for page after page.
async fn all_pages(
    reader: &mut Reader,
    joined: &Value,
    known: &RefCell<Known>,
    told: &RefCell<Told>,
    at: usize,
) -> Result<(), Failure> {
    let mut page = joined.clone();
    loop {
        page["peers"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|peer| known.borrow_mut().add(&peer["peer"]));
        let Some(after) = page["more"].as_str() else {
            return Ok(());
        };
        let who = format!(r#"{{"t":"who","id":1,"room":"{ROOM}","after":"{after}"}}"#);
        reader.writer.say(&who).await?;
        loop {
            let text = reader
                .next()
                .await
                .map_err(|closed| format!("{closed:?} among pages"))?;
            if text.starts_with(r#"{"t":"ok""#) {
                page = serde_json::from_str(&text)?;
                break;
            }
            if text.starts_with(r#"{"t":"err""#) {
                // Past the rate: the rest of the list is asked for a little later.
                tokio::time::sleep(Duration::from_millis(100)).await;
                reader.writer.say(&who).await?;
                continue;
            }
            count_event(text.as_bytes(), &mut told.borrow_mut(), at);
            note(text.as_bytes(), &mut known.borrow_mut());
        }
    }
}

fn count_event(frame: &[u8], told: &mut Told, at: usize) {
    const JOIN: &[u8] = br#""ev":"join""#;
    const LEAVE: &[u8] = br#""ev":"leave""#;
    // Behind `{"t":"peer","room":"big",`.
    let Some(event) = frame.strip_prefix(br#"{"t":"peer","room":"big","#.as_slice()) else {
        return;
    };
    told.events += 1;
    told.bytes += frame.len() as u64;
    if event.starts_with(JOIN) {
        told.known[at] += 1;
    } else if event.starts_with(LEAVE) {
        told.known[at] = told.known[at].saturating_sub(1);
    }
}

fn note(frame: &[u8], known: &mut Known) {
    let Ok(event) = serde_json::from_slice::<Value>(frame) else {
        return;
    };
    match event["ev"].as_str() {
        Some("join") => known.add(&event["peer"]),
        Some("leave") => {
            let gone = event["peer"].as_str().unwrap_or_default();
            known.unknown += usize::from(!known.here.remove(gone));
        }
        _ => {}
    }
}

async fn wait_until_all_know(told: &RefCell<Told>, count: usize, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if told.borrow().known.iter().all(|known| *known as usize == count - 1) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
