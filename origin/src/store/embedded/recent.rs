//! What was written of late, so that the writer need not search the disk for what it wrote a moment ago: a session
//! beats every half a minute, and each beat is compared with the one before.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A bounded map that forgets what was not used for one to two generations.
pub(super) struct Recent<K, V> {
    generation: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// Two generations of so many entries are kept.
    pub(super) fn new(generation: usize) -> Self {
        Self { generation, young: HashMap::new(), old: HashMap::new() }
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found_until_two_generations_have_passed() {
        const GENERATION: usize = 100;
        let mut recent = Recent::new(GENERATION);
        for n in 0..3 * GENERATION {
            recent.put(n, n);
            assert_eq!(recent.get(&n), Some(&n));
        }
        assert_eq!(recent.get(&(GENERATION - 1)), None);
        assert!(recent.young.len() + recent.old.len() <= 2 * GENERATION);
        let last = 3 * GENERATION - 1;
        recent.put(last, 0);
        assert_eq!(recent.get(&last), Some(&0), "the newest of a key");
        recent.remove(&last);
        assert_eq!(recent.get(&last), None);
    }
}
