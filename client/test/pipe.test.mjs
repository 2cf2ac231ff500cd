// The stream of messages between two peers, over ways that a test takes away and gives back at the worst moments.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** Internals are not in dist/. */
const { outputFiles: [bundle] } = await build({
  entryPoints: [fileURLToPath(new URL("../src/pipe.ts", import.meta.url))], bundle: true, format: "esm", write: false,
});
const { Pipe } = await import(`data:text/javascript;base64,${Buffer.from(bundle.contents).toString("base64")}`);

/** The same numbers on every run. */
function random(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

/** A way in both directions that keeps order, and may be cut (what is on it is lost) or frozen (it comes late). */
class Line {
  cut = false;
  frozen = false;
  #queues = [[], []];
  ends = [0, 1].map((side) => ({
    window: 8, patience: 40, ackAfter: 2,
    send: (packet) => {
      if (this.#queues[side].length > 20) return false;
      if (!this.cut) this.#queues[side].push(packet.slice());
      return true;
    },
  }));

  /** Lets up to `n` packets of each direction arrive. */
  deliver(pipes, n) {
    if (this.cut) for (const queue of this.#queues) queue.length = 0;
    if (this.frozen) return;
    for (const side of [0, 1]) {
      for (const packet of this.#queues[side].splice(0, n)) pipes[1 - side].receive(packet, this.ends[1 - side]);
      pipes[side].pump();
    }
  }
}

function pair() {
  const heard = [[], []];
  const pipes = [0, 1].map((side) => {
    const pipe = new Pipe({
      message: (_kind, payload) => heard[side].push(new TextDecoder().decode(payload).replace(/ .*/s, "")),
      stuck: () => pipe.repeat(),
      broken: () => assert.fail("broken"),
    });
    return pipe;
  });
  return { heard, pipes };
}

const bytes = (text) => new TextEncoder().encode(text);
const moment = () => new Promise((go) => setTimeout(go, 1));

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`nothing is lost, doubled or swapped, however the ways come and go (${seed})`, async () => {
    const next = random(seed);
    const lines = [new Line(), new Line()];
    const { heard, pipes } = pair();
    const sent = [[], []];
    const turn = () => {
      for (const side of [0, 1]) pipes[side].use(next() < 0.15 ? undefined : lines[next() < 0.5 ? 0 : 1].ends[side]);
    };
    turn();
    for (let step = 0; step < 400; step++) {
      for (const side of [0, 1]) {
        if (next() < 0.5) {
          const name = `${side}-${sent[side].length}`;
          sent[side].push(name);
          // Up to four packets.
          void pipes[side].send(0, bytes(`${name} ${"x".repeat(Math.floor(next() * 60_000))}`));
        }
      }
      if (next() < 0.1) turn();
      for (const line of lines) {
        if (next() < 0.05) line.cut = !line.cut;
        if (next() < 0.05) line.frozen = !line.frozen;
        line.deliver(pipes, Math.floor(next() * 6));
      }
      if (step % 20 === 0) await moment();
    }
    for (const line of lines) line.cut = line.frozen = false;
    for (const side of [0, 1]) pipes[side].use(lines[side].ends[side]);
    for (let n = 0; n < 3_000 && (heard[0].length < sent[1].length || heard[1].length < sent[0].length); n++) {
      for (const line of lines) line.deliver(pipes, 50);
      await moment();
    }
    assert.deepEqual(heard, [sent[1], sent[0]]);
    for (const pipe of pipes) pipe.close();
  });
}

test("a new way starts at once with what is not acknowledged, and with nothing else", async () => {
  const { heard, pipes } = pair();
  const [old, fresh] = [new Line(), new Line()];
  for (const side of [0, 1]) pipes[side].use(old.ends[side]);
  for (const name of ["a", "b", "c", "d"]) await pipes[0].send(0, bytes(name));
  old.deliver(pipes, 10);
  old.deliver(pipes, 10);
  await pipes[0].send(0, bytes("e"));
  old.cut = true;
  const repeated = [];
  pipes[0].use({ ...fresh.ends[0], send: (packet) => repeated.push(new DataView(packet.buffer).getUint32(1)) });
  assert.deepEqual(repeated, [5]);
  assert.deepEqual(heard[1], ["a", "b", "c", "d"]);
  for (const pipe of pipes) pipe.close();
});

test("what waits is bounded, and what was not sent is refused when the link closes", async () => {
  const { pipes: [pipe] } = pair();
  const big = new Uint8Array(65_536);
  const sending = Array.from({ length: 257 }, () => pipe.send(1, big).then(() => "sent", ({ code }) => code));
  assert.equal(await sending.pop(), "queue_full");
  pipe.close();
  assert.deepEqual([...new Set(await Promise.all(sending))], ["closed"]);
  await assert.rejects(pipe.send(1, big), { code: "closed" });
});

test("a message longer than allowed ends the link that it comes by", () => {
  let broken = 0;
  const pipe = new Pipe({ message: () => {}, stuck: () => {}, broken: () => broken++ });
  const way = { window: 1, patience: 1_000, ackAfter: 1_000, send: () => true };
  for (let seq = 1; seq <= 5; seq++) {
    const packet = new Uint8Array(9 + 16_000);
    new DataView(packet.buffer).setUint32(1, seq);
    pipe.receive(packet, way);
  }
  assert.equal(broken, 1);
  pipe.close();
});

test("packets that are none, or acknowledge what was never sent, change nothing", async () => {
  const { heard, pipes } = pair();
  const line = new Line();
  pipes[0].receive(new Uint8Array(3), line.ends[0]);
  const lie = new Uint8Array(9);
  new DataView(lie.buffer).setUint32(5, 77);
  pipes[0].receive(lie, line.ends[0]);
  for (const side of [0, 1]) pipes[side].use(line.ends[side]);
  await pipes[0].send(0, bytes("first"));
  line.deliver(pipes, 10);
  assert.deepEqual(heard[1], ["first"]);
  for (const pipe of pipes) pipe.close();
});

test("a way that takes nothing is not pressed: the packet waits, and so does whoever sends", async () => {
  const { pipes: [pipe] } = pair();
  const offered = [];
  let full = true;
  pipe.use({ window: 8, patience: 10_000, ackAfter: 1_000, send: (packet) => (offered.push(new DataView(packet.buffer).getUint32(1)), !full) });
  let sent = false;
  const sending = [pipe.send(0, bytes("a")), pipe.send(0, bytes("b"))];
  void sending[0].then(() => (sent = true));
  await moment();
  const before = [sent, ...new Set(offered)];
  full = false;
  offered.length = 0;
  pipe.pump();
  await Promise.race([Promise.all(sending), moment()]);
  pipe.close();
  assert.deepEqual(before, [false, 1]);
  assert.deepEqual(offered, [1, 2]);
});
