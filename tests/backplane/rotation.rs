//! A shared secret that is replaced on two replicas while both mint and both relay.
//!
//! The client that judges is that of the `turn` crate: it allocates with what a replica's API gave, exactly as it was given.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use meetpoint::credentials::{KeyRing, UnixTime, mint};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use turn::client::{Client, ClientConfig};

use crate::fleet::list;
use crate::redis::{PATIENCE, Redis, pause};
use crate::replica::{Replica, write_private};

const SECRETS: [&str; 4] = [
    "the first secret of both replicas",
    "the second secret of both replicas",
    "the third secret of both replicas",
    "the fourth secret of both replicas",
];

/// Of every credential that is issued here, and so the time after which a secret that mints no more may go.
const TTL: u64 = 20;

fn now() -> u64 {
    UnixTime::from_system_time(SystemTime::now()).0
}

/// How new secrets come to a replica.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The file is replaced, and the process told so.
    FileAndSignal,
    /// As Kubernetes does it: the file is a link to `..data/secret`, and `..data` a link that another one replaces at once.
    SwappedLink,
}

/// One of two replicas, with a file of secrets of its own.
struct Rotated {
    replica: Replica,
    mount: TempDir,
    delivery: Delivery,
    versions: AtomicU64,
}

impl Rotated {
    fn start(redis: &Redis, delivery: Delivery, secrets: &[&str]) -> Self {
        let mount = TempDir::new().unwrap();
        publish(&mount, delivery, 0, secrets);
        let file = mount.path().join("secret");
        let config = format!("[credentials]\nsecrets_file = {file:?}\n");
        let arguments = ["--http-rate", "0/s"];
        let replica = Replica::start_with(&redis.url(), &[("meetpoint.toml", &config)], &arguments);
        Self {
            replica,
            mount,
            delivery,
            versions: AtomicU64::new(0),
        }
    }

    /// Waits until they are in force.
    fn learn(&self, secrets: &[&str]) {
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        publish(&self.mount, self.delivery, version, secrets);
        if self.delivery == Delivery::FileAndSignal {
            self.replica.signal("HUP");
        }
        let wanted = version as f64;
        self.replica
            .wait_metric("meetpoint_config_reloads_total{result=\"applied\"}", |applied| {
                applied == wanted
            });
    }
}

fn publish(mount: &TempDir, delivery: Delivery, version: u64, secrets: &[&str]) {
    let at = |name: &str| mount.path().join(name);
    let content = secrets.join("\n");
    match delivery {
        Delivery::FileAndSignal => {
            write_private(&at("next"), &content);
            std::fs::rename(at("next"), at("secret")).unwrap();
        }
        Delivery::SwappedLink => {
            let directory = format!("..{version}");
            std::fs::create_dir(at(&directory)).unwrap();
            write_private(&at(&directory).join("secret"), &content);
            symlink(&directory, at("..data_tmp")).unwrap();
            std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
            if version == 0 {
                symlink(PathBuf::from("..data").join("secret"), at("secret")).unwrap();
            } else {
                std::fs::remove_dir_all(at(&format!("..{}", version - 1))).unwrap();
            }
        }
    }
}

#[derive(Clone)]
struct Credential {
    username: String,
    password: String,
}

impl Credential {
    fn issued_by(replica: &Replica) -> Self {
        let (_, username, password) = list(replica, &format!("?ttl={TTL}"));
        Self { username, password }
    }

    fn expires(&self) -> u64 {
        self.username.split(':').next().unwrap().parse().unwrap()
    }

    /// What the relay says to it.
    async fn try_at(&self, replica: &Replica) -> Result<(), turn::Error> {
        let address = replica.relay.to_string();
        let client = Client::new(ClientConfig {
            stun_serv_addr: address.clone(),
            turn_serv_addr: address,
            username: self.username.clone(),
            password: self.password.clone(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
            vnet: None,
        })
        .await?;
        client.listen().await?;
        let allocated = client.allocate().await;
        if let Ok(relay) = &allocated {
            use webrtc_util::Conn as _;
            relay.close().await.unwrap();
        }
        client.close().await?;
        allocated.map(drop)
    }
}

/// What was tried, all the time that secrets change.
#[derive(Default)]
struct Trials {
    /// Times that all was tried.
    rounds: AtomicU64,
    ended: AtomicBool,
    /// How often each replica took one, by the replica that had issued it.
    taken: Mutex<HashMap<(usize, usize), u64>>,
    refused: Mutex<Vec<String>>,
}

impl Trials {
    /// Issues at both and tries at both, over and over. Those of every fourth round are kept, and tried again until they end.
    fn run(&self, replicas: [&Replica; 2]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut kept: Vec<(usize, Credential)> = Vec::new();
        while !self.ended.load(Ordering::Relaxed) {
            let round = self.rounds.load(Ordering::Relaxed);
            let fresh = [0, 1].map(|issuer| (issuer, Credential::issued_by(replicas[issuer])));
            kept.retain(|(_, credential)| credential.expires() > now());
            for (issuer, credential) in kept.iter().chain(&fresh) {
                for (at, replica) in replicas.iter().enumerate() {
                    self.judge(*issuer, at, credential, runtime.block_on(credential.try_at(replica)));
                }
            }
            if round.is_multiple_of(4) {
                kept.extend(fresh);
            }
            self.rounds.store(round + 1, Ordering::Relaxed);
        }
    }

    fn judge(&self, issuer: usize, at: usize, credential: &Credential, said: Result<(), turn::Error>) {
        match said {
            Ok(()) => *self.taken.lock().unwrap().entry((issuer, at)).or_default() += 1,
            // It ended while it was tried, on a busy machine.
            Err(_) if credential.expires() <= now() => {}
            Err(error) => {
                let line = format!("{} of {issuer} at {at}: {error}", credential.username);
                self.refused.lock().unwrap().push(line);
            }
        }
    }

    /// Waits until all has been tried once more, from the beginning.
    fn again(&self) {
        let (start, before) = (Instant::now(), self.rounds.load(Ordering::Relaxed));
        while self.rounds.load(Ordering::Relaxed) < before + 2 {
            assert!(start.elapsed() < PATIENCE * 2);
            pause();
        }
    }
}

/// One content of the file, which all replicas get before the next one.
struct Step {
    secrets: Vec<&'static str>,
    /// Whether what was minted before has to end first.
    waits: bool,
    /// Which replica gets it first, and which then.
    order: [usize; 2],
}

/// How a secret is replaced, twice, the second time with the replicas the other way round.
struct Way {
    /// What both start with.
    first: &'static [&'static str],
    steps: Vec<Step>,
    /// Which of the secrets open something at the end.
    open: [bool; 4],
}

/// The order of docs/scaling.md: the new secret is learned, then it mints, then the old one goes.
fn three_steps() -> Way {
    let steps = [(0, [0, 1]), (1, [1, 0])].into_iter().flat_map(|(turn, order)| {
        let (old, new) = (SECRETS[turn], SECRETS[turn + 1]);
        [(vec![old, new], false), (vec![new, old], false), (vec![new], true)].map(|(secrets, waits)| Step {
            secrets,
            waits,
            order,
        })
    });
    Way {
        first: &SECRETS[..1],
        steps: steps.collect(),
        open: [false, false, true, false],
    }
}

/// The Secret that the Helm chart generates: current, next and previous, which all move up at once.
fn one_step_of_the_chart() -> Way {
    let rotated = |turn: usize, order, waits| Step {
        secrets: vec![SECRETS[turn + 1], SECRETS[turn + 2], SECRETS[turn]],
        waits,
        order,
    };
    Way {
        first: &SECRETS[..2],
        steps: vec![rotated(0, [0, 1], false), rotated(1, [1, 0], true)],
        open: [false, true, true, true],
    }
}

fn rotate_twice(delivery: Delivery, way: &Way) {
    let redis = Redis::start(&[]);
    let both = [(); 2].map(|()| Rotated::start(&redis, delivery, way.first));
    let trials = Trials::default();
    std::thread::scope(|scope| {
        let replicas = both.each_ref().map(|one| &one.replica);
        let trials = &trials;
        let tries = scope.spawn(move || trials.run(replicas));
        // Whatever fails here ends the other thread, too.
        let ending = Ending(trials);
        trials.again();
        for step in &way.steps {
            let may_begin = now() + TTL;
            while step.waits && now() <= may_begin {
                pause();
            }
            for index in step.order {
                both[index].learn(&step.secrets);
                trials.again();
            }
        }
        drop(ending);
        tries.join().unwrap();
    });
    let refused = trials.refused.lock().unwrap();
    assert!(refused.is_empty(), "{refused:#?}");
    let taken = trials.taken.lock().unwrap();
    for pair in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        assert!(taken.get(&pair).is_some_and(|taken| *taken >= 10), "{taken:?}");
    }
    // It was no rotation if what went still opened.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (secret, opens) in SECRETS.iter().zip(way.open) {
        let credential = minted_with(secret);
        for one in &both {
            let said = runtime.block_on(credential.try_at(&one.replica));
            assert_eq!(said.is_ok(), opens, "{secret}: {said:?}");
        }
    }
}

struct Ending<'a>(&'a Trials);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

fn minted_with(secret: &str) -> Credential {
    let ring = KeyRing::from_bytes([secret]).unwrap();
    let issued = UnixTime::from_system_time(SystemTime::now());
    let credential = mint(&ring, issued, "alice", Duration::from_secs(600)).unwrap();
    Credential {
        username: credential.username.to_string(),
        password: credential.password.as_str().to_owned(),
    }
}

#[test]
fn a_secret_is_rotated_twice_replica_by_replica_and_no_credential_is_refused_before_it_ends() {
    rotate_twice(Delivery::FileAndSignal, &three_steps());
}

#[test]
fn a_secret_is_rotated_twice_by_swapped_links_and_no_credential_is_refused_before_it_ends() {
    rotate_twice(Delivery::SwappedLink, &three_steps());
}

#[test]
fn the_charts_secret_is_rotated_twice_in_one_step_each_and_no_credential_is_refused_before_it_ends() {
    rotate_twice(Delivery::SwappedLink, &one_step_of_the_chart());
}

#[tokio::test]
async fn a_secret_that_mints_before_the_other_replica_knows_it_opens_nothing_there_until_it_does() {
    let redis = Redis::start(&[]);
    let both = [(); 2].map(|()| Rotated::start(&redis, Delivery::FileAndSignal, &SECRETS[..1]));
    let secrets = [SECRETS[1], SECRETS[0]];
    both[0].learn(&secrets);
    let credential = Credential::issued_by(&both[0].replica);
    assert!(credential.try_at(&both[0].replica).await.is_ok());
    assert!(credential.try_at(&both[1].replica).await.is_err());
    both[1].learn(&secrets);
    let credential = Credential::issued_by(&both[0].replica);
    assert!(credential.try_at(&both[1].replica).await.is_ok());
}
