//! How many connections each user has. Those of nobody in particular are bounded by their address, which the driver counts.

use super::Hub;
use crate::signaling::{
    connection::ConnectionId,
    error::Reject,
    identity::Identity,
    labels::{CloseCode, ErrorCode},
};

/// A user, told apart from one of the same name of another tenant.
pub(super) type Owner = (Option<Box<str>>, Box<str>);

fn owner(identity: &Identity) -> Option<Owner> {
    let user = identity.user.clone()?;
    Some((identity.realm.clone(), user))
}

impl Hub {
    /// Whether one more connection of this identity may be welcomed, in the place of `older` if that is one of its own.
    pub(super) fn check_owner(&self, identity: &Identity, older: Option<ConnectionId>) -> Result<(), Reject> {
        let limit = self.config.connections_per_user;
        let Some(owner) = owner(identity).filter(|_| limit > 0) else {
            return Ok(());
        };
        let open = self.by_owner.get(&owner).copied().unwrap_or_default();
        let given_back = older.is_some_and(|older| self.owner_of(older).as_ref() == Some(&owner));
        if open - usize::from(given_back) < limit {
            return Ok(());
        }
        let reject = Reject::new(ErrorCode::Limit, "your user has as many connections as it may");
        Err(reject.retry(self.config.ping_interval).fatal(CloseCode::Limit))
    }

    /// Whose connection that is, if it counts: welcomed, with a user and a socket.
    fn owner_of(&self, connection: ConnectionId) -> Option<Owner> {
        let entry = self.connections.get(connection).filter(|entry| !entry.is_away())?;
        owner(entry.peer.as_ref()?.identity())
    }

    /// Counts a connection that has just been welcomed, or been given another identity.
    pub(super) fn count_owner(&mut self, identity: &Identity) {
        let counted = owner(identity).filter(|_| self.config.connections_per_user > 0);
        if let Some(owner) = counted {
            *self.by_owner.entry(owner).or_insert(0) += 1;
        }
    }

    /// Counts one less: it has ended, or lost its socket, or is about to be counted as another's.
    pub(super) fn discount_owner(&mut self, identity: &Identity) {
        let Some(owner) = owner(identity) else { return };
        if let Some(open) = self.by_owner.get_mut(&owner) {
            *open -= 1;
            if *open == 0 {
                self.by_owner.remove(&owner);
            }
        }
    }
}
