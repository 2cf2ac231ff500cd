// What the pages of other projects load, as their packages ship it.
import { Peer } from "peerjs";
import { WebrtcProvider } from "y-webrtc";
import * as Y from "yjs";

Object.assign(globalThis, { Peer, WebrtcProvider, Y });
