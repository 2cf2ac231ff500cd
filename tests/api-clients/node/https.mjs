// The official clients over HTTPS of the program itself, whose certificate they verify, and TURN over TLS at the same port.
import assert from "node:assert/strict";
import Cloudflare from "cloudflare";
import { serving } from "../../dialects/node/server.mjs";
import { client as matrix } from "./matrix.mjs";
import { relays, settings, TOKEN } from "./relay.mjs";
import { client as twilio } from "./twilio.mjs";

/** Everything on one port, `turns:` among it. */
const secured = (service) => ({ ...settings(service), STREAMS__ONE_PORT: "$own", TLS__CERTIFICATES: process.env.TEST_CERTIFICATE });

/** That `turns:` is in the list, and relays as all of it. */
async function relaysByTls(iceServers) {
  const urls = iceServers.flatMap((server) => server.urls);
  assert.ok(urls.some((url) => url.startsWith("turns:127.0.0.1:")), urls.join());
  await relays(iceServers);
}

export default {
  "Twilio's client creates tokens over HTTPS of the program itself, and their servers relay by TLS": async () => {
    await serving(secured("twilio"), async (_, address) => {
      const made = await twilio(`https://${address}`, TOKEN).tokens.create({ ttl: 600 });
      await relaysByTls(made.iceServers);
    });
  },

  "Cloudflare's client fetches a list over HTTPS that relays by TLS": async () => {
    await serving(secured("cloudflare"), async (_, address) => {
      const fetches = new Cloudflare({ apiToken: TOKEN, baseURL: `https://${address}`, maxRetries: 0 });
      const path = "/v1/turn/keys/KEY_ID/credentials/generate-ice-servers";
      await relaysByTls((await fetches.post(path, { body: { ttl: 600 } })).iceServers);
    });
  },

  "matrix-js-sdk reads TURN servers over HTTPS that relay by TLS": async () => {
    await serving(secured("matrix"), async (_, address) => {
      const alice = matrix(`https://${address}`, TOKEN);
      assert.equal(await alice.checkTurnServers(), true);
      await relaysByTls(alice.getTurnServers());
    });
  },
};
