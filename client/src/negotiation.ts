// Perfect negotiation: one RTCPeerConnection that either side may renegotiate at any time, and that is repaired or replaced.
//
// Both sides may offer; glare resolves by politeness. Repairs are made by the impolite side alone, the polite one asks for
// them: two repairs at once would undo each other. `tag` names one connection of one side: a new tag means that the other side
// has begun anew.

export interface NegotiationHooks {
  signal(kind: string, data: any, tag: number): void;
  /** A connection to put channels and tracks on. `answering`: an offer is being applied to it. */
  made(pc: RTCPeerConnection): void;
  /** `up`: ICE has a path. `weak`: it lost it, perhaps not for long. `down`: it gave up. */
  path(state: "up" | "weak" | "down"): void;
  error(error: Error): void;
}

const WEAK_PATIENCE = 3_000;
/** For an offer nobody answers. */
const FIRST_PATIENCE = 10_000;
/** Restarts of ICE, then whole new connections. */
const RESTARTS = 3;
const MAX_PAUSE = 60_000;
const EARLY_CANDIDATES = 64;

export class Negotiation {
  pc: RTCPeerConnection | undefined;
  #number = -1;
  #offers = 0;
  #theirs = "";
  #making = false;
  #ignoring = false;
  #attempts = 0;
  #timer: any;
  #early: any[] = [];
  #queue = Promise.resolve();

  constructor(
    readonly polite: boolean,
    readonly PeerConnection: any,
    readonly configuration: () => RTCConfiguration,
    readonly hooks: NegotiationHooks,
  ) {}

  /** Offers, unless there is a connection. */
  start(): void {
    if (this.pc || !this.PeerConnection) return;
    this.hooks.made(this.#make());
    this.#later(FIRST_PATIENCE);
  }

  /** Signals are applied strictly in the order in which they came. */
  handle(kind: string, data: any, tag: string): void {
    if (!this.PeerConnection) return;
    this.#queue = this.#queue
      .then(() => this.#apply(kind, data, tag))
      .catch((error) => this.hooks.error(error));
  }

  /** The hub is back: what was said meanwhile may have gone nowhere, so it is said again. */
  again(): void {
    const { pc } = this;
    if (pc?.signalingState === "have-local-offer") this.#offer(pc);
    else if (pc && pc.connectionState !== "connected") this.repair();
  }

  /** Looks for a living path. `anew`: the connection itself is of no use any more. */
  repair(anew = false): void {
    const { pc } = this;
    this.#later();
    if (this.polite) this.hooks.signal("restart", { anew }, this.#number);
    else if (!pc || anew || this.#attempts > RESTARTS || pc.signalingState === "closed") {
      this.close();
      this.start();
    } else if (pc.signalingState === "have-local-offer") this.#offer(pc);
    else pc.restartIce();
  }

  close(): void {
    clearTimeout(this.#timer);
    // From here on it has no events.
    this.pc?.close();
    this.pc = undefined;
    this.#theirs = "";
    this.#early = [];
  }

  #make(): RTCPeerConnection {
    const pc: RTCPeerConnection = (this.pc = new this.PeerConnection(this.configuration()));
    this.#number++;
    this.#offers = 0;
    this.#making = this.#ignoring = false;
    pc.onnegotiationneeded = () => this.#negotiate(pc);
    pc.onicecandidate = ({ candidate }) => this.hooks.signal(candidate ? "cand" : "end", candidate, this.#number);
    pc.onconnectionstatechange = () => this.#follow(pc);
    return pc;
  }

  async #negotiate(pc: RTCPeerConnection): Promise<void> {
    try {
      this.#making = true;
      await pc.setLocalDescription();
      this.#offer(pc);
    } catch (error) {
      if (pc === this.pc) this.hooks.error(error as Error);
    } finally {
      this.#making = false;
    }
  }

  #offer(pc: RTCPeerConnection): void {
    if (pc !== this.pc || pc.localDescription?.type !== "offer") return;
    const { type, sdp } = pc.localDescription;
    this.hooks.signal("offer", { type, sdp, n: ++this.#offers }, this.#number);
  }

  async #apply(kind: string, data: any, tag: string): Promise<void> {
    if (kind === "restart") {
      // The polite side asks for a repair.
      if (!this.polite && (data.anew || this.pc?.connectionState !== "connected")) this.repair(data.anew);
      return;
    }
    if (kind === "offer") return this.#answer(data, tag);
    const { pc } = this;
    if (!pc || (this.#theirs && tag !== this.#theirs)) return;
    if (kind === "answer") {
      // One that comes late must not be taken for the answer to a later offer.
      if (pc.signalingState !== "have-local-offer" || data.re !== `${this.#number}.${this.#offers}`) return;
      await pc.setRemoteDescription({ type: "answer", sdp: data.sdp });
      this.#theirs = tag;
      await this.#candidates(pc);
    } else if (kind === "cand" || kind === "end") {
      // Those of an offer that we ignored belong to no description that we have.
      if (this.#ignoring) return;
      const candidate = kind === "cand" ? data : undefined;
      if (pc.remoteDescription) await pc.addIceCandidate(candidate).catch(() => {});
      else if (this.#early.length < EARLY_CANDIDATES) this.#early.push(candidate);
    }
  }

  async #answer({ sdp, n }: any, tag: string): Promise<void> {
    if (this.#theirs && tag !== this.#theirs) this.close();
    const first = !this.pc;
    const pc = this.pc ?? this.#make();
    const collision = this.#making || pc.signalingState !== "stable";
    this.#ignoring = !this.polite && collision;
    if (this.#ignoring) return;
    this.#theirs = tag;
    this.#early = [];
    await pc.setRemoteDescription({ type: "offer", sdp });
    // Only now: on a fresh connection the channel would ask for an offer of our own.
    if (first) this.hooks.made(pc);
    await pc.setLocalDescription();
    this.hooks.signal("answer", { type: "answer", sdp: pc.localDescription!.sdp, re: `${tag}.${n}` }, this.#number);
    await this.#candidates(pc);
  }

  async #candidates(pc: RTCPeerConnection): Promise<void> {
    for (const candidate of this.#early.splice(0)) await pc.addIceCandidate(candidate).catch(() => {});
  }

  #follow(pc: RTCPeerConnection): void {
    if (pc !== this.pc) return;
    const state = pc.connectionState;
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#attempts = 0;
      this.hooks.path("up");
    } else if (state === "disconnected") {
      this.hooks.path("weak");
      this.#later(WEAK_PATIENCE);
    } else if (state === "failed") {
      this.hooks.path("down");
      this.#later(1_000 * (2 ** Math.min(this.#attempts, 6) - 1));
    }
  }

  /** Repairs after a while, unless the path comes back: quickly at first, then in the background without end. */
  #later(wait = Math.min(MAX_PAUSE, 4_000 * 2 ** Math.max(0, this.#attempts - RESTARTS + 1))): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.pc?.connectionState === "connected") return;
      this.#attempts++;
      this.repair();
    }, wait);
  }
}
