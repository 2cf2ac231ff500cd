//! One WebSocket, one peer of the hub.
