//! Sending a train the way a sender with segmentation offload does: one call, many datagrams.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// From now on the kernel cuts what `socket` sends into datagrams of `size` bytes (udp(7), UDP_SEGMENT); 0 ends that.
pub(crate) fn cut_into(socket: &UdpSocket, size: u16) {
    let size = libc::c_int::from(size);
    // SAFETY: the descriptor is open, and the option is a live integer of the length that is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const size).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
