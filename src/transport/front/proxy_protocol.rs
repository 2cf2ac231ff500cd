//! The header by which a proxy that passes TCP on says who its client is: the PROXY protocol, versions 1 and 2.
//!
//! What it is: the bytes of one header, taken in as they come and never one more, so that what follows stays in the socket.
//! What it is not: a judgement whom to believe. [`super::Front`] asks only sources that the operator named.
//!
//! Source: "The PROXY protocol, versions 1 & 2" of HAProxy, §2.1 (text), §2.2 (binary), §2.2.3 (CRC32C).

use std::net::SocketAddr;

use crc::{CRC_32_ISCSI, Crc};
use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// The longest header that is read, bytes. A sender keeps to 536; one that passes on a client's certificate needs more.
pub const MAX_LEN: usize = 8192;
/// The longest line of version 1, CR and LF included.
const MAX_LINE: usize = 107;
/// How version 1 begins.
const TEXT: &[u8] = b"PROXY ";
/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, and the length of the rest.
const FIXED: usize = 16;
/// Version 2 and LOCAL.
const LOCAL: u8 = 0x20;
/// PP2_TYPE_CRC32C.
const CHECKSUM: u8 = 0x03;

/// CRC32C (RFC 9260 appendix A).
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The proxy's own: it looks whether we live (LOCAL).
    Proxy,
    /// Somebody whose address the proxy does not tell: UNKNOWN, an unspecified family, a Unix socket.
    Untold,
    /// Somebody at this address.
    At(SocketAddr),
}

/// These bytes are no header, or a broken one. The connection is not to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no valid PROXY header")]
pub struct Malformed;

/// A header that is being read.
#[derive(Debug, Default)]
pub struct Preamble {
    bytes: Vec<u8>,
}

impl Preamble {
    /// Takes from `offered`, the next bytes of the connection, what belongs to the header. Returns how many that are, at
    /// least one unless `offered` is empty, and whose connection it is once the header is whole.
    ///
    /// # Errors
    /// [`Malformed`], as soon as it shows.
    pub fn take(&mut self, offered: &[u8]) -> Result<(usize, Option<Client>), Malformed> {
        let mut taken = 0;
        loop {
            let rest = offered.get(taken..).unwrap_or_default();
            let piece = self.wanted(rest);
            if piece == 0 {
                return Ok((taken, None));
            }
            self.bytes.extend_from_slice(rest.get(..piece).unwrap_or_default());
            taken += piece;
            if let Some(client) = self.judge()? {
                return Ok((taken, Some(client)));
            }
        }
    }

    /// How much of `rest` is certainly part of the header.
    fn wanted(&self, rest: &[u8]) -> usize {
        let have = self.bytes.len();
        let most = if self.bytes.first() == SIGNATURE.first() {
            self.whole().unwrap_or(FIXED) - have
        } else if have < TEXT.len() {
            TEXT.len() - have
        } else {
            // Up to the end of the line.
            let line = rest
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(usize::MAX, |at| at + 1);
            line.min(MAX_LINE - have)
        };
        // The first byte says which version it is.
        let most = if have == 0 { 1 } else { most };
        most.min(rest.len())
    }

    /// The length of a header of version 2, once it is known.
    fn whole(&self) -> Option<usize> {
        let length = self.bytes.get(FIXED - 2..FIXED)?;
        Some(FIXED + length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    }

    fn judge(&self) -> Result<Option<Client>, Malformed> {
        let have = self.bytes.len();
        let starts = |with: &[u8]| with.iter().zip(&self.bytes).all(|(wanted, found)| wanted == found);
        if starts(TEXT) {
            return match self.bytes.last() {
                Some(b'\n') => self.read().map(Some),
                _ if have < MAX_LINE => Ok(None),
                _ => Err(Malformed),
            };
        }
        if !starts(SIGNATURE) {
            return Err(Malformed);
        }
        match self.whole() {
            Some(whole) if whole > MAX_LEN => Err(Malformed),
            Some(whole) if whole == have => self.read().map(Some),
            _ => Ok(None),
        }
    }

    /// Reads a whole header.
    fn read(&self) -> Result<Client, Malformed> {
        let is_binary = self.bytes.starts_with(SIGNATURE);
        if is_binary && self.bytes.get(SIGNATURE.len()) == Some(&LOCAL) {
            // All else in it is to be discarded (§2.2).
            return Ok(Client::Proxy);
        }
        let config = ParseConfig {
            include_tlvs: false,
            ..ParseConfig::default()
        };
        let (header, length) = ProxyHeader::parse(&self.bytes, config).map_err(|_| Malformed)?;
        if length != self.bytes.len() {
            return Err(Malformed);
        }
        if is_binary {
            self.verify_extensions()?;
        }
        match header.proxied_address() {
            None => Ok(Client::Untold),
            // On a stream nobody forwards datagrams.
            Some(address) if address.protocol == Protocol::Datagram => Err(Malformed),
            Some(address) => {
                let source = SocketAddr::new(address.source.ip().to_canonical(), address.source.port());
                // Nobody has such an address: the proxy does not know either.
                let is_nobody = source.ip().is_unspecified() || source.ip().is_multicast() || source.port() == 0;
                Ok(if is_nobody { Client::Untold } else { Client::At(source) })
            }
        }
    }

    /// Looks at the list of extensions: none may be cut off, and a checksum must be right. What they say is not needed here.
    fn verify_extensions(&self) -> Result<(), Malformed> {
        let addresses = match self.bytes.get(SIGNATURE.len() + 1).map(|byte| byte >> 4) {
            Some(1) => 12,
            Some(2) => 36,
            Some(3) => 216,
            _ => 0,
        };
        let mut at = FIXED + addresses;
        while at < self.bytes.len() {
            let (kind, value) = match self.bytes.get(at..) {
                Some(&[kind, high, low, ref rest @ ..]) => {
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    (kind, rest.get(..length).ok_or(Malformed)?)
                }
                _ => return Err(Malformed),
            };
            at += 3;
            if kind == CHECKSUM {
                let told = u32::from_be_bytes(value.try_into().map_err(|_| Malformed)?);
                if told != self.checksum(at) {
                    return Err(Malformed);
                }
            }
            at += value.len();
        }
        Ok(())
    }

    /// The checksum of the whole header, with its four bytes at `field` taken for zeros.
    fn checksum(&self, field: usize) -> u32 {
        let mut digest = CRC32C.digest();
        digest.update(self.bytes.get(..field).unwrap_or_default());
        digest.update(&[0; 4]);
        digest.update(self.bytes.get(field + 4..).unwrap_or_default());
        digest.finalize()
    }
}

#[cfg(test)]
mod tests;
