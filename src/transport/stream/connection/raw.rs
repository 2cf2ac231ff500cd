//! A stream that has become the client's half of a data connection (RFC 6062 §4.3): bytes, where frames were before.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};

use super::super::intake::NewStream;
use super::{Connection, Received, Scratch, Written, plaintext, read};
use crate::telemetry::StreamEnd;

/// What one look at a raw stream gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) struct RawRead {
    /// So many bytes, at the start of the scratch.
    pub(in crate::transport) count: usize,
    /// Nothing comes behind them.
    pub(in crate::transport) is_last: bool,
}

impl Connection {
    pub(in crate::transport) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// From now on what is sent is no frames. What waits still is: it gets its records first.
    ///
    /// # Errors
    /// The stream is broken.
    pub(in crate::transport) fn become_raw(&mut self) -> Result<(), StreamEnd> {
        self.seal()?;
        self.is_raw = true;
        Ok(())
    }

    /// Bytes that wait to be written.
    pub(in crate::transport) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether anything waits to be written, records of TLS included.
    pub(in crate::transport) fn has_waiting(&self) -> bool {
        !self.queue.is_empty() || self.tls_wants_write()
    }

    /// What was read of the stream before it became raw, and is still encrypted: into the scratch from `held` on. How much is
    /// there then.
    ///
    /// # Errors
    /// The client broke TLS.
    pub(in crate::transport) fn receive_rest(
        &mut self,
        scratch: &mut Scratch,
        held: usize,
    ) -> Result<RawRead, StreamEnd> {
        let mut all = RawRead {
            count: held,
            is_last: false,
        };
        while !all.is_last {
            match self.receive(scratch, all.count, false)? {
                Received::Bytes(count) => all.count += count,
                Received::Nothing => break,
                Received::Closed => all.is_last = true,
            }
        }
        Ok(all)
    }

    /// Reads once, at most `most` bytes of the socket, into the scratch.
    ///
    /// # Errors
    /// The stream is broken.
    pub(in crate::transport) fn receive_raw(
        &mut self,
        scratch: &mut Scratch,
        most: usize,
    ) -> Result<RawRead, StreamEnd> {
        let mut all = RawRead {
            count: 0,
            is_last: false,
        };
        let Some(tls) = &mut self.tls else {
            let space = scratch.frames.get_mut(..most).unwrap_or_default();
            match read(&self.socket, space)? {
                Received::Bytes(count) => all.count = count,
                Received::Nothing => {}
                Received::Closed => all.is_last = true,
            }
            return Ok(all);
        };
        let space = scratch.records.len().min(most);
        let mut records = match read(&self.socket, scratch.records.get_mut(..space).unwrap_or_default())? {
            Received::Bytes(count) => scratch.records.get(..count).unwrap_or_default(),
            Received::Nothing => return Ok(all),
            // Without a close_notify too: what a stream of bytes means is the peers' business.
            Received::Closed => {
                all.is_last = true;
                return Ok(all);
            }
        };
        // All of it is looked at: no plaintext stays inside, where no poller knows of it.
        loop {
            match plaintext(tls, scratch.frames.get_mut(all.count..).unwrap_or_default())? {
                Received::Bytes(count) => {
                    all.count += count;
                    continue;
                }
                Received::Nothing => {}
                Received::Closed => {
                    all.is_last = true;
                    return Ok(all);
                }
            }
            if records.is_empty() {
                return Ok(all);
            }
            let taken = tls.read_tls(&mut records).map_err(|_| StreamEnd::Failed)?;
            let state = tls.process_new_packets().map_err(|_| StreamEnd::Tls)?;
            if taken == 0 && state.plaintext_bytes_to_read() == 0 {
                return Err(StreamEnd::Tls);
            }
        }
    }

    /// Writes bytes, behind what waits; what the kernel does not take waits as well.
    ///
    /// # Errors
    /// The stream is broken.
    pub(in crate::transport) fn send_raw(&mut self, mut bytes: &[u8]) -> Result<Written, StreamEnd> {
        if self.queue.is_empty() {
            let taken = match &mut self.tls {
                Some(tls) => tls.writer().write(bytes),
                None => (&self.socket).write(bytes),
            };
            let taken = match taken {
                Ok(taken) => taken,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
                Err(_) => return Err(StreamEnd::Failed),
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        if !bytes.is_empty() {
            self.queue.push(&[], &[], bytes, 0);
        }
        self.write_raw()
    }

    /// Writes what waits, and gives its memory back when nothing does.
    ///
    /// # Errors
    /// The stream is broken.
    pub(in crate::transport) fn write_raw(&mut self) -> Result<Written, StreamEnd> {
        let written = self.write()?;
        drop(self.queue.take_buffer());
        Ok(written)
    }

    /// Tells the client that nothing more comes, with TLS's words and TCP's. Everything must be written by then.
    ///
    /// # Errors
    /// The stream is broken.
    pub(in crate::transport) fn finish_raw(&mut self) -> Result<(), StreamEnd> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // An alert is a few bytes behind a queue that was just emptied.
            self.write()?;
        }
        self.socket.shutdown(Shutdown::Write).map_err(|_| StreamEnd::Failed)
    }

    /// Takes the stream apart, for another worker: `rest` of what was read goes with it.
    pub(in crate::transport) fn into_moved(self: Box<Self>, rest: Vec<u8>) -> NewStream {
        let this = *self;
        NewStream {
            socket: this.socket,
            tls: this.tls,
            five_tuple: this.five_tuple,
            early: rest,
            ticket: this.ticket,
            is_moved: true,
        }
    }
}
