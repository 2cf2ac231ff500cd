// The hub as the application sees it: one session, its rooms, and the ICE servers of all peer connections.

import { Emitter } from "./emitter.js";
import { Room, type JoinOptions } from "./room.js";
import { Socket, type SocketState } from "./socket.js";
import { type ConnectOptions, type Frame, MeetpointError, refusal } from "./types.js";

export interface HubEvents {
  /** `retryIn`: milliseconds to the next attempt, while `waiting`. */
  state: { state: SocketState; detail: string; retryIn?: number };
  /** New ICE servers; every peer connection has them already. */
  ice: { servers: RTCIceServer[]; exp?: number };
  /** The server goes away soon. Nothing needs to be done. */
  drain: Frame;
  /** A refusal that answers no request. */
  error: MeetpointError;
}

declare const __MODULE__: boolean;

/** Where this script came from: the server, if none is named. */
const source: string | undefined = __MODULE__ ? import.meta.url : (globalThis.document?.currentScript as HTMLScriptElement | null)?.src;

/** `https://meet.example/`, a script of it, or `wss://meet.example/v1/ws` → the last. */
function socketUrl(server = /^http/.test(source ?? "") ? source! : globalThis.location?.href): string {
  let url = new URL(server);
  if (!/^ws/.test(url.protocol) || url.pathname === "/") url = new URL("v1/ws", url);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  return url.href;
}

/** A session with a server. Made by {@link connect}. */
export class Hub extends Emitter<HubEvents> {
  readonly rooms = new Map<string, Room>();
  /** What the server gave for `RTCPeerConnection`. */
  iceServers: RTCIceServer[] = [];
  #policy: RTCIceTransportPolicy | undefined;
  /** @internal */ readonly _socket: Socket;

  /** @internal */
  constructor(server: string | undefined, readonly options: ConnectOptions) {
    super();
    this._socket = new Socket(socketUrl(server), options, {
      state: (state, detail, retryIn) => {
        if (state === "stopped") for (const room of this.rooms.values()) room._stop(new MeetpointError("stopped", detail));
        this.emit("state", { state, detail, retryIn });
      },
      welcome: (frame) => {
        if (frame.ice) this.#ice(frame.ice);
        // After the state is `open`, which requests need.
        queueMicrotask(() => { for (const room of this.rooms.values()) room._welcome(frame.resumed); });
      },
      frame: (frame) => this.#frame(frame),
    });
  }

  /** Your id, in every room. */
  get peer(): string {
    return this._socket.peer ?? "";
  }

  get state(): SocketState {
    return this._socket.state;
  }

  /** What peer connections are made with. */
  get rtc(): RTCConfiguration {
    const { rtc } = this.options;
    return {
      iceTransportPolicy: this.#policy, ...rtc,
      iceServers: [...(rtc?.iceServers ?? []), ...this.iceServers],
    };
  }

  /** Enters a room, and stays in it over every loss of the connection until {@link Room.leave}. */
  async join(name: string, options: JoinOptions = {}): Promise<Room> {
    let room = this.rooms.get(name);
    if (!room) this.rooms.set(name, (room = new Room(this, name, options)));
    await room._entered;
    return room;
  }

  /** Puts a newer token of the same user in the place of the present one. */
  async auth(token: string): Promise<void> {
    await this._socket.request({ t: "auth", token });
  }

  /** Leaves every room and closes every link. */
  close(): void {
    for (const room of [...this.rooms.values()]) void room.leave();
    this._socket.close();
    this._end();
  }

  #frame(frame: Frame): void {
    if (frame.t === "ice") this.#ice(frame);
    else if (frame.t === "drain") this.emit("drain", frame);
    else if (frame.t === "err" && !frame.id) this.emit("error", refusal(frame));
    else if (frame.room) this.rooms.get(frame.room)?._frame(frame);
  }

  #ice({ servers, exp, policy }: Frame | any): void {
    this.iceServers = servers ?? [];
    if (policy) this.#policy = policy;
    for (const room of this.rooms.values()) for (const peer of room.peers.values()) peer.pc?.setConfiguration(this.rtc);
    this.emit("ice", { servers: this.iceServers, exp });
  }
}

/**
 * Connects to a server, by default the one that this script came from.
 *
 * Resolves with the first welcome; keeps trying until then. Rejects when the server says that trying is no use: a bad token,
 * no right, no room for more connections.
 */
export function connect(server?: string | ConnectOptions, options: ConnectOptions = {}): Promise<Hub> {
  const named = typeof server === "string";
  const hub = new Hub(named ? server : undefined, (named ? options : server) ?? {});
  return new Promise((resolve, reject) => {
    const off = hub.on("state", ({ state, detail }) => {
      if (state !== "open" && state !== "stopped") return;
      off();
      if (state === "open") resolve(hub);
      else reject(new MeetpointError("stopped", detail));
    });
    void hub._socket.open();
  });
}
