// One peer and the link to it: peer-to-peer where a path can be had, through the hub where not, and always the same messages.
//
// `#epoch` names this object to the other side. It travels with everything that is said: a page that was loaded anew has another
// one, and is another peer, even under the same id.

import { Emitter } from "./emitter.js";
import { address, EPOCH, Kind, ofUtf8, utf8 } from "./frames.js";
import { Negotiation } from "./negotiation.js";
import { Pipe, type Way } from "./pipe.js";
import type { Room } from "./room.js";
import { bytesOf, type Frame, type Json, MeetpointError } from "./types.js";

/** `direct`, `relay` (TURN): peer-to-peer. `hub`: through the hub. `recovering`: no way at the moment, messages wait. */
export type PeerState = "connecting" | "direct" | "relay" | "hub" | "recovering" | "closed";

export interface PeerEvents {
  message: any;
  state: PeerState;
  track: RTCTrackEvent;
  /** A new RTCPeerConnection, before it negotiates. */
  connection: RTCPeerConnection;
  error: Error;
}

/** After which the hub takes over while the first connection is being made. */
const CONNECT_PATIENCE = 5_000;
/** How long a path that ICE calls good may stay silent. */
const SILENCE = 4_000;
/** For somebody who is in the room no more, and who may be on the way back. */
const ABSENCE = 10_000;
const BUFFER_HIGH = 512 * 1024;
const BUFFER_LOW = 128 * 1024;

const randomEpoch = () => Array.from(crypto.getRandomValues(new Uint8Array(EPOCH)), (byte) => (byte % 36).toString(36)).join("");

/** Somebody else in a room. */
export class Peer extends Emitter<PeerEvents> {
  /** Presence data. */
  meta: Json = {};
  /** The peer has lost its connection to the hub, and may come back to it. */
  away = false;
  /** The peer is in the room, as far as the hub says. */
  present = true;
  state: PeerState = "connecting";

  #epoch = randomEpoch();
  #theirs = "";
  #started = false;
  #pipe: Pipe;
  #negotiation: Negotiation;
  #main: RTCDataChannel | undefined;
  #direct: Way | undefined;
  #relayed = false;
  #up = false;
  #hub: Way;
  #onHub = false;
  #noHub = false;
  #paused = false;
  #everUp = false;
  #connectTimer: any;
  #silenceTimer: any;
  #absenceTimer: any;
  #why = "lost";
  #greeted = 0;
  #tracks = new Map<MediaStreamTrack, MediaStream[]>();

  static #extensions = new Map<number, (peer: Peer, bytes: Uint8Array) => void>();

  /** Messages of kinds of their own, 2 to 15 for the extensions that come with the client, to 127 for all others; `handler` gets those of all peers. */
  static extend(kind: number, handler: (peer: Peer, bytes: Uint8Array) => void): void {
    Peer.#extensions.set(kind, handler);
  }

  /** @internal */
  constructor(readonly room: Room, readonly id: string) {
    super();
    const { hub } = room;
    this.#pipe = new Pipe({
      message: (kind, bytes) => this.#message(kind, bytes),
      stuck: () => (this.#onHub ? this.#pipe.repeat() : this.#toHub()),
      broken: () => room._gone(this, "too_large"),
    });
    this.#hub = { window: 4, patience: 3_000, ackAfter: 200, send: (packet) => this.#relay(packet) };
    const PeerConnection = hub.options.RTCPeerConnection ?? globalThis.RTCPeerConnection;
    this.#negotiation = new Negotiation(hub.peer > id, PeerConnection, () => hub.rtc, {
      signal: (kind, data, tag) => this.#signal(kind, data, tag),
      made: (pc) => this.#made(pc),
      path: (state) => this.#path(state),
      error: (error) => this.emit("error", error),
    });
  }

  /** The present peer connection. */
  get pc(): RTCPeerConnection | undefined {
    return this.#negotiation.pc;
  }

  /**
   * Sends anything that JSON knows, or bytes (an `ArrayBuffer` or a view of one), at most 64 KiB. Arrives in order, once, over
   * whatever way there is, as long as neither side closes. Resolves when it is on its way: await it, and you never send faster
   * than the path carries.
   */
  send(data: unknown): Promise<void> {
    const bytes = bytesOf(data);
    return bytes ? this.post(Kind.Binary, bytes) : this.post(Kind.Json, utf8(JSON.stringify(data ?? null)));
  }

  /** Sends bytes of a kind, see {@link Peer.extend}. */
  post(kind: number, bytes: Uint8Array): Promise<void> {
    this._start();
    return this.#pipe.send(kind, bytes);
  }

  /** Sends a track, on this connection and on those that may follow it. */
  addTrack(track: MediaStreamTrack, ...streams: MediaStream[]): void {
    this.#tracks.set(track, streams);
    if (this.pc) this.pc.addTrack(track, ...streams);
    else this._start();
  }

  removeTrack(track: MediaStreamTrack): void {
    this.#tracks.delete(track);
    const sender = this.pc?.getSenders().find((sender) => sender.track === track);
    if (sender) this.pc!.removeTrack(sender);
  }

  /** @internal Begins to connect. */
  _start(): void {
    if (this.#begin()) this.#negotiation.start();
  }

  /** @internal Both of us are on the hub again: what was under way there is said anew. */
  _signalling(): void {
    if (!this.present) return;
    clearTimeout(this.#absenceTimer);
    this.away = false;
    if (this.#started) this.#negotiation.again();
    if (this.#onHub) this.#pipe.repeat();
    this.#update();
  }

  /**
   * @internal Not in the room any more. A living link needs no room; `bye` is also what a page says that the browser put to sleep,
   * and which comes back.
   */
  _absent(why = this.#why): void {
    this.present = false;
    this.#why = why;
    clearTimeout(this.#absenceTimer);
    if (!this.#up) this.#absenceTimer = setTimeout(() => this.room._gone(this, why), why === "bye" ? 0 : ABSENCE);
    this.#update();
  }

  /** @internal */
  _signal({ kind, data, cid = "" }: Frame): void {
    const [theirs = "", tag = "", mine = ""] = cid.split(".");
    const peer = this.#recognise(theirs, mine);
    if (!peer) return;
    if (kind === "x-hi") {
      if (peer !== this) peer._start();
    } else if (kind === "x-none") {
      // The other side knows no WebRTC.
      peer.#negotiation.close();
      peer.#toHub();
    } else if (peer.#negotiation.PeerConnection) {
      peer.#begin();
      peer.#negotiation.handle(kind, data, tag);
    } else if (kind === "offer") {
      peer.#signal("x-none");
    }
  }

  /** @internal */
  _relayed([theirs, mine, packet]: [string, string, Uint8Array]): void {
    const peer = this.#recognise(theirs, mine);
    if (!peer) return;
    peer._start();
    peer.#pipe.receive(packet, peer.#hub);
  }

  /** @internal */
  _close(): void {
    this.#calm();
    this.#negotiation.close();
    this.#pipe.close();
    this.#set("closed");
    this._end();
  }

  /** Whom a message with these epochs is from: this peer, another one in its place, or (undefined) nobody who still exists. */
  #recognise(theirs: string, mine: string): Peer | undefined {
    if (this.state === "closed") return undefined;
    if (mine && mine !== this.#epoch) {
      // Meant for a page that is gone: let the sender know us.
      if (Date.now() - this.#greeted > 1_000) this.#signal("x-hi");
      this.#greeted = Date.now();
      return undefined;
    }
    if (theirs === this.#theirs) return this;
    let peer: Peer = this;
    if (this.#theirs && !this.#pipe.unused) {
      // Another one under the same id: the page was loaded anew.
      this.room._gone(this, "replaced");
      peer = this.room._member(this.id, this.meta);
    } else if (this.#theirs) this.#negotiation.close();
    peer.#theirs = theirs;
    return peer;
  }

  #signal(kind: string, data?: any, tag?: number): void {
    this.room.hub._socket.send({ t: "sig", room: this.room.name, to: this.id, kind, data, cid: `${this.#epoch}.${tag ?? ""}.${kind === "x-hi" ? "" : this.#theirs}` });
  }

  /** @returns whether it had not begun */
  #begin(): boolean {
    if (this.#started || this.state === "closed") return false;
    this.#started = true;
    if (this.#negotiation.PeerConnection) this.#connectTimer = setTimeout(() => this.#direct || this.#toHub(), CONNECT_PATIENCE);
    else this.#toHub();
    return true;
  }

  #made(pc: RTCPeerConnection): void {
    this.#up = false;
    if (this.#direct) this.#toHub();
    const main = (this.#main = pc.createDataChannel("meetpoint", { negotiated: true, id: 0 }));
    let handed = 0;
    let left = 0;
    const way: Way = {
      window: 256,
      patience: 1_000,
      ackAfter: 20,
      moves: () => left !== (left = handed - main.bufferedAmount),
      send: (packet) => {
        if (main.readyState !== "open" || main.bufferedAmount > BUFFER_HIGH) return false;
        main.send(packet);
        handed += packet.length;
        return true;
      },
    };
    main.binaryType = "arraybuffer";
    main.bufferedAmountLowThreshold = BUFFER_LOW;
    main.onbufferedamountlow = () => this.#pipe.pump();
    main.onopen = () => main === this.#main && this.#arrived(way);
    main.onclose = () => {
      if (main !== this.#main || this.state === "closed") return;
      this.#path("down");
      this.#negotiation.repair(true);
    };
    main.onmessage = ({ data }) => {
      if (main !== this.#main) return;
      // A sign of life from the other side, over the way itself: nothing else proves that it works.
      if (this.#direct !== way) this.#arrived(way);
      this.#pipe.receive(new Uint8Array(data), way);
    };
    for (const [track, streams] of this.#tracks) pc.addTrack(track, ...streams);
    pc.ontrack = (event) => this.emit("track", event);
    this.emit("connection", pc);
  }

  #path(state: "up" | "weak" | "down"): void {
    this.#up = state === "up";
    clearTimeout(this.#silenceTimer);
    if (this.#up) clearTimeout(this.#absenceTimer);
    const main = this.#main;
    if (!this.#up) {
      this.#toHub();
      if (!this.present) this._absent();
    } else if (main?.readyState === "open" && !this.#direct) {
      this.#probe();
      // What waits inside a channel comes out minutes later, if the outage was long: a new one is faster.
      this.#silenceTimer = setTimeout(() => main === this.#main && !this.#direct && this.#negotiation.repair(true), SILENCE);
    }
    void this.#inspect();
  }

  #probe(): void {
    const main = this.#main;
    if (main?.readyState === "open") this.#pipe.probe({ ...this.#hub, send: (packet) => (main.send(packet), true) });
  }

  /** Data may go peer-to-peer. */
  #arrived(way: Way): void {
    this.#calm();
    this.#everUp = this.#up = true;
    this.#onHub = false;
    this.#direct = way;
    this.#pipe.use(way);
    this.#update();
    void this.#inspect();
  }

  /** There is nothing to wait for. */
  #calm(): void {
    for (const timer of [this.#connectTimer, this.#silenceTimer, this.#absenceTimer]) clearTimeout(timer);
  }

  /** Data goes through the hub until the other way shows that it works. */
  #toHub(): void {
    if (this.#onHub || this.state === "closed") return;
    this.#onHub = true;
    this.#direct = undefined;
    this.#probe();
    this.#pipe.use(this.#hub);
    this.#update();
  }

  #relay(packet: Uint8Array): boolean {
    if (this.#paused || !this.#hubWorks) return false;
    this.room._request({ t: "send", to: this.id, bin: address(this.#epoch, this.#theirs, packet) }).catch(({ code, retry }: MeetpointError) => {
      if (code === "forbidden" || code === "unavailable") this.#noHub = true;
      else if (retry && !this.#paused) {
        this.#paused = true;
        setTimeout(() => {
          this.#paused = false;
          if (this.#onHub) this.#pipe.repeat();
        // Not to the millisecond: each attempt that is refused counts as a message too.
        }, retry + 250);
      }
      this.#update();
    });
    return true;
  }

  get #hubWorks(): boolean {
    return !this.#noHub && this.present && !this.away && this.room.hub.state === "open" && this.room.hub._socket.caps.includes("bin");
  }

  /** Which kind of path ICE chose. */
  async #inspect(): Promise<void> {
    const pc = this.pc;
    if (!pc || !this.#direct) return;
    const stats = (await pc.getStats()) as Map<string, any>;
    for (const report of stats.values()) {
      const pair = report.type === "transport" && stats.get(report.selectedCandidatePairId);
      if (!pair || pc !== this.pc) continue;
      this.#relayed = [pair.localCandidateId, pair.remoteCandidateId].some((end) => stats.get(end)?.candidateType === "relay");
    }
    this.#update();
    const ice = pc.sctp?.transport.iceTransport;
    if (ice) ice.onselectedcandidatepairchange = () => void this.#inspect();
  }

  #update(): void {
    if (this.state === "closed" || !this.#started) return;
    this.#set(
      this.#direct ? (this.#relayed ? "relay" : "direct")
      : this.#onHub && this.#hubWorks ? "hub"
      : this.#everUp || this.#onHub ? "recovering" : "connecting",
    );
  }

  #set(state: PeerState): void {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
    this.room.emit("state", { peer: this, state });
  }

  #message(kind: number, bytes: Uint8Array): void {
    if (kind > Kind.Binary) return Peer.#extensions.get(kind)?.(this, bytes);
    let data: unknown = bytes;
    try {
      if (kind === Kind.Json) data = JSON.parse(ofUtf8(bytes));
    } catch (error) {
      return this.emit("error", error as Error);
    }
    this.emit("message", data);
    this.room.emit("message", { peer: this, data });
  }
}
