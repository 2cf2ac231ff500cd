//! The list of every form, exactly as it was fetched, given to `RTCPeerConnection`: a relayed data channel by each transport in it.
//! And a page of another origin, which reads answers and errors as `http.cors_origins` lets it.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::chromium::LocalAddresses;
use crate::server::Server;
use crate::stage::Stage;

/// Two connections of one page through relays alone; what the pair that was chosen says of itself.
const MEET: &str = r#"
async function meet(iceServers) {
  const [a, b] = [0, 1].map(() => new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" }));
  const failed = [];
  for (const [from, to] of [[a, b], [b, a]]) {
    from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
    from.onicecandidateerror = ({ url, errorCode, errorText }) => failed.push(`${url} ${errorCode} ${errorText}`);
  }
  const late = new Promise((_, no) => setTimeout(() => no(new Error(`not connected: ${failed.join("; ")}`)), 30000));
  const heard = new Promise((yes) => { b.ondatachannel = ({ channel }) => { channel.onmessage = ({ data }) => yes(data); }; });
  const channel = a.createDataChannel("c");
  channel.onopen = () => channel.send("hello");
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const said = await Promise.race([heard, late]);
  const stats = await a.getStats();
  const used = [...stats.values()].find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded");
  const local = stats.get(used.localCandidateId);
  a.close(); b.close();
  return { said, type: local.candidateType, by: local.relayProtocol };
}

/// Of each form: a request, and what of its answer goes into iceServers.
const FORMS = {
  "ours": ["/v1/ice", {}, (answer) => answer.iceServers],
  "ours, older": ["/api/ice-servers", {}, (answer) => answer.servers],
  "draft-uberti": ["/v1/turn?service=turn&username=a", {}, ({ uris, username, password }) => [{ urls: uris, username, credential: password }]],
  "cloudflare": ["/v1/turn/keys/K/credentials/generate-ice-servers", { method: "POST" }, (answer) => answer.iceServers],
  "cloudflare, older": ["/v1/turn/keys/K/credentials/generate", { method: "POST" }, (answer) => [answer.iceServers]],
  "twilio": ["/2010-04-01/Accounts/AC0/Tokens.json", { method: "POST", body: new URLSearchParams({ Ttl: "600" }) }, (answer) => answer.ice_servers],
  "metered": ["/api/v1/turn/credentials?apiKey=any", {}, (answer) => answer],
  "xirsys": ["/_turn/channel", { method: "PUT", headers: { "content-type": "application/json" }, body: '{"format":"urls"}' }, (answer) => [answer.v.iceServers]],
  "matrix": ["/_matrix/client/v3/voip/turnServer", {}, ({ uris, username, password }) => [{ urls: uris, username, credential: password }]],
  "stunner": ["/ice?service=turn", {}, (answer) => answer.iceServers],
};

async function fetched(form) {
  const [path, init, pick] = FORMS[form];
  const answer = await fetch(path, init);
  if (!answer.ok) throw new Error(`${form}: ${answer.status} ${await answer.text()}`);
  return pick(await answer.json());
}

/// The same servers with the URLs of one transport alone, each as it was.
function only(iceServers, begin, end) {
  const fits = (url) => url.startsWith(begin) && url.endsWith(end);
  const narrowed = iceServers.map((server) => ({ ...server, urls: [server.urls].flat().filter(fits) }));
  return narrowed.filter((server) => server.urls.length);
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_connects_with_the_list_of_every_form_by_each_transport_in_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let one_port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let pair = format!("{}:{}", chain.display(), key.display());
    let settings: [(&'static str, &'static str); 3] = [
        ("MEETPOINT__TLS__CERTIFICATES", pair.leak()),
        ("MEETPOINT__STREAMS__ONE_PORT", one_port.leak()),
        (
            "MEETPOINT__HTTP__COMPAT",
            "cloudflare,twilio,metered,xirsys,matrix,stunner",
        ),
    ];
    let settings = Box::leak(Box::new(settings));
    // Nobody vouches for this certificate.
    let flags = ["--ignore-certificate-errors"];
    Stage::run_with(settings, LocalAddresses::Hidden, &flags, async |stage| {
        let page = stage.browser.open(&stage.server.url(), MEET).await?;
        let forms: Vec<String> = page.evaluate("Object.keys(FORMS)").await?;
        ensure!(forms.len() == 10, "{forms:?}");
        for form in &forms {
            let met: Value = page
                .evaluate(&format!("fetched({form:?}).then(meet)"))
                .await
                .with_context(|| form.clone())?;
            ensure!(met["said"] == "hello" && met["type"] == "relay", "{form}: {met}");
        }
        for (begin, end, by) in [
            ("turn:", "?transport=udp", "udp"),
            ("turn:", "?transport=tcp", "tcp"),
            ("turns:", "?transport=tcp", "tls"),
        ] {
            for form in &forms {
                let narrowed = format!("fetched({form:?}).then((list) => meet(only(list, {begin:?}, {end:?})))");
                let met: Value = page
                    .evaluate(&narrowed)
                    .await
                    .with_context(|| format!("{form} by {by}"))?;
                ensure!(
                    met["said"] == "hello" && met["type"] == "relay" && met["by"] == by,
                    "{form} by {by}: {met}"
                );
            }
        }
        Ok(())
    })
    .await
}

/// Reads from a page of another origin; `null` where the browser does not let it.
const READ: &str = r#"
async function read(url, init = {}) {
  try {
    const answer = await fetch(url, init);
    const text = await answer.text();
    return { status: answer.status, id: answer.headers.get("x-request-id"), text };
  } catch {
    return null;
  }
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_origin_reads_answers_and_errors_where_it_may() -> Result<()> {
    let settings = &[("MEETPOINT__HTTP__COMPAT", "cloudflare,xirsys")];
    Stage::run_with(settings, LocalAddresses::Hidden, &[], async |stage| {
        // Another port is another origin. This page of it has no policy of its own that would keep it at home.
        let other = Server::start(&[]).await?;
        let page = stage.browser.open(&format!("{}healthz", other.url()), READ).await?;
        let base = stage.server.url();
        let authorization = "{ headers: { authorization: 'Bearer x', 'x-api-key': 'y' } }";
        for (path, init, status) in [
            ("v1/ice", "{}", 200),
            ("v1/ice", authorization, 200),
            ("v1/ice?ttl=x", "{}", 400),
            ("nothing", authorization, 404),
            ("v1/ice", "{ method: 'POST' }", 405),
            ("v1/ws", "{}", 426),
            ("openapi.json", "{}", 200),
            (
                "v1/turn/keys/K/credentials/generate-ice-servers",
                "{ method: 'POST', headers: { authorization: 'Bearer x', 'content-type': 'application/json' }, body: '{}' }",
                201,
            ),
            (
                "_turn/c",
                "{ method: 'PUT', headers: { 'content-type': 'application/json' }, body: '[]' }",
                400,
            ),
        ] {
            let read: Value = page.evaluate(&format!("read('{base}{path}', {init})")).await?;
            ensure!(read["status"] == status && read["id"].is_string(), "{path} {init}: {read}");
        }
        // What operators have no page of another origin reads, nor can one send cookies.
        for (path, init) in [
            ("api/admin/config", authorization),
            ("v1/ice", "{ credentials: 'include' }"),
        ] {
            let read: Value = page.evaluate(&format!("read('{base}{path}', {init})")).await?;
            ensure!(read.is_null(), "{path}: {read}");
        }
        Ok(())
    })
    .await
}

/// The page of the document: everything in it is shown, a request can be tried, and nobody else is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_the_document_shows_every_operation_and_tries_a_request() -> Result<()> {
    Stage::run(LocalAddresses::Hidden, async |stage| {
        let base = stage.server.url();
        let page = stage.browser.open(&format!("{base}docs"), "").await?;
        page.until("!document.querySelector('main').hasAttribute('aria-busy')")
            .await?;
        let document: Value = serde_json::from_str(&stage.server.get("/openapi.json").await?)?;
        let paths = document["paths"].as_object().context("no paths")?;
        let operations: usize = paths.values().filter_map(|item| item.as_object()).map(|item| item.len()).sum();
        let shown: usize = page.evaluate("document.querySelectorAll('article').length").await?;
        ensure!(shown == operations, "{shown} of {operations}");
        page.run("document.querySelector('#get_v1_ice form').requestSubmit()").await?;
        page.until("document.querySelector('#get_v1_ice .status')").await?;
        let answer = page.text("#get_v1_ice .answer").await?;
        ensure!(answer.contains("200") && answer.contains("iceServers"), "{answer}");
        page.run("const find = document.querySelector('#find'); find.value = 'quota_exceeded turn'; find.dispatchEvent(new Event('input'))")
            .await?;
        let left: usize = page
            .evaluate("document.querySelectorAll('article:not([hidden])').length")
            .await?;
        ensure!(left > 0 && left < shown, "{left}");
        for (width, scheme) in [(1280, "light"), (390, "dark")] {
            page.view(width, 900, scheme).await?;
            let wide: bool = page
                .evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
                .await?;
            ensure!(!wide, "wider than its window of {width}");
            page.screenshot(&format!("docs-{width}.png")).await?;
        }
        ensure!(page.complaints().is_empty(), "{:?}", page.complaints());
        let foreign: Vec<_> = page
            .requested()
            .into_iter()
            .filter(|url| !url.starts_with(&base) && url != "about:blank")
            .collect();
        ensure!(foreign.is_empty(), "asked others: {foreign:?}");
        Ok(())
    })
    .await
}
