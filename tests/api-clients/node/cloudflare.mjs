// Cloudflare's client, and the administration of keys.
import assert from "node:assert/strict";
import Cloudflare from "cloudflare";
import { serving } from "../../dialects/node/server.mjs";
import { relays } from "./relay.mjs";

const PATIENCE = 60_000;
const OPERATOR = "0123456789abcdef0123456789abcdef";
const account_id = "023e105f4ecef8ad9ca31a8372d0c353";

const settings = {
  HTTP__COMPAT: "cloudflare",
  HTTP__KEYS_FILE: "keys.json",
  ADMIN__TOKENS: `ops=${OPERATOR}`,
};

/** Cloudflare's client, told of another host and of nothing else. */
const client = (baseURL, apiToken) => new Cloudflare({ apiToken, baseURL, maxRetries: 0, timeout: PATIENCE / 2 });

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

export default {
  "Cloudflare's client makes, lists, reads, renames and ends keys, below each of the two bases": async () => {
    await serving(settings, async (address) => {
      for (const base of [`http://${address}/client/v4`, `http://${address}`]) {
        const turn = client(base, OPERATOR).calls.turn;
        const made = await turn.create({ account_id, name: "shop" });
        assert.match(made.uid, /^[0-9a-f]{32}$/);
        assert.match(made.key, /^mpk_[0-9a-f]{60}$/);
        assert.equal(made.name, "shop");
        assert.equal(new Date(made.created).toISOString().slice(0, 4), String(new Date().getUTCFullYear()));
        const listed = await all(turn.list({ account_id }));
        assert.deepEqual(listed.map(({ uid, name, key }) => ({ uid, name, key })), [{ uid: made.uid, name: "shop", key: undefined }]);
        assert.equal((await turn.update(made.uid, { account_id, name: "new" })).name, "new");
        const read = await turn.get(made.uid, { account_id });
        assert.deepEqual([read.name, read.uid, read.key], ["new", made.uid, undefined]);
        assert.equal((await turn.delete(made.uid, { account_id })).uid, made.uid);
        await assert.rejects(turn.get(made.uid, { account_id }), Cloudflare.NotFoundError);
        assert.deepEqual(await all(turn.list({ account_id })), []);
      }
    });
  },

  "what Cloudflare's client is refused it throws as its own errors, with what is wrong in them": async () => {
    await serving(settings, async (address) => {
      const base = `http://${address}/client/v4`;
      const turn = client(base, OPERATOR).calls.turn;
      await assert.rejects(client(base, "of-nobody").calls.turn.list({ account_id }), Cloudflare.AuthenticationError);
      const refused = await turn.create({ account_id, name: "x".repeat(129) }).catch((error) => error);
      assert.ok(refused instanceof Cloudflare.BadRequestError, String(refused));
      assert.equal(refused.errors[0].code, 1400);
      assert.match(refused.errors[0].message, /^bad_name: /);
      await assert.rejects(turn.delete("0".repeat(32), { account_id }), Cloudflare.NotFoundError);
    });
  },

  "a key that Cloudflare's client made fetches lists through it until it is ended": async () => {
    await serving({ ...settings, ICE__HOST: "127.0.0.1" }, async (address) => {
      const turn = client(`http://${address}/client/v4`, OPERATOR).calls.turn;
      const made = await turn.create({ account_id, name: "shop" });
      // It has no method for lists: this is how its own documents reach what it has none for.
      const fetches = client(`http://${address}`, made.key);
      const path = `/v1/turn/keys/${made.uid}/credentials/generate-ice-servers`;
      const list = await fetches.post(path, { body: { ttl: 600, customIdentifier: "alice" } });
      const [stun, relay] = list.iceServers;
      assert.deepEqual(Object.keys(stun), ["urls"]);
      assert.match(relay.username, /^\d+:alice$/);
      assert.ok(relay.urls.length > 0 && relay.credential.length === 28);
      await relays(list.iceServers);
      await turn.delete(made.uid, { account_id });
      await assert.rejects(fetches.post(path, { body: {} }), Cloudflare.AuthenticationError);
    });
  },
};
