//! The batch system calls behind a safe surface: the only `unsafe` of the driver.
//!
//! Both rings keep their headers for the life of the worker and write every pointer in them directly before the call
//! that reads it, so no pointer is ever kept across calls.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::RawAddr;
use super::control::{Control, Received};

/// The most messages one call takes in or sends.
pub(crate) const MESSAGES: usize = 64;
/// The most pieces all messages of one call are put together from; the kernel's bound for one message is the same.
pub(crate) const PIECES: usize = 1024;

/// Never wait, never raise SIGPIPE.
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A message header and vector that point nowhere.
fn blank() -> (libc::mmsghdr, libc::iovec) {
    // SAFETY: both are plain C structs of integers and raw pointers, for which all-zero bytes are a valid value.
    unsafe { std::mem::zeroed() }
}

/// Buffers that one `recvmmsg` fills: one datagram, or one train of them, each.
pub(crate) struct RecvRing {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[RawAddr]>,
    controls: Box<[Control]>,
    memory: Box<[u8]>,
    slot: usize,
    stride: usize,
}

impl RecvRing {
    /// `slots` buffers of `slot` bytes. The memory is taken from the system when it is first written to.
    pub(crate) fn new(slots: usize, slot: usize) -> Self {
        // Neighbours start at different cache sets: with a stride of 64 KiB every packet would fight for the same.
        let stride = slot.next_multiple_of(64) + 5 * 64;
        let (header, vector) = blank();
        Self {
            headers: vec![header; slots].into_boxed_slice(),
            vectors: vec![vector; slots].into_boxed_slice(),
            names: vec![RawAddr::ZERO; slots].into_boxed_slice(),
            controls: vec![Control::EMPTY; slots].into_boxed_slice(),
            memory: vec![0; slots * stride].into_boxed_slice(),
            slot,
            stride,
        }
    }

    pub(crate) fn slots(&self) -> usize {
        self.headers.len()
    }

    /// Receives what is there, at most `most` messages, into the slots from `first` on, without waiting.
    ///
    /// Returns how many slots were filled. Errors are the socket's: `WouldBlock` when nothing is there.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, first: usize, most: usize) -> io::Result<usize> {
        let end = first.saturating_add(most).min(self.slots());
        let slots = first.min(end)..end;
        if slots.is_empty() {
            return Ok(0);
        }
        let headers = &mut self.headers[slots.clone()];
        let vectors = &mut self.vectors[slots.clone()];
        let memory = &mut self.memory[slots.start * self.stride..slots.end * self.stride];
        for ((((header, vector), name), control), buffer) in headers
            .iter_mut()
            .zip(vectors.iter_mut())
            .zip(&mut self.names[slots.clone()])
            .zip(&mut self.controls[slots])
            .zip(memory.chunks_exact_mut(self.stride))
        {
            *vector = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: self.slot,
            };
            header.msg_len = 0;
            let header = &mut header.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = RawAddr::CAPACITY;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = Control::CAPACITY as _;
            header.msg_flags = 0;
        }
        // SAFETY: the descriptor is open for as long as it is borrowed; `headers` holds as many headers as the call is
        // told, and each points to one vector, one name, one control buffer and one slot of memory of this ring, all
        // of them written above with their true lengths, distinct from each other and exclusively borrowed until the
        // call returns. The kernel writes initialised bytes into them and keeps no pointer.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for slot in first..(first + received).min(end) {
            #[cfg_attr(
                target_env = "gnu",
                expect(
                    clippy::unnecessary_cast,
                    reason = "the C libraries differ in the type of this field"
                )
            )]
            self.controls[slot].set_len(self.headers[slot].msg_hdr.msg_controllen as usize);
        }
        Ok(received)
    }

    /// The bytes of the last message received into `slot`.
    pub(crate) fn bytes(&self, slot: usize) -> &[u8] {
        let len = (self.headers[slot].msg_len as usize).min(self.slot);
        &self.memory[slot * self.stride..][..len]
    }

    /// Its sender, as the kernel wrote it.
    pub(crate) fn from(&self, slot: usize) -> &RawAddr {
        &self.names[slot]
    }

    /// What the kernel said beside it.
    pub(crate) fn control(&self, slot: usize) -> Received {
        self.controls[slot].received()
    }

    /// Whether it, or what was to be said beside it, did not fit.
    pub(crate) fn is_truncated(&self, slot: usize) -> bool {
        self.headers[slot].msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0
    }
}

/// Headers for up to [`MESSAGES`] outgoing messages of up to [`PIECES`] pieces together.
pub(crate) struct SendRing {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[RawAddr]>,
    controls: Box<[Control]>,
    shapes: Box<[Shape]>,
}

/// Of one message: lengths of its name and control buffer, its first piece, and one past its last.
#[derive(Clone, Copy, Default)]
struct Shape {
    name_len: libc::socklen_t,
    control_len: usize,
    first: usize,
    end: usize,
}

impl SendRing {
    pub(crate) fn new() -> Self {
        let (header, vector) = blank();
        Self {
            headers: vec![header; MESSAGES].into_boxed_slice(),
            vectors: vec![vector; PIECES].into_boxed_slice(),
            names: vec![RawAddr::ZERO; MESSAGES].into_boxed_slice(),
            controls: vec![Control::EMPTY; MESSAGES].into_boxed_slice(),
            shapes: vec![Shape::default(); MESSAGES].into_boxed_slice(),
        }
    }

    /// Starts a call's worth of messages made of pieces that live for `'data`.
    pub(crate) fn begin<'data>(&mut self) -> Outgoing<'_, 'data> {
        Outgoing {
            ring: self,
            messages: 0,
            pieces: 0,
            data: PhantomData,
        }
    }
}

/// Messages on their way into one `sendmmsg`.
pub(crate) struct Outgoing<'ring, 'data> {
    ring: &'ring mut SendRing,
    messages: usize,
    pieces: usize,
    data: PhantomData<&'data [u8]>,
}

impl<'data> Outgoing<'_, 'data> {
    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.messages
    }

    /// Whether one more message of `pieces` pieces fits.
    pub(crate) fn has_room(&self, pieces: usize) -> bool {
        self.messages < MESSAGES && self.pieces + pieces <= PIECES
    }

    /// Opens a message to `to`, or to the socket's peer; `control` fills its control buffer. What does not fit (see
    /// [`Outgoing::has_room`]) is not taken: returns whether it was.
    pub(crate) fn start(&mut self, to: Option<&std::net::SocketAddr>, control: impl FnOnce(&mut Control)) -> bool {
        let index = self.messages;
        if index == MESSAGES {
            return false;
        }
        let name_len = to.map_or(0, |to| self.ring.names[index].set(to));
        let buffer = &mut self.ring.controls[index];
        buffer.clear();
        control(buffer);
        let control_len = buffer.len();
        self.ring.shapes[index] = Shape {
            name_len,
            control_len,
            first: self.pieces,
            end: self.pieces,
        };
        self.messages += 1;
        true
    }

    /// Appends `bytes` to the message opened last; returns whether there was room.
    pub(crate) fn piece(&mut self, bytes: &'data [u8]) -> bool {
        let (Some(last), Some(vector)) = (self.messages.checked_sub(1), self.ring.vectors.get_mut(self.pieces)) else {
            return false;
        };
        if bytes.is_empty() {
            return true;
        }
        *vector = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        self.pieces += 1;
        self.ring.shapes[last].end = self.pieces;
        true
    }

    /// Hands the messages from `first` on to the kernel without waiting; returns how many it took, at least one.
    ///
    /// The error is that of message `first`; those after it are untried.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, first: usize) -> io::Result<usize> {
        let messages = first.min(self.messages)..self.messages;
        if messages.is_empty() {
            return Ok(0);
        }
        let SendRing {
            headers,
            vectors,
            names,
            controls,
            shapes,
        } = &mut *self.ring;
        let (vectors, names, controls) = (vectors.as_mut_ptr(), names.as_mut_ptr(), controls.as_mut_ptr());
        for index in messages.clone() {
            let Shape {
                name_len,
                control_len,
                first,
                end,
            } = shapes[index];
            let header = &mut headers[index].msg_hdr;
            header.msg_name = std::ptr::null_mut();
            if name_len > 0 {
                header.msg_name = names.wrapping_add(index).cast();
            }
            header.msg_namelen = name_len;
            header.msg_iov = vectors.wrapping_add(first);
            header.msg_iovlen = (end - first) as _;
            header.msg_control = std::ptr::null_mut();
            if control_len > 0 {
                // The bytes are the first field of a `repr(C)` struct.
                header.msg_control = controls.wrapping_add(index).cast();
            }
            header.msg_controllen = control_len as _;
            header.msg_flags = 0;
        }
        let headers = &mut headers[messages];
        // SAFETY: the descriptor is open for as long as it is borrowed. Each of the `headers.len()` headers points to
        // the name, the vectors and the control buffer of its own index in this exclusively borrowed ring, with
        // their true lengths, written above. Each vector points to a slice that lives for `'data`, which outlives
        // `self`, and which the kernel only reads. It keeps no pointer after it returns.
        let sent = unsafe {
            if let [one] = headers {
                libc::sendmsg(socket.as_raw_fd(), &one.msg_hdr, SEND_FLAGS).min(1)
            } else {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
                    SEND_FLAGS as _,
                ) as isize
            }
        };
        match sent {
            // An empty datagram is sent with 0 bytes: that is one message too.
            0.. => Ok((sent as usize).max(1)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Takes one message out of a socket's error queue without waiting: the address the datagram it is about was sent to, and
/// what the kernel says of it. Of the datagram itself nothing is read.
pub(crate) fn receive_error(socket: BorrowedFd<'_>) -> io::Result<(RawAddr, Control)> {
    let (mut name, mut control) = (RawAddr::ZERO, Control::EMPTY);
    let (mut header, _) = blank();
    let header = &mut header.msg_hdr;
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = RawAddr::CAPACITY;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = Control::CAPACITY as _;
    // SAFETY: the descriptor is open for as long as it is borrowed; the header points to one name and one control buffer,
    // with their true lengths, which live until after the call, and to no memory for data. The kernel writes initialised
    // bytes into them and keeps no pointer.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    #[cfg_attr(
        target_env = "gnu",
        expect(
            clippy::unnecessary_cast,
            reason = "the C libraries differ in the type of this field"
        )
    )]
    let written = header.msg_controllen as usize;
    control.set_len(written);
    Ok((name, control))
}

/// Sets an integer socket option.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and the option's value is a live integer of the
    // length the call is told, which it only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
