//! ConnectionBind (RFC 6062 §5.4): the connection that it comes by becomes the client's half of a data connection.

use crate::turn::auth::{Authenticated, Identity, Purpose};
use crate::turn::connection::{ConnectionKey, ConnectionState, PeerConnection};
use crate::turn::input::Now;
use crate::turn::output::Output;
use crate::turn::request::{Reject, Request};
use crate::turn::server::Server;
use crate::turn::verdict::{Answer, AuthFailure, Verdict};
use crate::wire::Message;
use crate::wire::attribute::ConnectionId;

impl Server {
    pub(in crate::turn) fn handle_connection_bind(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
    ) -> Verdict {
        // The credentials must be those of the control connection, so its key is the one to try.
        let id = message.find::<ConnectionId>().ok().flatten();
        let key = id.and_then(|id| self.connections.find(id));
        let connection = key.and_then(|key| self.connections.get(key));
        let owner = connection.and_then(|connection| self.allocations.get(connection.allocation));
        let result = self
            .authenticator
            .authenticate(now, &request.from, message, owner, Purpose::Other);
        let Authenticated { signer, identity, .. } = match result {
            Ok(authenticated) => authenticated,
            Err(refusal) => return self.refuse_authentication(now, request, refusal),
        };
        if let Err(reject) = self.refuse_unknown(message) {
            return self.reject(now, request, reject, Some(&signer));
        }
        let key = match self.judge_connection_bind(now, request, key, &identity) {
            Ok(key) => key,
            Err(reject) => return self.reject(now, request, reject, Some(&signer)),
        };
        let verdict = self.succeed(request, Some(&signer), |_| {});
        if verdict == Verdict::Answered(Answer::Success) {
            self.outputs.ask(Output::JoinConnection {
                connection: key,
                client: request.from,
            });
            if let Some(connection) = self.connections.get_mut(key) {
                connection.state = ConnectionState::Bound(request.from.transport);
                connection.lease.bound();
                self.stats.connections_pending -= 1;
                self.stats.connections_active += 1;
            }
        }
        verdict
    }

    fn judge_connection_bind(
        &mut self,
        now: Now,
        request: &Request,
        key: Option<ConnectionKey>,
        identity: &Identity,
    ) -> Result<ConnectionKey, Reject> {
        // A stream, and not the control connection of an allocation: what comes by it from now on is data.
        if !request.from.transport.is_tcp() || self.allocations.find(&request.from).is_some() {
            return Err(Answer::BadRequest.into());
        }
        let is_unbound = |connection: &PeerConnection| matches!(connection.state, ConnectionState::Unbound { .. });
        let key = key
            .filter(|key| self.connections.get(*key).is_some_and(is_unbound))
            .ok_or(Answer::BadRequest)?;
        match identity {
            Identity::Owner => Ok(key),
            Identity::Other(account) => {
                let whom = (account.realm, Some(&*account.username));
                self.fail_authentication(now, &request.from, whom, AuthFailure::WrongUser);
                Err(Answer::WrongCredentials.into())
            }
        }
    }
}
