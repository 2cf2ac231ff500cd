//! Hub to hub across replicas.
//!
//! What it is: the place where a hub's rooms will be shared with the hubs of other processes. A deployment of one process needs
//! none of it: its one hub is complete, and there is no local stand-in to go through.
//!
//! What it is not: a queue for clients. A message from elsewhere can only be delivered here, never be published on, so that no
//! loop can form.
