/** Rooms, peer-to-peer links and a way through the hub, over a meetpoint server. */
export { connect, Hub, type HubEvents } from "./hub.js";
export { Room, type JoinOptions, type Member, type RoomEvents } from "./room.js";
export { Peer, type PeerEvents, type PeerState } from "./link.js";
export { Emitter } from "./emitter.js";
export { MeetpointError, type ConnectOptions, type Json } from "./types.js";
