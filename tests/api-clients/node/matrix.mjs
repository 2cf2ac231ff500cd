// matrix-js-sdk: the TURN servers of a homeserver.
import assert from "node:assert/strict";
import { ClientEvent, createClient, MatrixError } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { serving } from "../../dialects/node/server.mjs";
import { relays, settings, TOKEN } from "./relay.mjs";

logger.disableAll();

/** It asks for TURN servers where it finds a browser that can call; it looks when it is made. */
export function client(baseUrl, accessToken) {
  Object.assign(globalThis, { window: { RTCPeerConnection: class {} }, document: {} });
  try {
    return createClient({ baseUrl, userId: "@alice:example.org", accessToken });
  } finally {
    delete globalThis.window;
    delete globalThis.document;
  }
}

export default {
  "matrix-js-sdk keeps our TURN servers for its calls, until they expire, and they relay": async () => {
    await serving(settings("matrix"), async (address) => {
      const alice = client(`http://${address}`, TOKEN);
      assert.deepEqual(alice.getTurnServers(), []);
      const told = new Promise((resolve) => alice.once(ClientEvent.TurnServers, resolve));
      assert.equal(await alice.checkTurnServers(), true);
      assert.deepEqual(await told, alice.getTurnServers());
      const ttl = (alice.getTurnServersExpiry() - Date.now()) / 1000;
      assert.ok(ttl > 3480 && ttl <= 3600, String(ttl));
      // The very list that it gives to RTCPeerConnection.
      await relays(alice.getTurnServers());
    });
  },

  "matrix-js-sdk throws what is wrong with its token, and stops asking": async () => {
    await serving(settings("matrix"), async (address) => {
      const nobody = client(`http://${address}`, "of-nobody");
      const refused = await nobody.turnServer().catch((error) => error);
      assert.ok(refused instanceof MatrixError, String(refused));
      assert.deepEqual([refused.httpStatus, refused.errcode], [401, "M_UNKNOWN_TOKEN"]);
      assert.equal(await nobody.checkTurnServers(), false);
      assert.deepEqual(nobody.getTurnServers(), []);
    });
  },

  "matrix-js-sdk reads how long it is to wait when it asks too often": async () => {
    await serving({ ...settings("matrix"), REALMS__ACME__RATE: "1/h", REALMS__ACME__BURST: "1" }, async (address) => {
      const alice = client(`http://${address}`, TOKEN);
      await alice.turnServer();
      const refused = await alice.turnServer().catch((error) => error);
      assert.ok(refused.isRateLimitError(), String(refused));
      assert.ok(refused.getRetryAfterMs() > 1_000_000, String(refused.getRetryAfterMs()));
    });
  },
};
