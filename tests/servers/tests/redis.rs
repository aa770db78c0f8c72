//! The servers themselves, which other tests take on trust.

use playhead_servers::{Redis, RedisCluster};

#[test]
fn a_redis_keeps_what_its_options_say() {
    for (options, kept) in [(&[][..], false), (&["--appendonly", "yes", "--requirepass", "secret"], true)] {
        let mut redis = Redis::start(options).unwrap();
        assert_eq!(redis.ask(&["SET", "a", "1"]).unwrap(), "OK");
        assert_eq!(redis.ask(&["GET", "a"]).unwrap(), "1");
        redis.terminate().unwrap();
        assert!(redis.ask(&["PING"]).is_err());
        redis.restart().unwrap();
        assert_eq!(redis.ask(&["EXISTS", "a"]).unwrap(), u8::from(kept).to_string(), "{options:?}");
    }
}

#[test]
fn a_redis_cluster_serves_all_slots() {
    let mut cluster = RedisCluster::start(&[]).unwrap();
    assert_eq!(cluster.urls().split(',').count(), 3);
    // Slot 12182, which is the third node's.
    assert_eq!(cluster.nodes[2].ask(&["SET", "foo", "1"]).unwrap(), "OK");
    let moved = cluster.nodes[0].ask(&["GET", "foo"]).unwrap_err().to_string();
    assert!(moved.contains("MOVED 12182"), "{moved}");
    cluster.nodes[2].kill().unwrap();
    cluster.nodes[2].restart().unwrap();
    cluster.wait_until_whole().unwrap();
}
