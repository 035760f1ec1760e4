//! Random schedules against a model: a message is accepted exactly once, as it was sent, however the
//! network drops, duplicates and reorders.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Send {
        from_a: bool,
        turn: bool,
    },
    /// Delivers one of the messages under way (by index, wrapped); it stays, so that it can come again.
    Deliver {
        to_a: bool,
        which: usize,
    },
    /// Stores and restores one side.
    Restart {
        a: bool,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(from_a, turn)| Act::Send { from_a, turn }),
        5 => (any::<bool>(), any::<usize>()).prop_map(|(to_a, which)| Act::Deliver { to_a, which }),
        1 => any::<bool>().prop_map(|a| Act::Restart { a }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn random_schedules(seed in any::<u64>(), acts in prop::collection::vec(act(), 1..160)) {
        let mut pair = Pair::new(seed);
        // Per direction: the messages sent, and whether each was accepted.
        let mut to_a: Vec<(Vec<u8>, bool)> = Vec::new();
        let mut to_b: Vec<(Vec<u8>, bool)> = Vec::new();
        for act in acts {
            match act {
                Act::Send { from_a: true, turn } => {
                    let text = to_b.len().to_be_bytes();
                    to_b.push((pair.a.encrypt(&mut pair.random, turn, &TO_B, &text).unwrap(), false));
                }
                Act::Send { from_a: false, turn } => {
                    let text = to_a.len().to_be_bytes();
                    match pair.b.encrypt(&mut pair.random, turn, &TO_A, &text) {
                        Ok(m) => to_a.push((m, false)),
                        Err(e) => {
                            prop_assert_eq!(e, RatchetError::NotStarted);
                            prop_assert!(to_b.iter().all(|(_, accepted)| !accepted));
                        }
                    }
                }
                Act::Deliver { to_a: true, which } if !to_a.is_empty() => {
                    deliver(&mut pair.a, &TO_A, &mut to_a, which)?;
                }
                Act::Deliver { to_a: false, which } if !to_b.is_empty() => {
                    deliver(&mut pair.b, &TO_B, &mut to_b, which)?;
                }
                Act::Deliver { .. } => {}
                Act::Restart { a: true } => pair.a = postcard::from_bytes(&bytes(&pair.a)).unwrap(),
                Act::Restart { a: false } => pair.b = postcard::from_bytes(&bytes(&pair.b)).unwrap(),
            }
        }
        // Whatever is left arrives in the end, in order.
        for which in 0..to_b.len() {
            deliver(&mut pair.b, &TO_B, &mut to_b, which)?;
        }
        for which in 0..to_a.len() {
            deliver(&mut pair.a, &TO_A, &mut to_a, which)?;
        }
        prop_assert_eq!(pair.a.skipped() + pair.b.skipped(), 0);
    }
}

fn deliver(
    to: &mut Ratchet,
    ad: &[u8; 32],
    messages: &mut [(Vec<u8>, bool)],
    which: usize,
) -> Result<(), TestCaseError> {
    let at = which % messages.len();
    let (message, accepted) = &mut messages[at];
    let got = take(to, ad, message);
    if *accepted {
        prop_assert!(got.is_err());
    } else {
        prop_assert_eq!(got.unwrap(), at.to_be_bytes());
        *accepted = true;
    }
    Ok(())
}
