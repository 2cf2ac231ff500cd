//! Whom operators keep out: by peer id, by user, by address, or everybody from one room.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    ops::Bound,
};

use hashbrown::HashMap;

use super::room::Realm;

/// Who is kept out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Barred {
    /// Nobody gets in: a room that is closed for now.
    Everybody,
    /// Who uses that peer id. Of use where ids are somebody's, which is where tokens name them.
    Peer(Box<str>),
    /// That user of that tenant (`None` is the default one).
    User(Box<str>, Option<Box<str>>),
    /// Who comes from that address (IPv6: from its /64).
    Address(IpAddr),
}

/// By what somebody who is put out is known when they come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BanBy {
    /// Its user if it has one, else its peer id.
    #[default]
    Auto,
    /// Its peer id.
    Peer,
    /// Its address, as far as the driver said; else its peer id.
    Address,
}

impl BanBy {
    /// Each by its number on the bus.
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Peer, Self::Address];
}

/// One room of one realm.
pub type BanRoom = (Realm, Box<str>);

/// A ban in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Grows from ban to ban; 0 asks for the next one. The same on every replica.
    pub id: u64,
    /// `None` is the whole server.
    pub room: Option<BanRoom>,
    /// Whom it keeps out.
    pub who: Barred,
    /// When it ends, milliseconds since the Unix epoch.
    pub until_ms: u64,
    /// What the operator wrote, told to nobody but operators.
    pub reason: Option<Box<str>>,
}

/// The highest number that comes from elsewhere: all of them are exact in JSON.
const MAX_ID: u64 = 1 << 52;

/// Longest name that a ban may have in it, in bytes.
const MAX_NAME: usize = 1_024;

impl Ban {
    /// Whether its names are as long as names may be: other replicas are not believed that.
    pub(crate) fn has_short_names(&self) -> bool {
        let room = self.room.as_ref().map(|(_, name)| &**name);
        let names = match &self.who {
            Barred::Everybody | Barred::Address(_) => [None, None],
            Barred::Peer(name) => [Some(&**name), None],
            Barred::User(name, tenant) => [Some(&**name), tenant.as_deref()],
        };
        let all = names.into_iter().chain([room, self.reason.as_deref()]);
        all.flatten().all(|name| name.len() <= MAX_NAME)
    }
}

/// As many bans are in force as may be. To forget one would let somebody in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many bans are in force")]
pub struct BansFull;

/// Who wants to come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comer<'a> {
    pub(crate) peer: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) address: Option<IpAddr>,
}

type Place = (Option<BanRoom>, Barred);

/// The bans of a hub.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    by_place: HashMap<Place, u64, foldhash::fast::RandomState>,
    by_id: BTreeMap<u64, Ban>,
    last: u64,
}

/// An address as bans know it: a household or host has a whole /64 of IPv6 to choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

impl Bans {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Keeps somebody out. A later ban of the same in the same place takes the place of the older one.
    pub(crate) fn insert(&mut self, now_ms: u64, mut ban: Ban, most: usize) -> Result<u64, BansFull> {
        if let Barred::Address(address) = &mut ban.who {
            *address = network(*address);
        }
        let place = (ban.room.clone(), ban.who.clone());
        if let Some(older) = self.by_place.get(&place) {
            self.by_id.remove(older);
        } else if self.by_id.len() >= most {
            self.forget_ended(now_ms);
            if self.by_id.len() >= most {
                return Err(BansFull);
            }
        }
        if ban.id == 0 || self.by_id.contains_key(&ban.id) {
            ban.id = self.last + 1;
        }
        let id = ban.id;
        self.last = self.last.max(id);
        self.by_place.insert(place, id);
        self.by_id.insert(id, ban);
        Ok(id)
    }

    /// A ban that another replica has made. `None` if it was known, or a later one of the same in the same place is in force, or
    /// there are too many.
    pub(crate) fn take_over(&mut self, now_ms: u64, mut ban: Ban, most: usize) -> Option<u64> {
        if let Barred::Address(address) = &mut ban.who {
            *address = network(*address);
        }
        // Numbers are counted up from there: one at the end of them all would leave none.
        let known = self.by_place.get(&(ban.room.clone(), ban.who.clone()));
        if ban.id > MAX_ID || ban.until_ms <= now_ms || known.is_some_and(|known| *known >= ban.id) {
            return None;
        }
        self.insert(now_ms, ban, most).ok()
    }

    /// Numbers begin no lower than this from now on.
    pub(crate) fn count_from(&mut self, number: u64) {
        self.last = self.last.max(number.min(MAX_ID));
    }

    /// Ends the ban of that place.
    pub(crate) fn lift_place(&mut self, room: Option<BanRoom>, mut who: Barred) {
        if let Barred::Address(address) = &mut who {
            *address = network(*address);
        }
        if let Some(id) = self.by_place.remove(&(room, who)) {
            self.by_id.remove(&id);
        }
    }

    /// A ban by its number.
    pub(crate) fn find(&self, id: u64) -> Option<&Ban> {
        self.by_id.get(&id)
    }

    fn forget_ended(&mut self, now_ms: u64) {
        self.by_id.retain(|_, ban| ban.until_ms > now_ms);
        let left = &self.by_id;
        self.by_place.retain(|_, id| left.contains_key(id));
    }

    /// Ends a ban; `false` if none of that number is in force.
    pub(crate) fn lift(&mut self, now_ms: u64, id: u64) -> bool {
        let Some(ban) = self.by_id.remove(&id) else {
            return false;
        };
        let in_force = ban.until_ms > now_ms;
        self.by_place.remove(&(ban.room, ban.who));
        in_force
    }

    /// At most `most` of the bans in force with numbers above `after`, and whether there are more.
    pub(crate) fn page(&self, now_ms: u64, after: u64, most: usize) -> (Vec<Ban>, bool) {
        let rest = self.by_id.range((Bound::Excluded(after), Bound::Unbounded));
        let mut in_force = rest.map(|(_, ban)| ban).filter(|ban| ban.until_ms > now_ms);
        let page = in_force.by_ref().take(most).cloned().collect();
        (page, in_force.next().is_some())
    }

    /// When the ban ends that keeps `comer` out of that room, or out of the whole server.
    pub(crate) fn keeps_out(&self, now_ms: u64, room: Option<(Realm, &str)>, comer: &Comer<'_>) -> Option<u64> {
        if self.by_id.is_empty() {
            return None;
        }
        let room = room.map(|(realm, name)| (realm, Box::from(name)));
        let user = comer
            .user
            .map(|user| Barred::User(user.into(), comer.tenant.map(Box::from)));
        let everybody = room.is_some().then_some(Barred::Everybody);
        let names = [
            everybody,
            comer.peer.map(|peer| Barred::Peer(peer.into())),
            user,
            comer.address.map(|address| Barred::Address(network(address))),
        ];
        let places = names.into_iter().flatten().map(|who| (room.clone(), who));
        let found = places.filter_map(|place| self.by_id.get(self.by_place.get(&place)?));
        found.map(|ban| ban.until_ms).filter(|until| *until > now_ms).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(room: Option<&str>, who: Barred, until_ms: u64) -> Ban {
        Ban {
            id: 0,
            room: room.map(|room| (Realm(0), room.into())),
            who,
            until_ms,
            reason: None,
        }
    }

    const NOBODY: Comer<'static> = Comer {
        peer: None,
        user: None,
        tenant: None,
        address: None,
    };

    #[test]
    fn a_ban_holds_in_its_place_for_whom_it_names_and_until_its_end() {
        let mut bans = Bans::default();
        let address = |text: &str| text.parse::<IpAddr>().ok();
        let all = [
            (Some("r"), Barred::Peer("p".into())),
            (None, Barred::User("u".into(), Some("acme".into()))),
            (None, Barred::Address(address("2001:db8::1").unwrap())),
            (Some("closed"), Barred::Everybody),
        ];
        for (room, who) in all {
            bans.insert(10, ban(room, who, 100), 10).unwrap();
        }
        let peer = Comer {
            peer: Some("p"),
            ..NOBODY
        };
        assert_eq!(bans.keeps_out(99, Some((Realm(0), "r")), &peer), Some(100));
        assert_eq!(bans.keeps_out(100, Some((Realm(0), "r")), &peer), None);
        assert_eq!(bans.keeps_out(99, Some((Realm(1), "r")), &peer), None);
        assert_eq!(bans.keeps_out(99, None, &peer), None);
        assert_eq!(bans.keeps_out(99, Some((Realm(0), "closed")), &NOBODY), Some(100));
        let user = Comer {
            user: Some("u"),
            ..NOBODY
        };
        assert_eq!(bans.keeps_out(99, None, &user), None, "another tenant's");
        let tenant = Some("acme");
        assert_eq!(bans.keeps_out(99, None, &Comer { tenant, ..user }), Some(100));
        let from = |text| Comer {
            address: address(text),
            ..NOBODY
        };
        assert_eq!(bans.keeps_out(99, None, &from("2001:db8::ffff:1")), Some(100));
        assert_eq!(bans.keeps_out(99, None, &from("2001:db8:0:1::1")), None);
    }

    #[test]
    fn a_full_table_refuses_until_something_in_it_is_over_or_lifted() {
        let mut bans = Bans::default();
        let peer = |name: &str, until| ban(None, Barred::Peer(name.into()), until);
        assert_eq!(bans.insert(0, peer("a", 10), 2), Ok(1));
        assert_eq!(bans.insert(0, peer("b", 20), 2), Ok(2));
        assert_eq!(bans.insert(0, peer("c", 30), 2), Err(BansFull));
        assert_eq!(bans.insert(0, peer("b", 25), 2), Ok(3), "the same one again");
        assert_eq!(bans.insert(10, peer("c", 30), 2), Ok(4));
        assert!(bans.lift(10, 3) && !bans.lift(10, 3) && !bans.lift(10, 1));
        assert_eq!(bans.insert(10, peer("d", 30), 2), Ok(5));
        let (page, more) = bans.page(10, 0, 1);
        assert_eq!((page[0].id, more), (4, true));
        let (page, more) = bans.page(10, 4, 9);
        assert_eq!((page[0].id, page.len(), more), (5, 1, false));
        assert_eq!(bans.page(30, 0, 9).0, []);
        assert_eq!(bans.len(), 2);
    }
}
