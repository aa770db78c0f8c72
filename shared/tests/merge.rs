//! The laws of merging, over random registers, and SQLite's agreement with them: it keeps registers at both edges.

use playhead_shared::register::{Register, merge};
use proptest::prelude::*;
use rusqlite::Connection;

/// Registers that often share a stamp, or a prefix, so that ties are the rule.
fn register() -> impl Strategy<Value = Register> {
    let stamp =
        prop_oneof![Just(0u64), Just(1), Just(u64::from(u32::MAX)), 1_700_000_000_000_000u64..=1_700_000_000_000_003];
    let value = prop::collection::vec(prop_oneof![Just(0u8), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()], 1..6);
    (stamp, value).prop_map(|(stamp, value)| {
        let bytes = [&stamp.to_be_bytes()[..], &value].concat();
        Register::from_bytes(bytes).expect("longer than a stamp")
    })
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(a in register(), b in register(), c in register()) {
        prop_assert_eq!(merge(a.clone(), b.clone()), merge(b.clone(), a.clone()));
        let left = merge(merge(a.clone(), b.clone()), c.clone());
        prop_assert_eq!(left, merge(a.clone(), merge(b, c)));
        prop_assert_eq!(merge(a.clone(), a.clone()), a);
    }

    #[test]
    fn the_newer_stamp_wins_whatever_the_values(a in register(), b in register()) {
        if a.stamp() > b.stamp() {
            prop_assert_eq!(merge(a.clone(), b), a);
        }
    }

    #[test]
    fn sqlite_orders_registers_as_rust_does(registers in prop::collection::vec(register(), 2..12)) {
        let sqlite = Connection::open_in_memory().unwrap();
        sqlite.execute("CREATE TABLE held (register BLOB)", ()).unwrap();
        for register in &registers {
            sqlite.execute("INSERT INTO held VALUES (?1)", [register.as_bytes()]).unwrap();
        }
        let mut statement = sqlite.prepare("SELECT register FROM held ORDER BY register").unwrap();
        let theirs: Vec<Vec<u8>> = statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut ours: Vec<Vec<u8>> = registers.iter().map(|r| r.as_bytes().to_vec()).collect();
        ours.sort();
        prop_assert_eq!(&theirs, &ours);
        // The scalar `max` is what an upsert merges with.
        for pair in registers.windows(2) {
            let args = (pair[0].as_bytes(), pair[1].as_bytes());
            let max: Vec<u8> = sqlite.query_row("SELECT max(?1, ?2)", args, |row| row.get(0)).unwrap();
            prop_assert_eq!(max, merge(pair[0].clone(), pair[1].clone()).into_bytes());
        }
    }
}
