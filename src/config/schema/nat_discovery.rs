//! Whether clients may find out what their NAT does.

use crate::config::types::ExternalIp;
use crate::config::value::Between;

section! {
    /// NAT behaviour discovery (RFC 5780): tells clients, and tools such as `turnutils_natdiscovery`, which mappings and
    /// filters their NAT has. It needs two addresses of this machine and answers from both of them, at two ports.
    ///
    /// Off unless there are addresses: with it anybody gets answers three times as long as their request, from where no
    /// request went to. WebRTC needs none of it.
    NatDiscovery as "nat_discovery" {
        /// Two addresses of a family, of this machine, that clients reach alike; or two of each family. Behind 1:1 NAT
        /// each as `"public/private"`.
        ///
        /// The port is that of `relay.listen`. Whichever of the two addresses and ports is not listened at there is opened
        /// as well, for all that the relay serves, and by TCP too where `relay.listen_tcp` is `"same"`.
        addresses: Vec<ExternalIp> = Vec::new();
        /// The other port, at both addresses.
        alternate_port: u16 = 3479, Between(1, 65_535);
        /// Lets a client name the port of its address that the answer goes to (RESPONSE-PORT). It shows how long a NAT
        /// keeps a mapping.
        ///
        /// Who shares an address with others, as behind the NAT of a provider, can send answers to what is not its own.
        response_port: bool = false;
        /// Answers of this kind in one second for each client address (or IPv6 /64) and worker; 0 is no limit.
        ///
        /// Beyond it requests that ask for nothing special get the short answer of any STUN server, others none: this is what
        /// a spoofed source can be hit with. A whole discovery asks some ten times.
        answers_per_second: u16 = 20;
    }
}
