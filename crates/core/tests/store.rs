//! Shared dictionaries beside a model of them: what is there, for how long, and who has to go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use proptest::prelude::*;
use qanat_core::clock::{self, Instant};
use qanat_core::store::{Key, MIN_SIZE, Mode, Number, Store, StoreError, Value};

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn get(store: &Store, key: &str, now: Instant) -> Option<Value> {
    store.read(Key::Text(key), now, |value, _| value.clone())
}

fn set(store: &Store, key: &str, value: Value, ttl: Option<Duration>, now: Instant) {
    assert_eq!(store.put(Key::Text(key), value, ttl, Mode::Set, now), Ok(true));
}

fn names(store: &Store, now: Instant) -> Vec<String> {
    let keys = store.keys(usize::MAX, now);
    keys.iter().map(|key| String::from_utf8_lossy(&key.bytes).into_owned()).collect()
}

#[test]
fn text_and_bytes_are_different_keys() {
    let now = clock::now();
    let store = Store::new(MIN_SIZE, now);
    set(&store, "k", Value::Int(1), None, now);
    assert!(!store.contains(Key::Bytes(b"k"), now));
    assert_eq!(store.put(Key::Bytes(b"k"), Value::Int(2), None, Mode::Add, now), Ok(true));
    assert_eq!((store.len(now), get(&store, "k", now)), (2, Some(Value::Int(1))));
}

#[test]
fn the_entry_that_was_not_used_for_longest_is_evicted() {
    let now = clock::now();
    let store = Store::new(MIN_SIZE, now);
    let large = || text(&"x".repeat(1000));
    for key in ["a", "b", "c"] {
        set(&store, key, large(), None, now);
    }
    assert!(get(&store, "a", now).is_some());
    set(&store, "d", large(), None, now);
    assert_eq!(names(&store, now), ["d", "a", "c"]);
    assert_eq!(store.evictions(), 1);
    assert_eq!(store.used(), 3 * Store::cost(Key::Text("a"), &large()));
    store.resize(MIN_SIZE * 2, now);
    set(&store, "e", large(), None, now);
    store.resize(MIN_SIZE, now);
    assert_eq!((names(&store, now), store.evictions()), (vec!["e".into(), "d".into(), "a".into()], 2));
}

#[test]
fn what_is_over_goes_before_what_is_not_used() {
    let now = clock::now();
    let store = Store::new(MIN_SIZE, now);
    let large = || text(&"x".repeat(1000));
    set(&store, "old", large(), None, now);
    set(&store, "short", large(), Some(Duration::from_secs(1)), now);
    set(&store, "new", large(), None, now);
    let later = now + Duration::from_secs(1);
    assert_eq!((store.len(later), get(&store, "short", now).is_some()), (2, true));
    set(&store, "next", large(), None, later);
    assert_eq!(
        (names(&store, later), store.evictions()),
        (vec!["next".into(), "new".into(), "old".into()], 0)
    );
}

#[test]
fn a_value_that_fits_nowhere_changes_nothing() {
    let now = clock::now();
    let store = Store::new(MIN_SIZE, now);
    set(&store, "k", Value::Int(1), None, now);
    let refused = store.put(Key::Text("k"), text(&"x".repeat(MIN_SIZE)), None, Mode::Set, now);
    assert!(matches!(refused, Err(StoreError::TooLarge { capacity: MIN_SIZE, .. })));
    assert_eq!((get(&store, "k", now), store.evictions()), (Some(Value::Int(1)), 0));
}

#[test]
fn keys_have_a_length() {
    let now = clock::now();
    let store = Store::new(1 << 20, now);
    for (length, expected) in
        [(0, Err(StoreError::Key(0))), (65_535, Ok(true)), (65_536, Err(StoreError::Key(65_536)))]
    {
        let key = vec![7; length];
        assert_eq!(store.put(Key::Bytes(&key), Value::Bool(true), None, Mode::Set, now), expected);
    }
}

#[test]
fn numbers_are_added_up() {
    let now = clock::now();
    let store = Store::new(MIN_SIZE, now);
    let (key, one) = (Key::Text("n"), Number::Int(1));
    assert_eq!(store.incr(key, one, None, now), Err(StoreError::NotFound));
    let initial = Some((Number::Int(10), Some(Duration::from_secs(5))));
    assert_eq!(store.incr(key, one, initial, now), Ok(Number::Int(11)));
    let later = now + Duration::from_secs(3);
    assert_eq!(store.incr(key, Number::Float(0.5), initial, later), Ok(Number::Float(11.5)));
    assert_eq!(store.ttl(key, later), Some(Some(Duration::from_secs(2))));
    set(&store, "n", Value::Int(i64::MAX), None, later);
    assert_eq!(store.incr(key, one, None, later), Err(StoreError::Overflow));
    set(&store, "n", Value::Bool(true), None, later);
    assert_eq!(store.incr(key, one, None, later), Err(StoreError::NotANumber));
}

#[test]
fn only_what_was_seen_is_replaced_by_version() {
    let now = clock::now();
    let store = Store::new(MIN_SIZE, now);
    let key = Key::Text("k");
    let compare = |version| store.put(key, Value::Int(9), None, Mode::Version(version), now);
    assert_eq!(compare(1), Err(StoreError::NotFound));
    set(&store, "k", Value::Int(1), None, now);
    let version = store.read(key, now, |_, version| version).unwrap();
    set(&store, "k", Value::Int(1), None, now);
    assert_eq!(compare(version), Ok(false));
    let version = store.read(key, now, |_, version| version).unwrap();
    assert_eq!(compare(version), Ok(true));
    assert_eq!(compare(version), Ok(false));
}

#[test]
fn a_name_leads_to_one_store() {
    let now = clock::now();
    let store = Store::open("test_a_name", Some(MIN_SIZE));
    set(&store, "k", Value::Int(1), None, now);
    let again = Store::open("test_a_name", None);
    assert_eq!((get(&again, "k", now), again.capacity()), (Some(Value::Int(1)), MIN_SIZE));
    assert_eq!(Store::open("test_a_name", Some(8192)).capacity(), 8192);
    store.clear();
    assert_eq!((again.len(now), again.used()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize, Option<u64>, u8),
    Get(u8),
    Incr(u8, Option<u64>),
    Take(u8),
    Expire(u8, Option<u64>),
    Pass(u64),
    Flush(usize),
    Resize(usize),
    Clear,
}

fn any_step() -> impl Strategy<Value = Step> {
    let ttl = || prop::option::of(1_u64..50);
    prop_oneof![
        6 => (0_u8..12, 0_usize..1500, ttl(), 0_u8..3).prop_map(|(k, n, t, m)| Step::Put(k, n, t, m)),
        4 => (0_u8..12).prop_map(Step::Get),
        2 => (0_u8..12, ttl()).prop_map(|(k, t)| Step::Incr(k, t)),
        1 => (0_u8..12).prop_map(Step::Take),
        1 => (0_u8..12, ttl()).prop_map(|(k, t)| Step::Expire(k, t)),
        2 => (1_u64..30).prop_map(Step::Pass),
        1 => (0_usize..4).prop_map(Step::Flush),
        1 => (MIN_SIZE..MIN_SIZE * 2).prop_map(Step::Resize),
        1 => Just(Step::Clear),
    ]
}

/// Entries in the order of their use, the last one first, without those that are over.
#[derive(Default)]
struct Model {
    entries: Vec<(String, Value, Option<u64>)>,
    capacity: usize,
    evictions: u64,
    now: u64,
}

impl Model {
    fn place(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|(known, ..)| known == key)
    }

    fn put(&mut self, key: &str, value: Value, ttl: Option<u64>) {
        if let Some(place) = self.place(key) {
            self.entries.remove(place);
        }
        self.entries.insert(0, (key.to_owned(), value, ttl.map(|ttl| self.now + ttl)));
        self.evict();
    }

    fn evict(&mut self) {
        let cost = |(key, value, _): &(String, Value, _)| Store::cost(Key::Text(key), value);
        while self.entries.iter().map(cost).sum::<usize>() > self.capacity {
            self.entries.pop();
            self.evictions += 1;
        }
    }

    /// Does a step in both; true if the answers are the same.
    fn step(&mut self, store: &Store, step: &Step, now: Instant) -> bool {
        let millis = |ttl: Option<u64>| ttl.map(Duration::from_millis);
        match step {
            Step::Put(key, size, ttl, mode) => {
                let (key, value) = (format!("k{key}"), text(&"x".repeat(*size)));
                let mode = [Mode::Set, Mode::Add, Mode::Replace][usize::from(*mode)];
                let is_there = self.place(&key).is_some();
                let allowed = mode == Mode::Set || is_there == (mode == Mode::Replace);
                if allowed {
                    self.put(&key, value.clone(), *ttl);
                }
                store.put(Key::Text(&key), value, millis(*ttl), mode, now) == Ok(allowed)
            }
            Step::Get(key) => {
                let key = format!("k{key}");
                let found = self.place(&key).map(|place| self.entries.remove(place));
                if let Some(entry) = &found {
                    self.entries.insert(0, entry.clone());
                }
                get(store, &key, now) == found.map(|(_, value, _)| value)
            }
            Step::Incr(key, ttl) => self.incr(store, &format!("n{key}"), *ttl, now),
            Step::Take(key) => {
                let key = format!("k{key}");
                let found = self.place(&key).map(|place| self.entries.remove(place).1);
                store.take(Key::Text(&key), now) == found
            }
            Step::Expire(key, ttl) => {
                let key = format!("k{key}");
                let place = self.place(&key);
                if let Some(place) = place {
                    self.entries[place].2 = ttl.map(|ttl| self.now + ttl);
                }
                store.expire(Key::Text(&key), millis(*ttl), now) == place.is_some()
            }
            Step::Pass(_) => true,
            Step::Flush(most) => store.flush_expired(*most, now) <= *most,
            Step::Resize(size) => {
                self.capacity = *size;
                self.evict();
                store.resize(*size, now);
                true
            }
            Step::Clear => {
                self.entries.clear();
                store.clear();
                true
            }
        }
    }

    fn incr(&mut self, store: &Store, key: &str, ttl: Option<u64>, now: Instant) -> bool {
        let (before, expires) = match self.place(key) {
            Some(place) => (self.entries[place].1.clone(), self.entries[place].2),
            None => (Value::Int(0), ttl.map(|ttl| self.now + ttl)),
        };
        let Value::Int(before) = before else { return false };
        self.put(key, Value::Int(before + 1), None);
        self.entries[0].2 = expires;
        let initial = Some((Number::Int(0), ttl.map(Duration::from_millis)));
        store.incr(Key::Text(key), Number::Int(1), initial, now) == Ok(Number::Int(before + 1))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_store_does_what_a_simple_model_does(steps in prop::collection::vec(any_step(), 1..120)) {
        let born = clock::now();
        let store = Store::new(MIN_SIZE, born);
        let mut model = Model { capacity: MIN_SIZE, ..Model::default() };
        for step in &steps {
            if let Step::Pass(millis) = step {
                model.now += millis;
            }
            let moment = model.now;
            model.entries.retain(|(.., expires)| expires.is_none_or(|expires| expires > moment));
            let now = born + Duration::from_millis(model.now);
            prop_assert!(model.step(&store, step, now), "{step:?}");
            let expected: Vec<_> = model.entries.iter().map(|(key, ..)| key.clone()).collect();
            prop_assert_eq!(names(&store, now), expected, "after {:?}", step);
            prop_assert_eq!(store.len(now), model.entries.len());
            prop_assert_eq!(store.evictions(), model.evictions);
            prop_assert!(store.used() <= store.capacity());
        }
    }
}
