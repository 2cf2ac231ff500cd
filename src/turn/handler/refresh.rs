//! Refresh (RFC 8656 §8.2).

use std::time::Duration;

use crate::turn::auth::quota_user;
use crate::turn::five_tuple::Family;
use crate::turn::input::Now;
use crate::turn::request::{Reject, Request, Signer};
use crate::turn::server::Server;
use crate::turn::verdict::{Answer, AuthFailure, CloseReason, DropReason, QuotaKind, Verdict};
use crate::wire::attribute::{AddressFamily, Lifetime, MobilityTicket, RequestedAddressFamily};
use crate::wire::{AttributeType, Message};

impl Server {
    pub(in crate::turn) fn handle_refresh(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Verdict {
        // A retransmission of the request that ended or moved the allocation.
        if let Some(answer) = self
            .retransmits
            .answer(&request.from, request.transaction_id)
            .map(Box::<[u8]>::from)
        {
            // Whoever saw the transaction id can forge this, so it is one of the answers that a source is due.
            if !self.admit_unauthenticated(now, &request.from) {
                return Verdict::Dropped(DropReason::RateLimited);
            }
            self.stats.retransmits += 1;
            self.outputs.transmit(request.from, &answer);
            return Verdict::Answered(Answer::Success);
        }
        if let Some(ticket) = message.value(AttributeType::MOBILITY_TICKET) {
            return self.handle_resume(now, request, message, ticket);
        }
        match self.authorize(now, request, message) {
            Ok((index, signer)) => self.refresh(now, request, message, index, &signer, None),
            Err(verdict) => verdict,
        }
    }

    /// Refreshes an allocation for its owner; `moved` with the serial of the ticket that brought the client here.
    pub(super) fn refresh(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
        index: u32,
        signer: &Signer,
        moved: Option<u32>,
    ) -> Verdict {
        let (families, lifetime) = match self.what_to_refresh(now, index, message) {
            Ok(wanted) => wanted,
            Err(reject) => return self.reject(now, request, reject, Some(signer)),
        };
        if !lifetime.is_zero() && self.is_revoked(now, index) {
            let who = self.allocations.get(index);
            let who = who.map(|allocation| (allocation.realm, allocation.username.clone()));
            if let Some((realm, username)) = who {
                let whom = (realm, Some(&*username));
                self.fail_authentication(now, &request.from, whom, AuthFailure::Revoked);
            }
            return self.reject(now, request, Answer::Forbidden.into(), Some(signer));
        }
        if let Some(used) = moved
            && !lifetime.is_zero()
            && let Err(kind) = self.begin_move(now, index, request.from, used)
        {
            self.hit_quota(now, index, kind);
            return self.reject(now, request, Answer::AllocationQuotaReached.into(), Some(signer));
        }
        let families = Family::ALL.into_iter().filter(|family| families[family.index()]);

        if lifetime.is_zero() {
            for family in families {
                self.close_leg(now, index, family, CloseReason::Deleted);
            }
        } else {
            let token_expires = self
                .allocations
                .get(index)
                .and_then(|allocation| allocation.token_expires);
            let expires = now.instant + lifetime;
            let expires = token_expires.map_or(expires, |ends| ends.min(expires));
            if let Some(allocation) = self.allocations.get_mut(index) {
                for family in families {
                    if let Some(leg) = &mut allocation.relays[family.index()] {
                        leg.expires = expires;
                    }
                }
            }
            self.note_expiry(index, expires);
            self.stats.allocations_refreshed += 1;
            self.note_refreshed(now, index, lifetime);
        }

        let seconds = Lifetime(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX));
        let ticket = moved.and_then(|_| self.ticket(index));
        let verdict = self.succeed(request, Some(signer), |builder| {
            builder.attribute(&seconds);
            if let Some(ticket) = &ticket {
                builder.attribute(&MobilityTicket(ticket));
            }
        });
        // What cannot be done twice: the end of an allocation, and its move.
        if (lifetime.is_zero() || moved.is_some())
            && let Some(answer) = self.outputs.last_message()
        {
            let limit = self.config.limits.retransmit_cache;
            if self
                .retransmits
                .remember(now.instant, limit, request.from, request.transaction_id, answer)
            {
                self.stats.quota_hits[QuotaKind::RetransmitCache.index()] += 1;
            }
        }
        verdict
    }

    /// Whether somebody is turned away: as the user that quotas count by, or as the one that the username names. A token has both.
    pub(super) fn is_turned_away(&self, now: Now, username: &str, user: &str) -> bool {
        let turns_away = |user| self.config.revocations.contains(now.unix, username, user);
        let named = quota_user(&self.config, username);
        turns_away(user) || (named != user && turns_away(named))
    }

    /// Whether the owner of an allocation is turned away.
    pub(in crate::turn) fn is_revoked(&self, now: Now, index: u32) -> bool {
        self.allocations
            .get(index)
            .is_some_and(|allocation| self.is_turned_away(now, &allocation.username, allocation.lease.user()))
    }

    /// Which relayed addresses, and for how long; zero deletes them.
    fn what_to_refresh(&self, now: Now, index: u32, message: &Message<'_>) -> Result<([bool; 2], Duration), Reject> {
        let bad = |_| Reject::from(Answer::BadRequest);
        let held = |family: Family| {
            self.allocations
                .get(index)
                .is_some_and(|held| held.relay(family).is_some())
        };

        // REQUESTED-ADDRESS-FAMILY names one of a dual allocation's addresses; without it all are meant.
        let requested = message.find::<RequestedAddressFamily>().map_err(bad)?;
        let families = match requested.map(RequestedAddressFamily::family) {
            None => Family::ALL.map(held),
            Some(Some(AddressFamily::Ipv4)) if held(Family::V4) => [true, false],
            Some(Some(AddressFamily::Ipv6)) if held(Family::V6) => [false, true],
            Some(_) => return Err(Answer::PeerAddressFamilyMismatch.into()),
        };
        let lifetime = match message.find::<Lifetime>().map_err(bad)? {
            Some(Lifetime(0)) => Duration::ZERO,
            asked => self.granted_lifetime(asked),
        };
        // No longer than the token (RFC 7635 §4.1.2), and no less than a second: zero would say that it ended.
        let token_expires = self
            .allocations
            .get(index)
            .and_then(|allocation| allocation.token_expires);
        let lifetime = match token_expires {
            Some(ends) if !lifetime.is_zero() => {
                let left = ends.saturating_duration_since(now.instant);
                lifetime.min(left).max(Duration::from_secs(1))
            }
            _ => lifetime,
        };
        Ok((families, lifetime))
    }
}
