// One room: who is in it, and what they say.

import { Emitter } from "./emitter.js";
import { addressed } from "./frames.js";
import type { Hub } from "./hub.js";
import { Peer, type PeerState } from "./link.js";
import { bytesOf, type Frame, type Json, MeetpointError } from "./types.js";

export interface JoinOptions {
  /** The first to join sets it; all others need it. */
  key?: string;
  /** Your presence data in this room. */
  meta?: Json;
  /** The size of the room, set by the first to join. */
  max?: number;
  /** `false`: only if the room exists. */
  create?: boolean;
  /** `true`: links are made when they are first used, not with everybody who is there. */
  lazy?: boolean;
}

/** As the server lists them. */
export interface Member {
  peer: string;
  meta: Json;
  since: number;
  away?: boolean;
}

export interface RoomEvents {
  /** Somebody is here: once for each who was here before you, and for each who comes. */
  peer: Peer;
  /** Somebody has gone, and the link is closed. */
  leave: { peer: Peer; why: string };
  /** Presence data of a peer changed, or its connection to the hub did: `away`, `back`. */
  presence: { peer: Peer; ev: "meta" | "away" | "back" };
  /** From one peer to you, over whatever way there is. */
  message: { peer: Peer; data: any };
  /** Through the hub, to everybody in the room. */
  broadcast: { from: string; data: any };
  /** The way to a peer changed. */
  state: { peer: Peer; state: PeerState };
  /** Metadata of the room. */
  meta: { meta: Json; ver: number; by: string };
  error: MeetpointError;
}

/** Reasons after which nobody comes back. */
const GONE = ["leave", "forbidden", "too_large"];
/** Elders wait for the newcomer's offer. */
const ELDER_PATIENCE = 3_000;

export class Room extends Emitter<RoomEvents> {
  readonly peers = new Map<string, Peer>();
  /** Metadata of the room, and its version. */
  meta: Json = {};
  ver = 0;
  /** @internal Settled with the first answer to `join`. */ readonly _entered: Promise<void>;
  #entered!: { resolve(): void; reject(error: Error): void };
  #joined = false;
  #closed = false;

  /** @internal */
  constructor(readonly hub: Hub, readonly name: string, readonly options: JoinOptions) {
    super();
    this._entered = new Promise((resolve, reject) => (this.#entered = { resolve, reject }));
    this._entered.catch(() => {});
    if (hub.state === "open") void this.#enter();
  }

  /** Sends to everybody over the links: to each in order, none lost while the link lives. Resolves when all have taken it in. */
  async send(data: unknown): Promise<void> {
    await Promise.all([...this.peers.values()].map((peer) => peer.send(data)));
  }

  /** Sends JSON or bytes to everybody through the hub, at most once; `rel`: also to those who are away. */
  async broadcast(data: unknown, { rel }: { rel?: boolean } = {}): Promise<void> {
    const bin = bytesOf(data);
    await this._request({ t: "send", bin, data: bin ? undefined : data, rel });
  }

  /** The peer of that id, whose link is made now if the room is lazy. */
  peer(id: string): Peer | undefined {
    const peer = this.peers.get(id);
    peer?._start();
    return peer;
  }

  /** Changes keys of your own presence data. */
  async presence(set: Json, del?: string[]): Promise<void> {
    this.options.meta = { ...this.options.meta, ...set };
    for (const key of del ?? []) delete this.options.meta[key];
    await this._request({ t: "meta", set, del });
  }

  /** Changes keys of the room's metadata; with `ver` only if that is still its version. */
  async update(set: Json, { del, ver }: { del?: string[]; ver?: number } = {}): Promise<void> {
    await this._request({ t: "room", set, del, if: ver });
  }

  /** Members, filtered by the server; those that its answers give `after` this. */
  async who(filter?: Json, after?: string): Promise<Member[]> {
    const { peers, more } = await this._request({ t: "who", filter, after });
    return more ? [...peers, ...(await this.who(filter, more))] : peers;
  }

  /** Leaves, and closes every link of this room. */
  async leave(): Promise<void> {
    this._close();
    await this._request({ t: "leave" }).catch(() => {});
  }

  /** @internal Who listens late learns of those who are here, too. */
  override _listening(type: keyof RoomEvents, listener: (detail: any) => void): void {
    if (type === "peer") for (const peer of this.peers.values()) queueMicrotask(() => listener(peer));
  }

  /** @internal */
  _request(message: Frame): Promise<Frame> {
    return this.hub._socket.request({ room: this.name, ...message });
  }

  /** @internal The socket is back. */
  _welcome(resumed: boolean): void {
    if (!resumed || !this.#joined) void this.#enter();
    else for (const peer of this.peers.values()) peer._signalling();
  }

  /** @internal */
  _stop(error: MeetpointError): void {
    this.#entered.reject(error);
    this.emit("error", error);
  }

  /** @internal */
  _close(): void {
    this.#closed = true;
    this.hub.rooms.delete(this.name);
    this.#entered.reject(new MeetpointError("closed"));
    for (const peer of [...this.peers.values()]) this._gone(peer, "closed");
    this._end();
  }

  /** @internal */
  _frame(frame: Frame): void {
    if (frame.t === "peer") this.#presence(frame);
    else if (frame.t === "sig") this._member(frame.from)._signal(frame);
    else if (frame.t === "msg") {
      const packet = frame.bin && addressed(frame.bin);
      if (packet) this._member(frame.from)._relayed(packet);
      else this.emit("broadcast", { from: frame.from, data: frame.bin ?? frame.data });
    } else if (frame.t === "room") {
      this.meta = frame.meta;
      this.ver = frame.ver;
      this.emit("meta", { meta: frame.meta, ver: frame.ver, by: frame.by });
    }
  }

  /** @internal */
  _gone(peer: Peer, why: string): void {
    if (this.peers.get(peer.id) !== peer) return;
    this.peers.delete(peer.id);
    peer._close();
    this.emit("leave", { peer, why });
  }

  async #enter(): Promise<void> {
    const again = this.#joined;
    this.#joined = false;
    try {
      const { lazy: _, ...options } = this.options;
      const frame = await this._request({ t: "join", ...options });
      if (this.#closed) return;
      this.meta = frame.meta;
      this.ver = frame.ver;
      const here = new Set<string>();
      for (const { peer: id, meta, away } of [...frame.peers, ...(frame.more ? await this.who(undefined, frame.more) : [])]) {
        here.add(id);
        const known = this.peers.get(id);
        const peer = this._member(id, meta);
        peer.away = !!away;
        if (known) peer._signalling();
        else if (!this.options.lazy) peer._start();
      }
      this.#joined = true;
      // Whoever is missing may be on the way back as we were: a living link gives them the time.
      for (const peer of this.peers.values()) if (!here.has(peer.id)) peer._absent();
      this.#entered.resolve();
    } catch (error) {
      const { code, retry } = error as MeetpointError;
      // Lost on the way: the next welcome tries again.
      if (this.#closed || code === "offline") return;
      if (again || code === "timeout" || code === "rate_limited") {
        setTimeout(() => this.#closed || this.#joined || this.#enter(), retry ?? 2_000);
        if (again) this.emit("error", error as MeetpointError);
      } else {
        this.hub.rooms.delete(this.name);
        this._stop(error as MeetpointError);
      }
    }
  }

  #presence({ ev, peer: id, meta, why }: Frame): void {
    if (id === this.hub.peer) return;
    const known = this.peers.get(id);
    if (ev === "leave") {
      if (known && GONE.includes(why)) this._gone(known, why);
      else known?._absent(why);
    } else if (ev === "join") {
      const peer = this._member(id, meta);
      if (known) peer._signalling();
      else if (!this.options.lazy) setTimeout(() => peer._start(), ELDER_PATIENCE);
    } else if (known) {
      if (meta) known.meta = meta;
      known.away = ev === "away";
      if (ev === "back") known._signalling();
      this.emit("presence", { peer: known, ev });
    }
  }

  /** @internal The peer, made on first sight: a signal may come before the list does. */
  _member(id: string, meta?: Json): Peer {
    let peer = this.peers.get(id);
    let fresh = false;
    if (!peer) {
      this.peers.set(id, (peer = new Peer(this, id)));
      fresh = true;
    }
    if (meta) peer.meta = meta;
    peer.present = true;
    if (fresh) this.emit("peer", peer);
    return peer;
  }
}
