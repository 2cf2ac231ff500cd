// Which of the ICE servers can be reached from here, each URL by itself: a whole list only tells that one of them can.

import { Hub } from "./index.js";

declare module "./hub.js" {
  interface Hub {
    /** Tries every URL of the ICE servers by itself. */
    diagnose(options?: { timeout?: number }): Promise<Diagnosis[]>;
  }
}

export interface Diagnosis {
  url: string;
  kind: "stun" | "turn";
  /** How the server is reached. */
  transport: "udp" | "tcp" | "tls";
  /**
   * `turn`: an allocation was made. `stun`: the server told an address that differs from all of the host's own; without a NAT
   * in between browsers leave it out, and then silence without an error counts as good.
   */
  ok: boolean;
  /** To the first candidate, or to the end. */
  ms: number;
  /** The address that the server gave. */
  address?: string;
  /** What the browser said, with the code of the protocol (401, 486, 701 = no answer …). */
  error?: string;
}

function transportOf(url: string): Diagnosis["transport"] {
  if (/^(turn|stun)s:/.test(url)) return "tls";
  return /transport=tcp/.test(url) ? "tcp" : "udp";
}

async function probe(PeerConnection: any, server: RTCIceServer, url: string, timeout: number): Promise<Diagnosis> {
  const kind = /^turn/.test(url) ? "turn" : "stun";
  const pc: RTCPeerConnection = new PeerConnection({ iceServers: [{ ...server, urls: url }], iceTransportPolicy: kind === "turn" ? "relay" : "all" });
  const began = performance.now();
  const found: Diagnosis = { url, kind, transport: transportOf(url), ok: false, ms: 0 };
  let timer: ReturnType<typeof setTimeout> | undefined;
  await new Promise<void>((end) => {
    timer = setTimeout(() => ((found.error ??= "no answer"), end()), timeout);
    pc.onicecandidateerror = ({ errorCode, errorText }) => (found.error = `${errorCode} ${errorText}`.trim());
    pc.onicecandidate = ({ candidate }) => {
      // Null: that was all.
      if (!candidate) {
        found.ok = kind === "stun" && !found.error;
        end();
      } else if (candidate.type === (kind === "turn" ? "relay" : "srflx")) {
        found.ok = true;
        found.address = `${candidate.address}:${candidate.port}`;
        delete found.error;
        end();
      }
    };
    pc.createDataChannel("");
    pc.setLocalDescription().catch((error) => ((found.error = String(error)), end()));
  });
  clearTimeout(timer);
  found.ms = Math.round(performance.now() - began);
  pc.close();
  return found;
}

Hub.prototype.diagnose = function (this: Hub, { timeout = 6_000 } = {}) {
  const PeerConnection = this.options.RTCPeerConnection ?? globalThis.RTCPeerConnection;
  return Promise.all(this.rtc.iceServers!.flatMap((server) =>
    [server.urls].flat().map((url) => probe(PeerConnection, server, url, timeout))));
};
