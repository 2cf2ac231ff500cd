//! The codec next to others: `cargo bench --bench codec`.
//!
//! Each group is one job, done by us (`meetpoint`), by `stun-types` with `turn-types`, and, with the default features,
//! by `stun` with `turn` of webrtc-rs. Allocations are counted beside time.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]

use meetpoint::wire::{IntegrityKey, TransactionId};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const ID: TransactionId = TransactionId([7; 12]);
const PEER: &str = "203.0.113.7:50000";
const USER: &str = "1735689600:alice";
const REALM: &str = "meetpoint";
const NONCE: &str = "obMatJos2wAAAf3b1c0a9d8e7f605142";
const PASSWORD: &str = "J4c8n3H1q2t5x7z9A0b1C2d3E4f5";

fn main() {
    divan::main();
}

fn key() -> IntegrityKey {
    IntegrityKey::long_term_md5(USER, REALM, PASSWORD)
}

/// A ChannelBind request as browsers send it, with integrity and fingerprint.
fn channel_bind() -> Vec<u8> {
    use meetpoint::wire::attribute::{Nonce, Realm, Username, XorPeerAddress};
    use meetpoint::wire::{ChannelNumber, Class, MessageBuilder, Method};
    let mut buffer = vec![0; 512];
    let len = MessageBuilder::new(&mut buffer, Method::CHANNEL_BIND, Class::Request, ID)
        .attribute(&ChannelNumber::MIN)
        .attribute(&XorPeerAddress(PEER.parse().unwrap()))
        .attribute(&Username::new(USER).unwrap())
        .attribute(&Realm::new(REALM).unwrap())
        .attribute(&Nonce::new(NONCE).unwrap())
        .integrity(&key())
        .fingerprint()
        .finish()
        .unwrap();
    buffer.truncate(len);
    buffer
}

/// A Send indication with `len` bytes of data.
fn send_indication(len: usize) -> Vec<u8> {
    use meetpoint::wire::attribute::{Data, XorPeerAddress};
    use meetpoint::wire::{Class, MessageBuilder, Method};
    let mut buffer = vec![0; len + 64];
    let len = MessageBuilder::new(&mut buffer, Method::SEND, Class::Indication, ID)
        .attribute(&XorPeerAddress(PEER.parse().unwrap()))
        .attribute(&Data(&vec![0xAB; len]))
        .finish()
        .unwrap();
    buffer.truncate(len);
    buffer
}

/// ChannelData with `len` bytes of data.
fn channel_data(len: usize) -> Vec<u8> {
    use meetpoint::wire::{ChannelData, ChannelNumber};
    let mut bytes = ChannelData::header(ChannelNumber::MIN, u16::try_from(len).unwrap()).to_vec();
    bytes.resize(4 + len, 0xAB);
    bytes
}

mod meetpoint_wire {
    use divan::{Bencher, black_box};
    use meetpoint::wire::attribute::{Data, Lifetime, Nonce, Realm, Username, XorMappedAddress, XorPeerAddress};
    use meetpoint::wire::{
        AttributeType, ChannelData, ChannelNumber, Class, IntegrityKey, Message, MessageBuilder, Method, Prefix,
    };

    use super::{ID, PASSWORD, PEER, REALM, USER};

    #[divan::bench]
    fn parse(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        bencher.bench_local(|| Message::parse(black_box(&bytes)).unwrap().method());
    }

    #[divan::bench]
    fn parse_and_read_five_attributes(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        bencher.bench_local(|| read(&Message::parse(black_box(&bytes)).unwrap()));
    }

    #[divan::bench]
    fn parse_and_authenticate(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        let key = super::key();
        bencher.bench_local(|| {
            let message = Message::parse(black_box(&bytes)).unwrap();
            read(&message);
            message.verify_integrity(&key)
        });
    }

    fn read(message: &Message<'_>) {
        black_box(message.find::<ChannelNumber>().unwrap().unwrap());
        black_box(message.find::<XorPeerAddress>().unwrap().unwrap());
        black_box(message.find::<Username<'_>>().unwrap().unwrap());
        black_box(message.find::<Realm<'_>>().unwrap().unwrap());
        black_box(message.find::<Nonce<'_>>().unwrap().unwrap());
    }

    #[divan::bench]
    fn prepare_key(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| IntegrityKey::long_term_md5(black_box(USER), REALM, PASSWORD));
    }

    #[divan::bench]
    fn verify_fingerprint(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        let message = Message::parse(&bytes).unwrap();
        bencher.bench_local(|| black_box(&message).verify_fingerprint());
    }

    #[divan::bench]
    fn write_success_with_integrity(bencher: Bencher<'_, '_>) {
        let key = super::key();
        let mut buffer = [0; 256];
        bencher.bench_local(|| {
            MessageBuilder::new(black_box(&mut buffer), Method::REFRESH, Class::Success, ID)
                .attribute(&Lifetime(600))
                .integrity(&key)
                .finish()
        });
    }

    #[divan::bench]
    fn write_binding_response(bencher: Bencher<'_, '_>) {
        let address = PEER.parse().unwrap();
        let mut buffer = [0; 256];
        bencher.bench_local(|| {
            MessageBuilder::new(black_box(&mut buffer), Method::BINDING, Class::Success, ID)
                .attribute(&XorMappedAddress(address))
                .fingerprint()
                .finish()
        });
    }

    #[divan::bench]
    fn parse_send_indication(bencher: Bencher<'_, '_>) {
        let bytes = super::send_indication(1200);
        bencher.bench_local(|| {
            let message = Message::parse(black_box(&bytes)).unwrap();
            black_box(message.find::<XorPeerAddress>().unwrap());
            message.value_range(AttributeType::DATA)
        });
    }

    #[divan::bench]
    fn write_data_indication(bencher: Bencher<'_, '_>) {
        let peer = PEER.parse().unwrap();
        let payload = [0xAB; 1200];
        let mut buffer = [0; 1500];
        bencher.bench_local(|| {
            MessageBuilder::new(black_box(&mut buffer), Method::DATA, Class::Indication, ID)
                .attribute(&XorPeerAddress(peer))
                .attribute(&Data(&payload))
                .finish()
        });
    }

    #[divan::bench]
    fn write_data_indication_prefix(bencher: Bencher<'_, '_>) {
        let peer = PEER.parse().unwrap();
        bencher.bench_local(|| Prefix::data_indication(ID, black_box(peer), black_box(1200)));
    }

    #[divan::bench]
    fn parse_channel_data(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_data(1200);
        bencher.bench_local(|| ChannelData::parse(black_box(&bytes)).unwrap().data.len());
    }
}

mod stun_types {
    use ::stun_types::attribute::{AttributeStaticType, Nonce, Realm, Username, XorMappedAddress};
    use ::stun_types::message::{
        BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials,
        MessageType, MessageWrite, MessageWriteExt, MessageWriteMutSlice, TransactionId,
    };
    use divan::{Bencher, black_box};
    use turn_types::attribute::{ChannelNumber, Data, Lifetime, XorPeerAddress};
    use turn_types::channel::ChannelData;
    use turn_types::message::REFRESH;

    use super::{PASSWORD, PEER, REALM, USER};

    fn id() -> TransactionId {
        TransactionId::from(7)
    }

    fn credentials() -> MessageIntegrityCredentials {
        LongTermKeyCredentials::new(USER.to_owned(), PASSWORD.to_owned(), REALM.to_owned()).into()
    }

    fn success(method: ::stun_types::message::Method) -> MessageType {
        MessageType::from_class_method(MessageClass::Success, method)
    }

    #[divan::bench]
    fn parse(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        bencher.bench_local(|| Message::from_bytes(black_box(&bytes)).unwrap().method());
    }

    #[divan::bench]
    fn parse_and_authenticate(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        let key = credentials().make_key(IntegrityAlgorithm::Sha1);
        bencher.bench_local(|| {
            let message = Message::from_bytes(black_box(&bytes)).unwrap();
            black_box(message.attribute::<ChannelNumber>().unwrap());
            black_box(message.attribute::<XorPeerAddress>().unwrap());
            for kind in [Username::TYPE, Realm::TYPE, Nonce::TYPE] {
                black_box(message.raw_attribute(kind).unwrap());
            }
            message.validate_integrity_with_key(&key).unwrap()
        });
    }

    #[divan::bench]
    fn write_success_with_integrity(bencher: Bencher<'_, '_>) {
        let key = credentials().make_key(IntegrityAlgorithm::Sha1);
        let mut buffer = [0; 256];
        bencher.bench_local(|| {
            let mut out = Message::builder(
                success(REFRESH),
                id(),
                MessageWriteMutSlice::new(black_box(&mut buffer)),
            );
            out.add_attribute(&Lifetime::new(600)).unwrap();
            out.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1)
                .unwrap();
            out.finish()
        });
    }

    #[divan::bench]
    fn write_binding_response(bencher: Bencher<'_, '_>) {
        let address = PEER.parse().unwrap();
        let mut buffer = [0; 256];
        bencher.bench_local(|| {
            let mut out = Message::builder(
                success(BINDING),
                id(),
                MessageWriteMutSlice::new(black_box(&mut buffer)),
            );
            out.add_attribute(&XorMappedAddress::new(address, id())).unwrap();
            out.add_fingerprint().unwrap();
            out.finish()
        });
    }

    #[divan::bench]
    fn parse_send_indication(bencher: Bencher<'_, '_>) {
        let bytes = super::send_indication(1200);
        bencher.bench_local(|| {
            let message = Message::from_bytes(black_box(&bytes)).unwrap();
            black_box(message.attribute::<XorPeerAddress>().unwrap());
            message.raw_attribute(Data::TYPE).unwrap().value.len()
        });
    }

    #[divan::bench]
    fn write_data_indication(bencher: Bencher<'_, '_>) {
        let peer = PEER.parse().unwrap();
        let payload = [0xAB; 1200];
        let mut buffer = [0; 1500];
        let message_type = MessageType::from_class_method(MessageClass::Indication, turn_types::message::DATA);
        bencher.bench_local(|| {
            let mut out = Message::builder(message_type, id(), MessageWriteMutSlice::new(black_box(&mut buffer)));
            out.add_attribute(&XorPeerAddress::new(peer, id())).unwrap();
            out.add_attribute(&Data::new(&payload)).unwrap();
            out.finish()
        });
    }

    #[divan::bench]
    fn parse_channel_data(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_data(1200);
        bencher.bench_local(|| ChannelData::parse(black_box(&bytes)).unwrap().data().len());
    }
}

#[cfg(feature = "server")]
mod webrtc_rs {
    use std::time::Duration;

    use divan::{Bencher, black_box};
    use stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
    use stun::message::{BINDING_SUCCESS, CLASS_INDICATION, CLASS_SUCCESS_RESPONSE, METHOD_DATA, METHOD_REFRESH};
    use stun::message::{Getter, Message, MessageType, Setter};
    use stun::textattrs::TextAttribute;
    use turn::proto;

    use super::{ID, PASSWORD, PEER, REALM, USER};

    fn key() -> stun::integrity::MessageIntegrity {
        stun::integrity::MessageIntegrity::new_long_term_integrity(
            USER.to_owned(),
            REALM.to_owned(),
            PASSWORD.to_owned(),
        )
    }

    fn write(setters: &[Box<dyn Setter>]) -> usize {
        let mut message = Message::new();
        message.build(setters).unwrap();
        message.raw.len()
    }

    #[divan::bench]
    fn parse(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        bencher.bench_local(|| {
            let mut message = Message::new();
            message.unmarshal_binary(black_box(&bytes)).unwrap();
            message.typ.method
        });
    }

    #[divan::bench]
    fn parse_and_authenticate(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_bind();
        let key = key();
        bencher.bench_local(|| {
            let mut message = Message::new();
            message.unmarshal_binary(black_box(&bytes)).unwrap();
            let mut number = proto::channum::ChannelNumber::default();
            number.get_from(&message).unwrap();
            let mut peer = proto::peeraddr::PeerAddress::default();
            peer.get_from(&message).unwrap();
            black_box((number, peer));
            for kind in [ATTR_USERNAME, ATTR_REALM, ATTR_NONCE] {
                black_box(TextAttribute::get_from_as(&message, kind).unwrap());
            }
            key.check(&mut message).unwrap();
        });
    }

    #[divan::bench]
    fn write_success_with_integrity(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| {
            write(&[
                Box::new(stun::agent::TransactionId(ID.0)),
                Box::new(MessageType::new(METHOD_REFRESH, CLASS_SUCCESS_RESPONSE)),
                Box::new(proto::lifetime::Lifetime(Duration::from_secs(600))),
                Box::new(key()),
            ])
        });
    }

    #[divan::bench]
    fn write_binding_response(bencher: Bencher<'_, '_>) {
        let address: std::net::SocketAddr = PEER.parse().unwrap();
        bencher.bench_local(|| {
            write(&[
                Box::new(stun::agent::TransactionId(ID.0)),
                Box::new(BINDING_SUCCESS),
                Box::new(stun::xoraddr::XorMappedAddress {
                    ip: address.ip(),
                    port: address.port(),
                }),
                Box::new(stun::fingerprint::FINGERPRINT),
            ])
        });
    }

    #[divan::bench]
    fn write_data_indication(bencher: Bencher<'_, '_>) {
        let peer: std::net::SocketAddr = PEER.parse().unwrap();
        bencher.bench_local(|| {
            write(&[
                Box::new(stun::agent::TransactionId(ID.0)),
                Box::new(MessageType::new(METHOD_DATA, CLASS_INDICATION)),
                Box::new(proto::peeraddr::PeerAddress {
                    ip: peer.ip(),
                    port: peer.port(),
                }),
                Box::new(proto::data::Data(vec![0xAB; 1200])),
            ])
        });
    }

    #[divan::bench]
    fn parse_channel_data(bencher: Bencher<'_, '_>) {
        let bytes = super::channel_data(1200);
        bencher.bench_local(|| {
            let mut message = proto::chandata::ChannelData {
                raw: black_box(&bytes).clone(),
                ..proto::chandata::ChannelData::default()
            };
            message.decode().unwrap();
            message.data.len()
        });
    }
}
