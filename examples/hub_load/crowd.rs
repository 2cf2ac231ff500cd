//! Many clients that come in at once, so many at a time.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Failure,
    histogram::Histogram,
    speak::{Entered, Target},
};

/// Everybody who came in, by number, and how it went.
pub(crate) struct Crowd {
    pub(crate) members: Vec<Entered>,
    /// Nanoseconds from the first byte of a connection to the answer to its join.
    pub(crate) entering: Histogram,
    pub(crate) seconds: f64,
    /// Clients that could not come in, and what the first of them was told.
    pub(crate) failed: usize,
    pub(crate) complaint: Option<String>,
}

/// Opens `count` connections from number `first` on; `room` names the room of each.
pub(crate) async fn enter(
    target: &Target,
    first: usize,
    count: usize,
    at_once: usize,
    room: impl Fn(usize) -> String,
) -> Result<Crowd, Failure> {
    let members: Rc<RefCell<Vec<(usize, Entered)>>> = Rc::default();
    let kept = Rc::clone(&members);
    let keep = move |at, entered| kept.borrow_mut().push((at, entered));
    let mut crowd = enter_each(target, first, count, at_once, room, keep).await?;
    let mut members = members.take();
    members.sort_unstable_by_key(|(at, _)| *at);
    crowd.members = members.into_iter().map(|(_, entered)| entered).collect();
    Ok(crowd)
}

/// The same, each handed over as soon as it is in: nobody waits unread for so long that the server takes it for dead.
pub(crate) async fn enter_each(
    target: &Target,
    first: usize,
    count: usize,
    at_once: usize,
    room: impl Fn(usize) -> String,
    each: impl Fn(usize, Entered) + 'static,
) -> Result<Crowd, Failure> {
    let each = Rc::new(each);
    let turns = Arc::new(Semaphore::new(at_once));
    let entering = Rc::new(RefCell::new(Histogram::new()));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for at in first..first + count {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        let (target, room, entering, each) = (target.clone(), room(at), Rc::clone(&entering), Rc::clone(&each));
        tasks.spawn_local(async move {
            let _turn = turn;
            let started = Instant::now();
            let entered = target.enter(at, &room).await;
            entering.borrow_mut().record(started.elapsed().as_nanos() as u64);
            entered.map(|entered| each(at, entered))
        });
    }
    let (mut failed, mut complaint) = (0, None);
    while let Some(done) = tasks.join_next().await {
        match done? {
            Ok(()) => {}
            Err(error) => {
                failed += 1;
                complaint.get_or_insert_with(|| error.to_string());
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Crowd {
        members: Vec::new(),
        entering: Rc::into_inner(entering).map_or_else(Histogram::new, RefCell::into_inner),
        seconds,
        failed,
        complaint,
    })
}
