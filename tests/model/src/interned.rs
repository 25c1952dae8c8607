//! Contents as small numbers. A state of a model holds numbers alone, so that millions of them fit, and what follows from one
//! content is worked out once however many states share it.
//!
//! Contents are told apart by what `Debug` shows of them: the product's own types have neither hashes nor an order, and show everything.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard},
};

/// Of one kind of content.
#[derive(Debug)]
pub struct Table<T>(Mutex<Known<T>>);

#[derive(Debug)]
struct Known<T> {
    numbers: HashMap<String, u32>,
    contents: Vec<Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { numbers: HashMap::new(), contents: Vec::new() }))
    }
}

impl<T: Debug> Table<T> {
    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        self.0.lock().expect("nothing panics while it holds a table")
    }

    pub fn number(&self, content: T) -> u32 {
        let text = format!("{content:?}");
        let mut known = self.lock();
        if let Some(number) = known.numbers.get(&text) {
            return *number;
        }
        let number = u32::try_from(known.contents.len()).expect("fewer contents than numbers");
        known.contents.push(Arc::new(content));
        known.numbers.insert(text, number);
        number
    }

    pub fn get(&self, number: u32) -> Arc<T> {
        Arc::clone(&self.lock().contents[number as usize])
    }
}

/// What follows from what, worked out once.
#[derive(Debug)]
pub struct Memo<K, V>(Mutex<BTreeMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord + Clone, V: Clone> Memo<K, V> {
    pub fn of(&self, key: &K, work: impl FnOnce() -> V) -> V {
        if let Some(known) = self.lock().get(key) {
            return known.clone();
        }
        let value = work();
        self.lock().insert(key.clone(), value.clone());
        value
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, V>> {
        self.0.lock().expect("nothing panics while it holds a memo")
    }
}
