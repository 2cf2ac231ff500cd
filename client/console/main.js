// The console: test what this server offers, then meet somebody through it.

import { ApiError, fetchIceServers, hubUrl } from "./api.js";
import { gather } from "./gather.js";
import { Hub } from "./hub.js";
import { randomName } from "./link.js";
import { throughRelay } from "./loopback.js";
import { asJson, asText } from "./report.js";
import { Room } from "./room.js";
import { relays } from "./verdict.js";
import { installAutomation } from "./automation.js";
import { byId, coalesce, makeCopyButton, setText } from "./view/dom.js";
import { showProbes } from "./view/probes.js";
import { credentialVerdict, roundTripVerdict, showReadout, showVerdicts } from "./view/readouts.js";
import { RoomView } from "./view/room.js";

const TOKEN_KEY = "meetpoint.token";
let token = sessionStorage.getItem(TOKEN_KEY) ?? "";

/** @type {number | null} */
let expires = null;
/** @type {import("./report.js").Results} */
let results = { servers: [], probes: [], roundTrip: null, roundTripError: "" };
/** @type {Promise<import("./report.js").Results> | null} */
let running = null;

const ownName = randomName();
const hub = new Hub({ url: hubUrl(), token: () => token, meta: { name: ownName } });
const room = new Room(hub);
const view = new RoomView(room, hub, ownName);

/** Runs the test once; while it runs, further calls get the same run. */
function test() {
  running ??= runTest().finally(() => {
    running = null;
    byId("rerun").disabled = false;
  });
  return running;
}

async function runTest() {
  byId("rerun").disabled = true;
  setText(byId("test-error"), "");
  const list = await fetchList();
  expires = list.expires;
  showCredential();
  room.configure(list.servers);
  results = { servers: list.servers, probes: [], roundTrip: null, roundTripError: "" };
  showReadout("data", roundTripVerdict("running"));
  const drawNow = () => {
    showProbes(byId("probes"), results.probes);
    showVerdicts(results.probes);
  };
  const draw = coalesce(drawNow);
  results.probes = await gather(list.servers, (probes) => { results.probes = probes; draw(); });
  drawNow();
  await testData(list.servers);
  document.dispatchEvent(new CustomEvent("meetpoint:tested", { detail: results }));
  return results;
}

/** @param {RTCIceServer[]} servers */
async function testData(servers) {
  /** @type {import("./loopback.js").RoundTrip | Error | null} */
  let outcome = null;
  try {
    if (results.probes.some(relays)) outcome = results.roundTrip = await throughRelay(servers);
  } catch (error) {
    outcome = error instanceof Error ? error : new Error(String(error));
    results.roundTripError = outcome.message;
  }
  showReadout("data", roundTripVerdict(outcome));
}

async function fetchList() {
  try {
    const list = await fetchIceServers(token);
    byId("token-form").hidden = true;
    return list;
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) byId("token-form").hidden = false;
    setText(byId("test-error"), `No ICE servers: ${error instanceof Error ? error.message : error}`);
    throw error;
  }
}

function showCredential() {
  const carried = results.servers.length === 0 || results.servers.some(({ credential }) => credential);
  showReadout("credential", credentialVerdict(carried ? expires : null));
}

byId("rerun").addEventListener("click", () => test().catch(() => {}));
makeCopyButton(byId("copy-text"), () => asText(results));
makeCopyButton(byId("copy-json"), () => JSON.stringify(asJson(results), null, 2));
byId("token-form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  sessionStorage.setItem(TOKEN_KEY, token);
  test().catch(() => {});
  hub.open().catch(() => {});
});
window.addEventListener("pagehide", (event) => {
  // A page that the browser keeps may come back; one that it drops says goodbye.
  if (!event.persisted) hub.close();
});
setInterval(showCredential, 1_000);

installAutomation({ test, room, view, hub });
test().catch(() => {});
// Before anybody joins a room: the hub's answer is part of the test.
hub.open().catch(() => {});
