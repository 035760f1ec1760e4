//! What lies at a server: an item behind one more permutation of the whole of it, another one at each server. So two
//! servers that hold copies of one item hold nothing that they could recognise (spec, chapter "Lanes and cards", section
//! "Wrapping").

use crate::crypto::{CryptoError, KeyLabel, Secret, VerifyKey, WideKey, derive_key};

/// The permutation of items of one length in one mailbox.
fn key(wrap: &Secret, server: &[u8; 32], mailbox: &VerifyKey, len: usize) -> Result<WideKey, CryptoError> {
    let len = u32::try_from(len).map_err(|_| CryptoError::Length)?.to_be_bytes();
    let context: [&[u8]; 3] = [server, mailbox.as_bytes(), &len];
    Ok(WideKey::expand(&derive_key(KeyLabel::Wrapping, &[], wrap.expose(), &context)))
}

/// An item as it is deposited in this mailbox.
///
/// # Errors
/// [`CryptoError::Length`] for what is shorter than any item.
pub fn wrap_item(
    wrap: &Secret,
    server: &[u8; 32],
    mailbox: &VerifyKey,
    item: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut block = item.to_vec();
    key(wrap, server, mailbox, block.len())?.encrypt(&mut block)?;
    Ok(block)
}

/// Undoes [`wrap_item`]. What was not wrapped like that becomes noise, which no key opens.
///
/// # Errors
/// As [`wrap_item`].
pub fn unwrap_item(
    wrap: &Secret,
    server: &[u8; 32],
    mailbox: &VerifyKey,
    item: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut block = item.to_vec();
    key(wrap, server, mailbox, block.len())?.decrypt(&mut block)?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    #[test]
    fn each_server_mailbox_and_length_has_its_own_permutation() {
        let (wrap, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let mailbox = |n| SigningKey::from_seed(&[n; 32]).public();
        let item = vec![7; 352];
        let all = [
            wrap_item(&wrap, &[1; 32], &mailbox(1), &item).unwrap(),
            wrap_item(&wrap, &[2; 32], &mailbox(1), &item).unwrap(),
            wrap_item(&wrap, &[1; 32], &mailbox(2), &item).unwrap(),
            wrap_item(&other, &[1; 32], &mailbox(1), &item).unwrap(),
        ];
        for (n, one) in all.iter().enumerate() {
            assert_eq!(one.len(), item.len());
            for other in all.iter().skip(n + 1).chain([&item]) {
                let same = one.iter().zip(other).filter(|(a, b)| a == b).count();
                assert!(same < 30, "{same} bytes of {} are the same", item.len());
            }
        }
        let shorter = wrap_item(&wrap, &[1; 32], &mailbox(1), &item[..351]).unwrap();
        assert_ne!(shorter[..32], all[0][..32]);
        assert_eq!(unwrap_item(&wrap, &[1; 32], &mailbox(1), &all[0]).unwrap(), item);
        assert_eq!(wrap_item(&wrap, &[1; 32], &mailbox(1), &item).unwrap(), all[0], "the same each time");
        assert_eq!(wrap_item(&wrap, &[1; 32], &mailbox(1), &[0; 32]), Err(CryptoError::Length));
        assert_eq!(unwrap_item(&wrap, &[1; 32], &mailbox(1), &[]), Err(CryptoError::Length));
    }
}
