// Services whose documents show `fetch` or an HTTP request where others have a library, asked as these show it; and our own list.
import assert from "node:assert/strict";
import { request } from "node:http";
import { serving } from "../../dialects/node/server.mjs";
import { lifetime, opensNothing, relays, settings, TOKEN } from "./relay.mjs";

/** As Xirsys' example for node does it, with `http` for `https`. */
function xirsys(address, body) {
  const [hostname, port] = address.split(":");
  const text = JSON.stringify(body);
  const options = {
    host: hostname,
    port,
    path: "/_turn/MyFirstApp",
    method: "PUT",
    headers: {
      Authorization: "Basic " + Buffer.from(`ident:${TOKEN}`).toString("base64"),
      "Content-Type": "application/json",
      "Content-Length": text.length,
    },
  };
  return new Promise((resolve, reject) => {
    const asking = request(options, (answer) => {
      let read = "";
      answer.on("data", (data) => (read += data));
      answer.on("end", () => resolve(JSON.parse(read)));
    });
    asking.on("error", reject);
    asking.end(text);
  });
}

export default {
  "our own list relays exactly as fetched, and not with another password": async () => {
    await serving(settings("twilio"), async (address) => {
      const headers = { authorization: `Bearer ${TOKEN}` };
      const list = await (await fetch(`http://${address}/api/ice-servers`, { headers })).json();
      await relays(list.iceServers);
      await opensNothing(list.iceServers.map((server) => (server.credential ? { ...server, credential: "wrong" } : server)));
    });
  },

  "Metered's page fetches an array that relays": async () => {
    await serving(settings("metered"), async (address) => {
      const response = await fetch(`http://${address}/api/v1/turn/credentials?apiKey=${TOKEN}`);
      const iceServers = await response.json();
      await relays(iceServers);
    });
  },

  "Metered's server makes a credential for each of its users, which relays": async () => {
    await serving(settings("metered"), async (address) => {
      const response = await fetch(`http://${address}/api/v1/turn/credential?secretKey=${TOKEN}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ expiryInSeconds: 600, label: "user-1" }),
      });
      const { username, password: credential, label } = await response.json();
      assert.equal(label, "user-1");
      assert.ok(lifetime(username) <= 601, username);
      // Its users put it beside URLs that they know: here those of the list.
      const list = await (await fetch(`http://${address}/api/v1/turn/credentials?apiKey=${TOKEN}`)).json();
      await relays(list.filter((server) => server.username).map(({ urls }) => ({ urls, username, credential })));
    });
  },

  "Xirsys' example reads one object that relays, and without a format an array of single URLs": async () => {
    await serving(settings("xirsys"), async (address) => {
      const one = await xirsys(address, { format: "urls", expire: 600 });
      assert.equal(one.s, "ok");
      assert.ok(lifetime(one.v.iceServers.username) <= 601, one.v.iceServers.username);
      await relays([one.v.iceServers]);
      const each = await xirsys(address, {});
      await relays(each.v.iceServers);
    });
  },
};
