//! An ordered map whose copies share what they have in common: a copy costs nothing, and a change of either one only the way to
//! it. So a writer pays the same for readers whatever is in the store. The crates that have such maps (imbl, rpds) are under MPL-2.0,
//! which deny.toml has for exceptions alone.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

/// A treap: in the order of its keys from left to right, and in that of random numbers from the top down, which keeps it about as
/// deep as the logarithm of what is in it, whoever chooses the keys: contacts name some of them.
#[derive(Clone)]
pub(super) struct Tree<V>(Option<Arc<Node<V>>>);

#[derive(Clone)]
struct Node<V> {
    key: Arc<[u8]>,
    value: V,
    rank: u64,
    left: Tree<V>,
    right: Tree<V>,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V: Clone> Tree<V> {
    pub(super) fn get(&self, key: &[u8]) -> Option<&V> {
        let mut tree = self;
        while let Some(node) = &tree.0 {
            match key.cmp(&node.key) {
                Ordering::Less => tree = &node.left,
                Ordering::Equal => return Some(&node.value),
                Ordering::Greater => tree = &node.right,
            }
        }
        None
    }

    /// Gives what was there.
    pub(super) fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        let Some(node) = self.0.as_mut().map(Arc::make_mut) else {
            let (left, right) = Default::default();
            self.0 = Some(Arc::new(Node { key: key.into(), value, rank: random(), left, right }));
            return None;
        };
        match key.cmp(&node.key) {
            Ordering::Equal => Some(mem::replace(&mut node.value, value)),
            Ordering::Less => {
                let old = node.left.insert(key, value);
                if let Some(mut up) = node.left.0.take_if(|child| child.rank > node.rank) {
                    let child = Arc::make_mut(&mut up);
                    mem::swap(&mut node.left, &mut child.right);
                    child.right = mem::replace(self, Self(None));
                    self.0 = Some(up);
                }
                old
            }
            Ordering::Greater => {
                let old = node.right.insert(key, value);
                if let Some(mut up) = node.right.0.take_if(|child| child.rank > node.rank) {
                    let child = Arc::make_mut(&mut up);
                    mem::swap(&mut node.right, &mut child.left);
                    child.left = mem::replace(self, Self(None));
                    self.0 = Some(up);
                }
                old
            }
        }
    }

    /// Gives what was there.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<V> {
        // The way to nothing is not copied.
        self.get(key)?;
        self.take(key)
    }

    fn take(&mut self, key: &[u8]) -> Option<V> {
        let node = Arc::make_mut(self.0.as_mut()?);
        match key.cmp(&node.key) {
            Ordering::Less => node.left.take(key),
            Ordering::Greater => node.right.take(key),
            Ordering::Equal => {
                let (left, right, value) =
                    (mem::take(&mut node.left), mem::take(&mut node.right), node.value.clone());
                *self = left.before(right);
                Some(value)
            }
        }
    }

    /// Both as one, where all keys of this one come before those of the other.
    fn before(self, other: Self) -> Self {
        match (self.0, other.0) {
            (None, one) | (one, None) => Self(one),
            (Some(mut left), Some(right)) if left.rank > right.rank => {
                let node = Arc::make_mut(&mut left);
                node.right = mem::take(&mut node.right).before(Self(Some(right)));
                Self(Some(left))
            }
            (left, Some(mut right)) => {
                let node = Arc::make_mut(&mut right);
                node.left = Self(left).before(mem::take(&mut node.left));
                Self(Some(right))
            }
        }
    }

    /// In order, from there on.
    pub(super) fn entries<'t>(&'t self, start: Bound<&[u8]>) -> Iter<'t, V> {
        let (mut tree, mut waiting) = (self, Vec::new());
        while let Some(node) = &tree.0 {
            let before = match start {
                Bound::Included(start) => *node.key < *start,
                Bound::Excluded(start) => *node.key <= *start,
                Bound::Unbounded => false,
            };
            if before {
                tree = &node.right;
            } else {
                waiting.push(&**node);
                tree = &node.left;
            }
        }
        Iter { waiting }
    }
}

/// Nobody can foresee it: the standard library keys its hashes anew for this.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Entries in order.
pub(super) struct Iter<'t, V> {
    /// Those whose own entry and right side are to come, the next one last.
    waiting: Vec<&'t Node<V>>,
}

impl<'t, V> Iterator for Iter<'t, V> {
    type Item = (&'t [u8], &'t V);

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.waiting.pop()?;
        let mut tree = &next.right;
        while let Some(node) = &tree.0 {
            self.waiting.push(node);
            tree = &node.left;
        }
        Some((&next.key, &next.value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn all(tree: &Tree<u32>, start: Bound<&[u8]>) -> Vec<(Vec<u8>, u32)> {
        tree.entries(start).map(|(key, value)| (key.to_vec(), *value)).collect()
    }

    fn depth(tree: &Tree<u32>) -> usize {
        tree.0.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    #[test]
    fn it_is_what_a_map_is_and_a_copy_stays_what_it_was() {
        let (mut tree, mut map, mut copies) = (Tree::default(), BTreeMap::new(), Vec::new());
        let mut drawn = 1u64;
        for n in 0..20_000 {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = ((drawn >> 33) % 700).to_be_bytes();
            let key = &key[6 - n % 2..];
            if drawn >> 62 == 0 {
                assert_eq!(tree.remove(key), map.remove(key));
            } else {
                assert_eq!(tree.insert(key, n as u32), map.insert(key.to_vec(), n as u32));
            }
            assert_eq!(tree.get(key), map.get(key));
            if n % 1000 == 0 {
                copies.push((tree.clone(), map.clone()));
            }
        }
        copies.push((tree, map));
        for (tree, map) in &copies {
            let entries = |range: (Bound<&[u8]>, Bound<&[u8]>)| {
                map.range::<[u8], _>(range).map(|(key, value)| (key.clone(), *value)).collect::<Vec<_>>()
            };
            for key in [&[][..], &[0, 7], &[1, 0], &[0, 1, 99], &[9]] {
                for start in [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded] {
                    assert_eq!(all(tree, start), entries((start, Bound::Unbounded)));
                }
            }
        }
    }

    #[test]
    fn keys_in_order_make_it_no_deeper() {
        let mut tree = Tree::default();
        (0..10_000u32).for_each(|n| assert_eq!(tree.insert(&n.to_be_bytes(), n), None));
        assert!(depth(&tree) < 60, "{}", depth(&tree));
    }
}
