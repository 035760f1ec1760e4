//! Stateless resets that outlive the process: who was connected to a server that was killed learns it from the next packet
//! to the one that runs now, instead of after a silence.
//!
//! Each listener of a server has tokens of its own: otherwise whoever sees the id of a connection to the one could ask the
//! other for the token that ends it (RFC 9000, section 21.11).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use meow_core::crypto::{KeyLabel, Secret, SigningKey, derive};
use quinn::EndpointConfig;
use quinn_proto::RandomConnectionIdGenerator;
use quinn_proto::crypto::{CryptoError, HmacKey};

/// Bytes of a connection id.
const ID: usize = 8;
/// Bytes of a token before it is cut to the 16 of QUIC.
const TOKEN: usize = 32;

/// Makes tokens from the Skp's secret and the place: the same ones after a restart there. A token belongs to one connection
/// id, and nobody else can compute one.
struct Key {
    skp: Secret,
    /// The address in 16 bytes and the port.
    place: [u8; 18],
}

impl Key {
    fn new(skp: &SigningKey, at: SocketAddr) -> Self {
        let ip = match at.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut place = [0; 18];
        let (address, port) = place.split_at_mut(16);
        address.copy_from_slice(&ip.octets());
        port.copy_from_slice(&at.port().to_be_bytes());
        Self { skp: Secret::new(*skp.seed()), place }
    }

    fn token(&self, id: &[u8]) -> [u8; TOKEN] {
        derive(KeyLabel::UdpReset, &[], self.skp.expose(), &[&self.place, id])
    }
}

impl HmacKey for Key {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.token(data));
    }

    fn signature_len(&self) -> usize {
        TOKEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let given = signature.try_into().map_err(|_| CryptoError)?;
        // In constant time.
        (Secret::new(self.token(data)) == Secret::new(given)).then_some(()).ok_or(CryptoError)
    }
}

/// How a listener with this Skp at this place names its connections and takes leave of those that it does not know.
pub(crate) fn endpoint(skp: &SigningKey, at: SocketAddr) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(Key::new(skp, at)));
    // Ids without a mark of this process: packets of connections from before it get an answer too.
    config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(ID)));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a45_tokens_belong_to_one_server_one_place_and_one_connection() {
        let token = |seed: u8, at: &str, id: &[u8]| {
            Key::new(&SigningKey::from_seed(&[seed; 32]), at.parse().unwrap()).token(id)
        };
        let one = token(1, "127.0.0.1:41325", &[7; ID]);
        assert_eq!(one, token(1, "127.0.0.1:41325", &[7; ID]), "the same after a restart");
        for other in [
            token(2, "127.0.0.1:41325", &[7; ID]),
            token(1, "127.0.0.1:41326", &[7; ID]),
            token(1, "127.0.0.2:41325", &[7; ID]),
            token(1, "[::1]:41325", &[7; ID]),
            token(1, "127.0.0.1:41325", &[8; ID]),
        ] {
            assert_ne!(one, other);
        }
        let key = Key::new(&SigningKey::from_seed(&[1; 32]), "127.0.0.1:41325".parse().unwrap());
        assert!(key.verify(&[7; ID], &one).is_ok() && key.verify(&[8; ID], &one).is_err());
        assert!(key.verify(&[7; ID], &one[..16]).is_err());
    }
}
