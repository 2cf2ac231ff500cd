// Twilio's client: Network Traversal tokens.
import assert from "node:assert/strict";
import twilio from "twilio";
import { serving } from "../../dialects/node/server.mjs";
import { lifetime, relays, settings, TOKEN } from "./relay.mjs";

const SID = "AC0123456789abcdef0123456789abcdef";

/** Sends what goes to Twilio to another host, as its documents have it for proxies, and changes nothing else. */
class Elsewhere extends twilio.RequestClient {
  constructor(base) {
    super();
    this.base = base;
  }

  request(options) {
    const uri = options.uri.replace(/^https:\/\/api\.twilio\.com(?=\/)/, this.base);
    assert.notEqual(uri, options.uri);
    return super.request({ ...options, uri });
  }
}

/** Told of another host, by its URL. */
export const client = (base, token) => twilio(SID, token, { httpClient: new Elsewhere(base) });

export default {
  "Twilio's client creates tokens, reads each of their fields, and their servers relay": async () => {
    await serving(settings("twilio"), async (address) => {
      const made = await client(`http://${address}`, TOKEN).tokens.create({ ttl: 3600 });
      assert.deepEqual([made.accountSid, made.ttl], [SID, "3600"]);
      for (const date of [made.dateCreated, made.dateUpdated])
        assert.ok(date instanceof Date && Math.abs(date - Date.now()) < 120_000, String(date));
      assert.ok(lifetime(made.username) > 3480 && lifetime(made.username) <= 3601 && made.username.endsWith("@acme"), made.username);
      const [stun, turn] = made.iceServers;
      assert.deepEqual([stun.urls, stun.username], [stun.url, undefined]);
      assert.deepEqual([turn.urls, turn.username, turn.credential], [turn.url, made.username, made.password]);
      await relays(made.iceServers);
      // Without a lifetime the form is empty.
      assert.equal((await client(`http://${address}`, TOKEN).tokens.create()).ttl, "3600");
    });
  },

  "what Twilio's client is refused it throws with the status": async () => {
    await serving(settings("twilio"), async (address) => {
      for (const [token, ttl, status] of [["a token of nobody", 600, 401], [TOKEN, 86_401, 400]]) {
        const refused = await client(`http://${address}`, token).tokens.create({ ttl }).catch((error) => error);
        assert.ok(refused instanceof twilio.RestException, String(refused));
        assert.equal(refused.status, status);
      }
    });
  },
};
