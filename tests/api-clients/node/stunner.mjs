// STUNner: what its authentication library makes from the shared secret, and its ICE configuration beside ours.
import assert from "node:assert/strict";
import stunner from "@l7mp/stunner-auth-lib";
import { serving } from "../../dialects/node/server.mjs";
import { lifetime, opensNothing, relays, settings, TOKEN } from "./relay.mjs";

// It says on standard output that there is no STUNner's configuration file, each time.
console.log = ((log) => (first, ...rest) => String(first).startsWith("Cloud not read config file") || log(first, ...rest))(console.log);

// Its usernames name no tenant, so the secret is the default one's.
const SECRET = "the secret of all";
const withSecret = { ...settings("stunner"), CREDENTIALS__SECRETS: SECRET };

export default {
  "an ICE configuration that STUNner's library made by the shared secret relays, and by another secret does not": async () => {
    await serving(withSecret, async (address) => {
      const ours = await fetch(`http://${address}/ice?service=turn&key=${TOKEN}`).then((answer) => answer.json());
      const port = Number(/:(\d+)\?/.exec(ours.iceServers[0].urls[0])[1]);
      const where = { address: "127.0.0.1", port, auth_type: "longterm", duration: 600, transport_udp_enable: true, transport_tcp_enable: true };
      const made = stunner.getIceConfig({ ...where, secret: SECRET });
      assert.equal(made.iceServers.length, 2, JSON.stringify(made));
      await relays(made.iceServers);
      await opensNothing(stunner.getIceConfig({ ...where, secret: "another secret" }).iceServers);
      // One that has expired.
      const late = Math.floor(Date.now() / 1000) - 3600;
      const { username, credential } = stunner.getLongtermForTimeStamp(late, SECRET, "", "sha1", "base64");
      await opensNothing(made.iceServers.map((server) => ({ ...server, username, credential })));
    });
  },

  "what STUNner's authentication service is asked for has the form that its library makes, and relays": async () => {
    await serving(settings("stunner"), async (address) => {
      const asked = await fetch(`http://${address}/ice?service=turn&ttl=600&username=alice`, { headers: { authorization: `Bearer ${TOKEN}` } });
      const ours = await asked.json();
      const theirs = stunner.getIceConfig({ address: "127.0.0.1", auth_type: "longterm", secret: SECRET });
      assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort());
      const [server] = ours.iceServers;
      // Its service says `urls` where the library still says `url`.
      assert.deepEqual(Object.keys(server).sort(), Object.keys(theirs.iceServers[0]).map((key) => (key === "url" ? "urls" : key)).sort());
      assert.ok(lifetime(server.username) <= 601 && server.username.endsWith(":alice@acme"), server.username);
      await relays(ours.iceServers);
    });
  },
};
