//! An operator's desk behind which there is no relay, for routers without a process around them.

use meetpoint::credentials::{UnixTime, Username};
use meetpoint::events::talkers::{Question, Top};
use meetpoint::fleet::Announced;
use meetpoint::http::admin::{Cursor, Operator, OperatorError, ProbedServer, Reloaded};
use meetpoint::signaling::NodeId;
use meetpoint::turn::{AllocationId, AllocationView, Filter, Revoked, Tenants};

/// A process without a relay.
pub(crate) struct Nobody;

impl Operator for Nobody {
    fn allocations(
        &self,
        _: &Filter,
        _: Cursor,
        _: usize,
    ) -> Result<(Vec<AllocationView>, Option<Cursor>), OperatorError> {
        Ok((Vec::new(), None))
    }
    fn end(&self, _: AllocationId) -> Result<bool, OperatorError> {
        Ok(false)
    }
    fn end_fitting(&self, _: &Filter) -> Result<u32, OperatorError> {
        Ok(0)
    }
    fn revoke(&self, _: UnixTime, _: Revoked, _: UnixTime) -> Result<u32, OperatorError> {
        Ok(0)
    }
    fn revoke_for_tenant(&self, _: UnixTime, _: Revoked, _: UnixTime, _: &Tenants) -> Result<u32, OperatorError> {
        Ok(0)
    }
    fn revocations(&self, _: UnixTime, _: Option<&Revoked>, _: usize) -> (Vec<(Revoked, UnixTime)>, bool) {
        (Vec::new(), false)
    }
    fn lift(&self, _: UnixTime, _: &Revoked) -> bool {
        false
    }
    fn turns_away(&self, _: UnixTime, _: &Username<'_>) -> bool {
        false
    }
    fn relays(&self) -> Vec<(NodeId, Announced)> {
        Vec::new()
    }
    fn top(&self, _: Question) -> Result<Top, OperatorError> {
        Ok(Top::default())
    }
    fn probed(&self) -> Vec<ProbedServer> {
        Vec::new()
    }
    fn configuration(&self) -> Result<String, OperatorError> {
        Ok(String::new())
    }
    fn reload(&self) -> Result<Reloaded, OperatorError> {
        Ok(Reloaded::default())
    }
    fn drain(&self) -> Result<(), OperatorError> {
        Ok(())
    }
}
