//! Who may have a peer id that two nodes give to two members, judged alike on every node.

use sha2::{Digest as _, Sha256};

use super::NodeId;
use crate::signaling::{
    identity::{Identity, Takeover},
    secrets::Sid,
};

/// The first 16 bytes of a SHA-256: enough to compare by, and nothing to learn from.
pub(crate) type Digest = [u8; 16];

/// By which rule a member may take an id from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Never.
    Reject,
    /// From the same known user.
    SameOwner,
    /// From the same known user, and from nobody in particular if it is nobody in particular itself.
    Lenient,
    /// Always.
    Replace,
}

impl Rule {
    /// Every rule, by its number on the wire.
    pub(super) const ALL: [Self; 4] = [Self::Reject, Self::SameOwner, Self::Lenient, Self::Replace];

    /// What an operator's rule and a dialect's own come to.
    pub(crate) fn of(config: Takeover, dialect: Option<Takeover>) -> Self {
        match (config, dialect) {
            (Takeover::Reject, _) => Self::Reject,
            (Takeover::Replace, _) => Self::Replace,
            (Takeover::SameOwner, Some(Takeover::Replace)) => Self::Lenient,
            (Takeover::SameOwner, _) => Self::SameOwner,
        }
    }
}

/// What is needed to judge a member's claim to its id. No name and no token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) rule: Rule,
    /// Of the user, if it is a known one.
    pub(crate) owner: Option<Digest>,
    /// Of the session and its key: whoever has the key can show it.
    pub(crate) session: Digest,
    /// Of the session that this one has shown to come back from.
    pub(crate) ousts: Option<Digest>,
    /// Of a secret that its client names itself by, where its dialect has one.
    pub(crate) proof: Option<Digest>,
}

/// A claim as it is compared with another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) since_ms: u64,
    pub(crate) node: NodeId,
    pub(crate) standing: Standing,
}

impl Contender {
    /// Whether this one has the id, and not `other`. Of two exactly one has it, whoever asks.
    ///
    /// The newer one has it if its rule lets it take it from the older one. Newer is who joined later; a claim made in knowledge
    /// of another is always stamped later than that, so that clocks that differ do no harm.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        let is_newer = (self.since_ms, self.node) > (other.since_ms, other.node);
        let (newer, older) = if is_newer { (self, other) } else { (other, self) };
        newer.may_take_from(&older.standing) == is_newer
    }

    fn may_take_from(&self, older: &Standing) -> bool {
        let newer = &self.standing;
        let is_same = newer.owner.is_some() && newer.owner == older.owner;
        if newer.ousts == Some(older.session) {
            return true;
        }
        if newer.proof.is_some() && newer.proof == older.proof {
            return is_same || older.owner.is_none();
        }
        match newer.rule {
            Rule::Reject => false,
            Rule::SameOwner => is_same,
            Rule::Lenient => is_same || (newer.owner.is_none() && older.owner.is_none()),
            Rule::Replace => true,
        }
    }
}

fn digest(parts: [&[u8]; 4]) -> Digest {
    let mut digest = Sha256::new();
    for part in parts {
        // Lengths first: no two lists of parts come to the same bytes.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    std::array::from_fn(|at| digest[at])
}

/// Of a known user; two identities have the same one if they are the [same owner](Identity::same_owner).
pub(crate) fn owner(identity: &Identity) -> Option<Digest> {
    let user = identity.user.as_deref()?;
    let optional = |text: &Option<Box<str>>| text.as_deref().map_or_else(String::new, |text| format!("={text}"));
    let (realm, key) = (optional(&identity.realm), optional(&identity.public_key));
    Some(digest([b"owner", user.as_bytes(), realm.as_bytes(), key.as_bytes()]))
}

/// Of a session and the key that proves it.
pub(crate) fn session(sid: &Sid, key: &str) -> Digest {
    digest([b"session", sid.as_str().as_bytes(), key.as_bytes(), b""])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(since_ms: u64, node: u8, rule: Rule, owner: Option<u8>) -> Contender {
        Contender {
            since_ms,
            node: NodeId::new([node; 8]),
            standing: Standing {
                rule,
                owner: owner.map(|owner| [owner; 16]),
                session: [node; 16],
                ousts: None,
                proof: None,
            },
        }
    }

    #[test]
    fn of_two_claims_exactly_one_has_the_id_whoever_asks_and_whenever_they_came() {
        for rules in Rule::ALL
            .iter()
            .flat_map(|one| Rule::ALL.iter().map(move |two| (*one, *two)))
        {
            for (since, owner) in [(1, None), (2, Some(1)), (3, Some(1)), (2, Some(2))] {
                let one = contender(2, 1, rules.0, Some(1));
                let two = contender(since, 2, rules.1, owner);
                assert_ne!(one.beats(&two), two.beats(&one), "{one:?} {two:?}");
            }
        }
    }

    #[test]
    fn the_newer_one_wins_by_its_rule_and_the_older_one_otherwise() {
        let older = contender(1, 9, Rule::Replace, Some(1));
        assert!(contender(2, 1, Rule::Replace, None).beats(&older));
        assert!(!contender(2, 1, Rule::Reject, Some(1)).beats(&older));
        assert!(contender(2, 1, Rule::SameOwner, Some(1)).beats(&older));
        assert!(!contender(2, 1, Rule::SameOwner, Some(2)).beats(&older));
        assert!(!contender(2, 1, Rule::Lenient, None).beats(&older));
        let nobody = contender(1, 9, Rule::SameOwner, None);
        assert!(contender(2, 1, Rule::Lenient, None).beats(&nobody));
        assert!(!contender(2, 1, Rule::SameOwner, None).beats(&nobody));
        // At the same moment the larger node is the newer one.
        assert!(contender(1, 10, Rule::Replace, None).beats(&older));
        assert!(!contender(1, 8, Rule::Reject, None).beats(&older));
    }

    #[test]
    fn whoever_shows_the_key_of_a_session_takes_its_id_by_any_rule() {
        let older = contender(1, 9, Rule::Reject, None);
        let mut newer = contender(2, 1, Rule::Reject, None);
        assert!(!newer.beats(&older));
        newer.standing.ousts = Some(older.standing.session);
        assert!(newer.beats(&older) && !older.beats(&newer));
    }

    #[test]
    fn owners_are_the_same_by_digest_when_they_are_the_same() {
        let user = |user: &str, realm: Option<&str>, key: Option<&str>| Identity {
            user: Some(user.into()),
            realm: realm.map(Into::into),
            public_key: key.map(Into::into),
            ..Identity::ANONYMOUS
        };
        let all = [
            user("a", None, None),
            user("a", Some(""), None),
            user("a", None, Some("")),
            user("a", Some("b"), None),
            user("a", None, Some("b")),
            user("ab", None, None),
        ];
        for (one, two) in all.iter().flat_map(|one| all.iter().map(move |two| (one, two))) {
            assert_eq!(owner(one) == owner(two), one.same_owner(two), "{one:?} {two:?}");
        }
        assert_eq!(owner(&Identity::ANONYMOUS), None);
    }
}
