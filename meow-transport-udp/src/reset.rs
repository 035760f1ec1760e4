//! Stateless resets that outlive the process: who was connected to a server that was killed learns it from the next packet
//! to the one that runs now, instead of after a silence.

use std::sync::Arc;

use meow_core::crypto::{KeyLabel, Secret, SigningKey, derive};
use quinn::EndpointConfig;
use quinn_proto::RandomConnectionIdGenerator;
use quinn_proto::crypto::{CryptoError, HmacKey};

/// Bytes of a connection id.
const ID: usize = 8;
/// Bytes of a token before it is cut to the 16 of QUIC.
const TOKEN: usize = 32;

/// Makes tokens from the Skp's secret: the same ones after a restart. A token belongs to one connection id, and nobody else
/// can compute one.
struct Key(Secret);

impl Key {
    fn token(&self, id: &[u8]) -> [u8; TOKEN] {
        derive(KeyLabel::UdpReset, &[], self.0.expose(), &[id])
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

/// How a listener with this Skp names its connections and takes leave of those that it does not know.
pub(crate) fn endpoint(skp: &SigningKey) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(Key(Secret::new(*skp.seed()))));
    // Ids without a mark of this process: packets of connections from before it get an answer too.
    config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(ID)));
    config
}
