//! Webhooks with real receivers: those that take what they get, and those that fail in every way there is.

use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use meetpoint::credentials::UnixTime;
use meetpoint::events::config::{Queue, Secret, Url};
use meetpoint::events::{Audit, Config, Events, Hook, Item, Kinds, Wanted};
use meetpoint::telemetry::Metrics;
use meetpoint::telemetry::labels::{HookEnd, RecordKind};

use crate::hook::{Answer, Got, Receiver};

const SECRET: &str = "a secret of the test, with 'quotes' and ünicode";
const SOON: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(30);

fn hook(url: &str) -> Hook {
    Hook {
        url: Url::parse(url).unwrap(),
        secret: Secret::new(SECRET),
        kinds: Kinds::ALL,
        batch: 100,
        interval: SOON,
        timeout: Duration::from_secs(10),
    }
}

fn audit(number: usize) -> Audit {
    Audit {
        at: UnixTime(1_800_000_000),
        action: "reload",
        target: Some(number.to_string().into()),
        token: None,
        client: IpAddr::from([192, 0, 2, 1]),
        status: 200,
        count: 1,
    }
}

struct Telling {
    events: Events,
    metrics: Metrics,
}

fn telling(hooks: Vec<Hook>) -> Telling {
    telling_with(Config {
        hooks,
        ..Config::default()
    })
}

fn telling_with(config: Config) -> Telling {
    let metrics = Metrics::new().unwrap();
    let events = Events::start(config, &metrics).unwrap();
    Telling { events, metrics }
}

impl Telling {
    fn tell(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.events.intake().audit(audit(number));
        }
    }

    fn ended(&self, end: HookEnd) -> u64 {
        self.metrics.events().hook_ended(end)
    }

    /// Waits until so many events have ended like this.
    async fn wait_for(&self, end: HookEnd, number: u64) {
        let began = Instant::now();
        while self.ended(end) != number {
            assert!(began.elapsed() < LONG, "{end:?}: {} and not {number}", self.ended(end));
            tokio::time::sleep(SOON).await;
        }
    }
}

fn targets(got: &[Got]) -> Vec<usize> {
    let events = got.iter().flat_map(Got::events);
    events
        .map(|event| event["target"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// The code block of a language in docs/events.md.
fn example(language: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Whether the documented receiver in that language believes a request.
fn believes(program: &str, flag: &str, code: &str, got: &Got, body: &str) -> bool {
    let output = Command::new(program)
        .args([flag, code])
        .env("SECRET", SECRET)
        .env("SIGNATURE", got.header("x-meetpoint-signature"))
        .env("BODY", body)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_lowercase();
    assert!(
        ["true", "false"].contains(&text.as_str()),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text == "true"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_signed_so_that_the_documented_receivers_believe_it_and_no_forgery() {
    let receiver = Receiver::start(|_| Answer::Status(204));
    let telling = telling(vec![hook(&receiver.url())]);
    telling.tell(0..3);
    telling.wait_for(HookEnd::Delivered, 3).await;
    let got = receiver.got();
    assert_eq!(targets(&got), [0, 1, 2]);
    let first = &got[0];
    assert_eq!(first.path, "/hook?key=value");
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("host"), receiver.addr.to_string());
    assert_eq!(first.header("x-meetpoint-delivery").len(), 32);
    let event = &first.events()[0];
    assert_eq!(
        (&event["kind"], &event["time"]),
        (&"admin".into(), &1_800_000_000.into())
    );
    assert!(event["id"].as_str().unwrap().ends_with("-1"));

    let python = example("python")
        + "\nimport os\nprint(verify(os.environ['SECRET'].encode(), os.environ['SIGNATURE'], os.environ['BODY'].encode()))\n";
    let node =
        example("js") + "\nconst e = process.env;\nconsole.log(verify(e.SECRET, e.SIGNATURE, Buffer.from(e.BODY)));\n";
    for (program, flag, code) in [("python3", "-c", &python), ("node", "-e", &node)] {
        assert!(believes(program, flag, code, first, &first.body), "{program}");
        let forged = first.body.replace("reload", "drain");
        assert!(!believes(program, flag, code, first, &forged), "{program}");
        let mut old = first.clone();
        let (_, mac) = first.header("x-meetpoint-signature").split_once(',').unwrap();
        old.headers
            .insert("x-meetpoint-signature", format!("t=1700000000,{mac}").parse().unwrap());
        assert!(!believes(program, flag, code, &old, &first.body), "{program}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_gets_the_same_delivery_again_and_the_next_after_it() {
    let receiver = Receiver::start(|number| Answer::Status([500, 429, 200, 200][number.min(3)]));
    let telling = telling(vec![Hook {
        batch: 2,
        ..hook(&receiver.url())
    }]);
    telling.tell(0..4);
    telling.wait_for(HookEnd::Delivered, 4).await;
    let got = receiver.got();
    assert_eq!(targets(&got), [0, 1, 0, 1, 0, 1, 2, 3]);
    let ids: Vec<_> = got.iter().map(|got| got.header("x-meetpoint-delivery")).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    assert!(got[1].at - got[0].at >= Duration::from_millis(500), "not at once");
    assert_eq!(telling.metrics.events().queued.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_time_gets_it() {
    let receiver = Receiver::start(|number| {
        if number == 0 {
            Answer::After(503, 2)
        } else {
            Answer::Status(200)
        }
    });
    let telling = telling(vec![hook(&receiver.url())]);
    telling.tell(0..1);
    telling.wait_for(HookEnd::Delivered, 1).await;
    let got = receiver.got();
    assert!(got[1].at - got[0].at >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_attempt_would_not_change_is_not_tried_again_and_no_redirect_is_followed() {
    let elsewhere = Receiver::start(|_| Answer::Status(200));
    let to = elsewhere.addr;
    let receiver = Receiver::start(move |number| match number {
        0 => Answer::Status(410),
        1 => Answer::Redirect(to),
        2 => Answer::Status(400),
        _ => Answer::Status(200),
    });
    let telling = telling(vec![Hook {
        batch: 1,
        ..hook(&receiver.url())
    }]);
    telling.tell(0..5);
    telling.wait_for(HookEnd::Delivered, 2).await;
    assert_eq!(telling.ended(HookEnd::Refused), 3);
    assert_eq!(targets(&receiver.got()), [0, 1, 2, 3, 4]);
    assert!(elsewhere.got().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_holds_up_nobody_else_and_is_given_up() {
    let (dead, alive) = (
        Receiver::start(|_| Answer::Never),
        Receiver::start(|_| Answer::Status(200)),
    );
    let telling = telling_with(Config {
        hooks: vec![
            Hook {
                timeout: Duration::from_millis(300),
                batch: 1,
                ..hook(&dead.url())
            },
            hook(&alive.url()),
        ],
        queue: Queue {
            events: 5,
            ..Queue::default()
        },
        retry_for: Duration::ZERO,
        ..Config::default()
    });
    for number in 0..20 {
        telling.tell(number..number + 1);
        telling.wait_for(HookEnd::Delivered, number as u64 + 1).await;
    }
    assert_eq!(targets(&alive.got()), (0..20).collect::<Vec<_>>());
    // All of them end one way or the other, and none is forgotten.
    let began = Instant::now();
    while telling.ended(HookEnd::GaveUp) + telling.ended(HookEnd::QueueFull) != 20 {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(SOON).await;
    }
    assert!(telling.ended(HookEnd::GaveUp) >= 5);
    assert_eq!(telling.metrics.events().queued.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_takes_as_many_as_it_may_and_drops_the_newest() {
    let receiver = Receiver::start(|_| Answer::Never);
    let telling = telling_with(Config {
        hooks: vec![Hook {
            batch: 1,
            ..hook(&receiver.url())
        }],
        queue: Queue {
            events: 5,
            ..Queue::default()
        },
        ..Config::default()
    });
    telling.tell(0..1);
    receiver.wait(|got| !got.is_empty());
    telling.tell(1..50);
    telling.wait_for(HookEnd::QueueFull, 44).await;
    assert_eq!(
        telling.metrics.events().queued.get(),
        6,
        "one under way, five that wait"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_reset_is_a_failure_like_others() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let resets = std::thread::spawn(move || {
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        // From here on nobody listens: refused.
    });
    let telling = telling(vec![hook(&format!("http://{addr}/"))]);
    telling.tell(0..1);
    resets.join().unwrap();
    telling.events.finish(Duration::from_millis(300)).await;
    assert_eq!(telling.metrics.events().hook_ended(HookEnd::Shutdown), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_a_batch_to_fill_and_everything_gets_out() {
    let receiver = Receiver::start(|number| Answer::Status(if number == 0 { 500 } else { 200 }));
    let telling = telling(vec![Hook {
        interval: Duration::from_secs(60),
        ..hook(&receiver.url())
    }]);
    telling.tell(0..250);
    let metrics = telling.metrics.clone();
    telling.events.finish(LONG).await;
    assert_eq!(metrics.events().hook_ended(HookEnd::Delivered), 250);
    let got = receiver.got();
    assert_eq!(targets(&got[1..]), (0..250).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_no_longer_than_it_may() {
    let receiver = Receiver::start(|_| Answer::Never);
    let telling = telling(vec![hook(&receiver.url())]);
    telling.tell(0..7);
    let metrics = telling.metrics.clone();
    tokio::time::timeout(LONG, telling.events.finish(Duration::from_millis(300)))
        .await
        .unwrap();
    assert_eq!(metrics.events().hook_ended(HookEnd::Shutdown), 7);
    assert_eq!(metrics.events().queued.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_reaches_what_waits_and_drops_what_is_for_nobody() {
    let receiver = Receiver::start(|number| Answer::Status(if number < 2 { 500 } else { 200 }));
    let telling = telling(vec![hook(&receiver.url())]);
    telling.tell(0..1);
    receiver.wait(|got| !got.is_empty());
    let mut changed = hook(&receiver.url());
    changed.secret = Secret::new("another secret of the test");
    changed.kinds = Kinds::NONE.and(RecordKind::Closed);
    telling.events.reconfigure(Config {
        hooks: vec![changed],
        ..Config::default()
    });
    telling.wait_for(HookEnd::Delivered, 1).await;
    let last = receiver.got().pop().unwrap();
    let (time, mac) = last.header("x-meetpoint-signature").split_once(",v1=").unwrap();
    let signed = meetpoint::events::webhook::signature::sign(
        &Secret::new("another secret of the test"),
        UnixTime(time[2..].parse().unwrap()),
        last.body.as_bytes(),
    );
    assert!(signed.ends_with(mac));
    telling.tell(1..2);
    telling.events.reconfigure(Config::default());
    telling.tell(2..3);
    let metrics = telling.metrics.clone();
    telling.events.finish(LONG).await;
    assert_eq!(targets(&receiver.got()), [0, 0, 0], "not told what it does not want");
    assert_eq!(metrics.events().queued.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_what_it_wants_and_how_much_it_missed() {
    let telling = telling_with(Config {
        subscribers: 2,
        ..Config::default()
    });
    let feed = telling.events.feed();
    let wanted = |kinds| Wanted { kinds, user: None };
    let mut all = feed.subscribe(wanted(Kinds::ALL)).unwrap();
    let mut none = feed.subscribe(wanted(Kinds::ALL.without(RecordKind::Admin))).unwrap();
    assert!(feed.subscribe(wanted(Kinds::ALL)).is_err(), "as many as may");
    telling.tell(0..1);
    let Some(Item::Record(record)) = all.next().await else {
        panic!("nothing heard")
    };
    assert!(record.json.contains("\"target\":\"0\"") && !record.json.contains('\n'));
    // More than the ring holds while it does not look.
    telling.tell(1..6001);
    let events = telling.metrics.events().clone();
    let began = Instant::now();
    while !telling
        .metrics
        .render()
        .contains("meetpoint_events_total{kind=\"admin\"} 6001")
    {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(SOON).await;
    }
    let Some(Item::Lagged(missed)) = all.next().await else {
        panic!("it missed some")
    };
    assert_eq!((missed, events.lagged.get()), (6000 - 4096, 6000 - 4096));
    let Some(Item::Record(record)) = all.next().await else {
        panic!("and hears the rest")
    };
    assert!(record.id.ends_with(&format!("-{}", missed + 2)), "{}", record.id);
    feed.close();
    assert!(none.next().await.is_none());
    drop((all, none));
    assert_eq!(events.subscribers.get(), 0);
    assert!(feed.subscribe(wanted(Kinds::ALL)).is_ok(), "room again");
}
