//! Refresh with MOBILITY-TICKET: a client that has moved asks for its allocation (RFC 8016 §3.2.2).
//!
//! The ticket says which allocation is meant and nothing else. What makes the request good is the key of that allocation, and a
//! nonce that was sent to where the request comes from: a ticket that was stolen, replayed or made up opens nothing.

use crate::turn::auth::Purpose;
use crate::turn::five_tuple::Transport;
use crate::turn::input::Now;
use crate::turn::output::Handled;
use crate::turn::request::Request;
use crate::turn::server::Server;
use crate::turn::verdict::{Answer, Verdict};
use crate::wire::{AttributeType, Message, Method};

impl Server {
    pub(super) fn handle_resume(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
        ticket: &[u8],
    ) -> Verdict {
        let opened = self.tickets.open(ticket);
        let resumed = opened.and_then(|ticket| Some((self.resumed(&ticket)?, ticket.serial)));
        let here = self.allocations.find_live(&request.from).map(|(index, _)| index);

        // The same user as ever (§3.2.2): the credentials are those of the allocation that the ticket names, else 441.
        let meant = resumed.map(|(index, _)| index).or(here);
        if meant.is_none() && !self.config.mobility {
            return self.forbid_mobility(now, request, message);
        }
        let (index, signer) = match self.authorize_for(now, request, message, meant) {
            Ok(authorized) => authorized,
            Err(verdict) => return verdict,
        };
        let refused = |answer: Answer| Err(answer);
        let checked = match resumed {
            _ if !self.config.mobility => refused(Answer::MobilityForbidden),
            // Not ours, not good any more, or empty, on the 5-tuple of an allocation.
            None => refused(Answer::BadRequest),
            Some((_, serial)) => match here {
                None => Ok(serial),
                // The path that it has asked for before and not used yet: it may not have heard the answer.
                Some(here) if here == index && self.is_new_path(index, request) => Ok(serial),
                // The client has not moved.
                Some(here) if here == index => refused(Answer::BadRequest),
                // It has another allocation here.
                Some(_) => refused(Answer::AllocationMismatch),
            },
        };
        match checked {
            Ok(serial) => self.refresh(now, request, message, index, &signer, Some(serial)),
            Err(answer) => self.reject(now, request, answer.into(), Some(&signer)),
        }
    }

    fn is_new_path(&self, index: u32, request: &Request) -> bool {
        self.allocations
            .get(index)
            .is_some_and(|allocation| allocation.five_tuple != request.from)
    }

    /// Hands a Refresh with a sibling's ticket over to that sibling, which knows what to do. Only a ticket that was made in this
    /// process gets so far. TCP and TLS went to that shard before ([`Server::belongs_elsewhere`]); other streams, and those that
    /// have gone to one already, cannot: 405.
    pub(in crate::turn) fn hand_over_ticket(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
        datagram: &[u8],
    ) -> Option<Handled> {
        if request.method != Method::REFRESH || self.shard.count < 2 || !self.config.mobility {
            return None;
        }
        let ticket = self.tickets.open(message.value(AttributeType::MOBILITY_TICKET)?)?;
        if ticket.shard == self.shard.index || ticket.shard >= self.shard.count {
            return None;
        }
        if self.allocations.find(&request.from).is_some() {
            return None;
        }
        Some(if request.from.transport == Transport::Udp {
            Self::to_owner(ticket.shard, request.from, datagram)
        } else {
            Handled::Done(self.forbid_mobility(now, request, message))
        })
    }

    /// Answers 405 to whom has credentials.
    fn forbid_mobility(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Verdict {
        let result = self
            .authenticator
            .authenticate(now, &request.from, message, None, Purpose::Other);
        match result {
            Ok(authenticated) => {
                let signer = Some(&authenticated.signer);
                self.reject(now, request, Answer::MobilityForbidden.into(), signer)
            }
            Err(refusal) => self.refuse_authentication(now, request, refusal),
        }
    }
}
