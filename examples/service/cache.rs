//! A bounded cache of documents: the one least recently used goes first.
//!
//! ```text
//!   entries  key ──▶ (document, stamp)        order  stamp ──▶ key, oldest first
//! ```
//!
//! # Invariants
//! - `entries` and `order` hold the same keys, with the same stamps.
//! - There are at most `capacity` of them between calls.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::document::Document;

pub(crate) struct Cache {
    capacity: usize,
    clock: u64,
    entries: HashMap<String, Entry>,
    order: BTreeMap<u64, String>,
}

struct Entry {
    document: Arc<Document>,
    stamp: u64,
}

/// What a `put` pushed out, to be dropped once the cache is unlocked.
pub(crate) struct Displaced {
    pub(crate) replaced: Option<Arc<Document>>,
    pub(crate) evicted: Option<Arc<Document>>,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, entries: HashMap::new(), order: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&mut self, key: &str) -> Option<Arc<Document>> {
        let entry = self.entries.get_mut(key)?;
        let key = self.order.remove(&entry.stamp)?;
        self.clock += 1;
        entry.stamp = self.clock;
        self.order.insert(self.clock, key);
        Some(Arc::clone(&entry.document))
    }

    pub(crate) fn put(&mut self, key: String, document: Arc<Document>) -> Displaced {
        let replaced = self.remove(&key);
        let evicted = if self.len() == self.capacity { self.evict() } else { None };
        self.clock += 1;
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key, Entry { document, stamp: self.clock });
        Displaced { replaced, evicted }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Arc<Document>> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.stamp);
        Some(entry.document)
    }

    fn evict(&mut self) -> Option<Arc<Document>> {
        let (_, key) = self.order.pop_first()?;
        self.entries.remove(&key).map(|entry| entry.document)
    }
}
