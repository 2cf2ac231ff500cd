//! What the admin API asks for, done: questions to the workers, orders to the main loop.

use super::fleet::FleetHandle;
use super::probes;
use super::talkers::Looker;
use crate::credentials::{UnixTime, Username};
use crate::events::talkers::{Question, Top};
use crate::fleet::Announced;
use crate::http::Issuer;
use crate::http::admin::{Cursor, Operator, OperatorError, PATIENCE, ProbedServer, Reloaded};
use crate::probe::Board;
use crate::signaling::{NodeId, Sid};
use crate::telemetry::Metrics;
use crate::transport::{Inquiry, NoAnswer};
use crate::turn::{AllocationId, AllocationView, Change, Filter, Revocations, RevocationsFull, Revoked, Tenants};
use std::sync::Arc;
use std::sync::mpsc as answers;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// How long a worker may take to its next turn.
const TURN: Duration = Duration::from_secs(1);

/// Orders that may wait for the main loop.
pub(super) const MAX_ORDERS: usize = 8;

/// What only the main loop can do.
pub(super) enum Order {
    /// Read the configuration again, and say what came of it.
    Reload(answers::SyncSender<Result<Reloaded, String>>),
    /// Say what is in effect.
    Show(answers::SyncSender<String>),
    /// Stop, as by a signal.
    Drain,
}

/// The process as the admin API sees it.
pub(super) struct Desk {
    pub(super) relay: Inquiry,
    pub(super) revocations: Revocations,
    /// The other replicas, which do as operators of this one say.
    pub(super) fleet: Option<FleetHandle>,
    /// Who did most.
    pub(super) looker: Arc<Looker>,
    /// What probes found.
    pub(super) probed: Board,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) metrics: Metrics,
}

impl From<NoAnswer> for OperatorError {
    fn from(NoAnswer: NoAnswer) -> Self {
        Self::Busy
    }
}

impl Desk {
    fn order<T>(&self, order: impl FnOnce(answers::SyncSender<T>) -> Order) -> Result<T, OperatorError> {
        let (answer, answered) = answers::sync_channel(1);
        let sent = self.orders.try_send(order(answer));
        sent.map_err(|_| OperatorError::Busy)?;
        answered.recv_timeout(PATIENCE).map_err(|_| OperatorError::Busy)
    }
}

impl Operator for Desk {
    fn allocations(
        &self,
        filter: &Filter,
        (worker, mut place): Cursor,
        most: usize,
    ) -> Result<(Vec<AllocationView>, Option<Cursor>), OperatorError> {
        let mut found = Vec::new();
        for worker in worker.. {
            if usize::from(worker) >= self.relay.workers() {
                break;
            }
            loop {
                let (filter, left) = (filter.clone(), most - found.len());
                let page = self.relay.ask(worker.into(), TURN, move |server, now| {
                    server.page(now, &filter, place, left)
                })?;
                found.extend(page.allocations);
                let Some(next) = page.next else { break };
                place = next;
                if found.len() >= most {
                    return Ok((found, Some((worker, place))));
                }
            }
            place = 0;
            if found.len() >= most {
                let more = usize::from(worker) + 1 < self.relay.workers();
                return Ok((found, more.then_some((worker + 1, 0))));
            }
        }
        Ok((found, None))
    }

    fn end(&self, id: AllocationId) -> Result<bool, OperatorError> {
        let worker = usize::from(id.shard);
        if worker >= self.relay.workers() {
            return Ok(false);
        }
        Ok(self.relay.ask(worker, TURN, move |server, now| server.end(now, id))?)
    }

    fn end_fitting(&self, filter: &Filter) -> Result<u32, OperatorError> {
        let mut all = 0;
        for worker in 0..self.relay.workers() {
            let mut from = Some(0);
            while let Some(place) = from {
                let filter = filter.clone();
                let question = move |server: &mut crate::turn::Server, now| server.end_fitting(now, &filter, place);
                let (ended, next) = self.relay.ask(worker, TURN, question)?;
                all += ended;
                from = next;
            }
        }
        Ok(all)
    }

    fn revoke(&self, now: UnixTime, who: Revoked, until: UnixTime) -> Result<u32, OperatorError> {
        // Turned away first, then ended: nobody comes back in between.
        let inserted = self.revocations.insert(now, who.clone(), until);
        self.end_all_of(who, inserted)
    }

    fn revoke_for_tenant(
        &self,
        now: UnixTime,
        who: Revoked,
        until: UnixTime,
        tenants: &Tenants,
    ) -> Result<u32, OperatorError> {
        let inserted = self.revocations.insert_for_tenant(now, who.clone(), until, tenants);
        self.end_all_of(who, inserted)
    }

    fn revocations(&self, now: UnixTime, after: Option<&Revoked>, most: usize) -> (Vec<(Revoked, UnixTime)>, bool) {
        self.revocations.page(now, after, most)
    }

    fn lift(&self, now: UnixTime, who: &Revoked) -> bool {
        let change = self.revocations.lift(now, who);
        if let (Some(fleet), Some(change)) = (&self.fleet, &change) {
            fleet.tell(change);
        }
        change.is_some()
    }

    fn top(&self, question: Question) -> Result<Top, OperatorError> {
        Ok(self.looker.top(question)?)
    }

    fn turns_away(&self, now: UnixTime, username: &Username<'_>) -> bool {
        self.revocations.contains(now, username.as_str(), username.user())
    }

    fn probed(&self) -> Vec<ProbedServer> {
        probes::shown(&self.probed)
    }

    fn relays(&self) -> Vec<(NodeId, Announced)> {
        self.fleet.as_ref().map(FleetHandle::relays).unwrap_or_default()
    }

    fn configuration(&self) -> Result<String, OperatorError> {
        self.order(Order::Show)
    }

    fn reload(&self) -> Result<Reloaded, OperatorError> {
        self.order(Order::Reload)?.map_err(OperatorError::Rejected)
    }

    fn drain(&self) -> Result<(), OperatorError> {
        self.orders.try_send(Order::Drain).map_err(|_| OperatorError::Busy)
    }
}

/// What somebody holds who is turned away.
fn all_of(who: Revoked) -> Filter {
    let mut filter = Filter::default();
    match who {
        Revoked::User(user) => filter.user = Some(user),
        Revoked::Username(username) => filter.username = Some(username),
        Revoked::Session(session) => filter.session = Some(session),
    }
    filter
}

impl Desk {
    /// Ends every allocation of those who are turned away; how many.
    pub(super) fn end_revoked(&self) -> Result<u32, OperatorError> {
        let mut all = 0;
        for worker in 0..self.relay.workers() {
            let mut from = Some(0);
            while let Some(place) = from {
                let question = move |server: &mut crate::turn::Server, now| server.end_revoked(now, place);
                let (ended, next) = self.relay.ask(worker, TURN, question)?;
                all += ended;
                from = next;
            }
        }
        Ok(all)
    }

    /// Somebody who should be turned away is not.
    fn refuse(&self, full: RevocationsFull) -> OperatorError {
        self.metrics.api().revocation_refused(full);
        OperatorError::Full(full)
    }

    /// Tells the others who is turned away from now on, and ends what they hold.
    fn end_all_of(&self, who: Revoked, inserted: Result<Change, RevocationsFull>) -> Result<u32, OperatorError> {
        let change = inserted.map_err(|full| self.refuse(full))?;
        if let Some(fleet) = &self.fleet {
            fleet.tell(&change);
        }
        self.end_fitting(&all_of(who))
    }

    /// Turns a session away of which every replica is told by its hub: by each for itself, so that none tells the others once more.
    /// Whatever an operator says of it, before or after, is later than this.
    fn cut_off(&self, now: UnixTime, sid: &Sid, until: UnixTime) -> Result<u32, OperatorError> {
        let who = Revoked::Session(sid.as_str().into());
        let change = Change {
            who: who.clone(),
            until,
            in_force: true,
            stamp: 1,
        };
        let merged = self.revocations.merge(now, change);
        merged.map_err(|full| self.refuse(full))?;
        self.end_fitting(&all_of(who))
    }
}

/// Ends what sessions hold of the relay that operators ended by way of other replicas, until nobody ends any more.
pub(super) async fn cut_off(mut ended: mpsc::Receiver<Sid>, desk: Arc<Desk>, issuer: Issuer) {
    while let Some(sid) = ended.recv().await {
        let now = UnixTime::from_system_time(SystemTime::now());
        let until = UnixTime(now.0 + issuer.longest().as_secs() + 1);
        let operator = Arc::clone(&desk);
        // The workers are asked in turn, and waited for.
        let asked = spawn_blocking(move || operator.cut_off(now, &sid, until)).await;
        if !matches!(asked, Ok(Ok(_))) {
            tracing::warn!(
                "what a session held of the relay, which an operator ended elsewhere, may go on until it expires"
            );
        }
    }
}
