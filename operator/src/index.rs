//! What is watched, found by stream: the only memory that the operator has of the cluster. Filled
//! by watches, so that a reconcile asks the API server for nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use kube::runtime::watcher::Event;

use crate::views::{Key, View};

/// The objects of one kind, by stream and name.
pub struct Index<V> {
    inner: RwLock<Inner<V>>,
}

type ByStream<V> = HashMap<Key, BTreeMap<String, Arc<V>>>;

struct Inner<V> {
    objects: ByStream<V>,
    /// What a list that is under way has found, by the watch that lists.
    listing: HashMap<usize, ByStream<V>>,
    /// Which watch each namespace's objects come from is not kept: a watch is of one namespace or
    /// of all.
    listed: BTreeSet<usize>,
}

impl<V> Default for Index<V> {
    fn default() -> Self {
        Index {
            inner: RwLock::new(Inner {
                objects: HashMap::new(),
                listing: HashMap::new(),
                listed: BTreeSet::new(),
            }),
        }
    }
}

impl<V: View> Index<V> {
    /// Takes what a watch says and gives the streams that it concerns. `watch` numbers the watch
    /// and `namespace` is what it is of; none: all.
    pub fn take(&self, watch: usize, namespace: Option<&str>, event: Event<V::Raw>) -> Vec<Key> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(raw) => match V::of(raw) {
                Some((key, name, view)) => {
                    insert(&mut inner.objects, key.clone(), name, view);
                    vec![key]
                }
                None => Vec::new(),
            },
            Event::Delete(raw) => match V::of(raw) {
                Some((key, name, view)) => {
                    match view.gone() {
                        Some(view) => insert(&mut inner.objects, key.clone(), name, view),
                        None => remove(&mut inner.objects, &key, &name),
                    }
                    vec![key]
                }
                None => Vec::new(),
            },
            Event::Init => {
                inner.listing.insert(watch, HashMap::new());
                Vec::new()
            }
            Event::InitApply(raw) => {
                if let Some((key, name, view)) = V::of(raw) {
                    insert(inner.listing.entry(watch).or_default(), key, name, view);
                }
                Vec::new()
            }
            Event::InitDone => {
                let found = inner.listing.remove(&watch).unwrap_or_default();
                let ours = |key: &Key| namespace.is_none_or(|namespace| key.namespace == namespace);
                let mut touched: BTreeSet<Key> = found.keys().cloned().collect();
                touched.extend(inner.objects.keys().filter(|key| ours(key)).cloned());
                inner.objects.retain(|key, _| !ours(key));
                inner.objects.extend(found);
                inner.listed.insert(watch);
                touched.into_iter().collect()
            }
        }
    }

    /// Whether this many watches have listed all their objects.
    pub fn complete(&self, watches: usize) -> bool {
        self.read(|inner| inner.listed.len() >= watches)
    }

    /// The objects of a stream, by name.
    pub fn of(&self, key: &Key) -> Vec<Arc<V>> {
        self.read(|inner| {
            let objects = inner.objects.get(key);
            objects.map_or_else(Vec::new, |objects| objects.values().cloned().collect())
        })
    }

    /// The one object of that name.
    pub fn get(&self, key: &Key, name: &str) -> Option<Arc<V>> {
        self.read(|inner| inner.objects.get(key)?.get(name).cloned())
    }

    /// Forgets the objects of a stream that are not wanted any more.
    pub fn forget(&self, key: &Key, forget: impl Fn(&V) -> bool) {
        if !self.of(key).iter().any(|object| forget(object)) {
            return;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(objects) = inner.objects.get_mut(key) {
            objects.retain(|_, object| !forget(object));
            if objects.is_empty() {
                inner.objects.remove(key);
            }
        }
    }

    /// Calls `look` with every object.
    pub fn each(&self, mut look: impl FnMut(&Key, &V)) {
        self.read(|inner| {
            for (key, objects) in &inner.objects {
                objects.values().for_each(|object| look(key, object));
            }
        });
    }

    fn read<T>(&self, look: impl FnOnce(&Inner<V>) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn insert<V>(objects: &mut ByStream<V>, key: Key, name: String, view: V) {
    objects.entry(key).or_default().insert(name, Arc::new(view));
}

fn remove<V>(objects: &mut ByStream<V>, key: &Key, name: &str) {
    if let Some(of_stream) = objects.get_mut(key) {
        of_stream.remove(name);
        if of_stream.is_empty() {
            objects.remove(key);
        }
    }
}
