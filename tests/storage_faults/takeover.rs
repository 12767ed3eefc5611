//! An instance is taken for dead while a commit of it is on its way.

use std::time::Duration;

use crate::s3::Case;
use crate::support::{Act, Proxy, until};

/// The commit comes while the successor has the table open, before its own of the same epoch.
#[test]
fn a_commit_of_a_dead_instance_that_comes_late_counts() {
    for table in ["first", "second"] {
        let case = Case::new("late", 6);
        let proxy = Proxy::start(&case.bucket.endpoint);
        let commit = format!("/lake/{table}/_delta_log/00000000000000000002.json");
        proxy.rule("PUT", &commit, Act::Late(Duration::from_secs(60)), 1);
        let dead = case.call(&["run"], &proxy.url()).start();
        until("its commit is on the way", || proxy.hits() == 1);
        dead.signal("KILL");
        dead.end();
        // The proxy carries the commit out just before the successor's.
        let done = case.call(&["run"], &proxy.url()).run();
        assert_eq!(done.code, Some(0), "{table}:\n{}", done.err);
        assert!(done.err.contains("an instance that was taken for dead has committed the epoch"), "{}", done.err);
        case.assert_exact(6);
        assert!(case.run().out.contains("nothing new to process"));
        case.assert_exact(6);
    }
}

/// A try whose client has given up is carried out while the next one, with other files, is on its way.
#[test]
fn an_earlier_try_that_comes_late_is_ours() {
    for table in ["first", "second"] {
        let case = Case::new("try", 4);
        let proxy = Proxy::start(&case.bucket.endpoint);
        let commit = format!("/lake/{table}/_delta_log/00000000000000000002.json");
        proxy.rule("PUT", &commit, Act::Late(Duration::from_secs(4)), 1);
        let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "1s").run();
        assert_eq!((done.code, proxy.hits()), (Some(0), 1), "{table}:\n{}", done.err);
        assert!(!done.err.contains("taken for dead"), "{}", done.err);
        case.assert_exact(4);
    }
}
