//! The network between two processes is cut: nothing is closed, nothing arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{WATCH, all_end, end_soon, hosts, process, start};
use crate::support::{Act, Bucket, Numbers, Place, Proxy, Running, until};

/// Passes bytes on until it is cut.
pub struct Wire {
    pub address: String,
    cut: Arc<AtomicBool>,
}

impl Wire {
    pub fn to(upstream: &str) -> Self {
        Self::after(upstream, Duration::ZERO)
    }

    /// Callers are let through only after a while.
    pub fn after(upstream: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, upstream) = (Arc::new(AtomicBool::new(false)), upstream.to_owned());
        let watched = cut.clone();
        thread::spawn(move || {
            thread::sleep(delay);
            for down in listener.incoming().flatten() {
                // Nobody listens there yet: the caller tries again.
                let Ok(up) = TcpStream::connect(&upstream) else { continue };
                for (from, to) in [(&down, &up), (&up, &down)] {
                    let (from, to, cut) = (from.try_clone().unwrap(), to.try_clone().unwrap(), watched.clone());
                    thread::spawn(move || pass(from, to, &cut));
                }
            }
        });
        Self { address, cut }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut piece = [0; 16 << 10];
    loop {
        let read = from.read(&mut piece).unwrap_or(0);
        if cut.load(Ordering::SeqCst) {
            // Neither end hears of anything.
            loop {
                thread::park();
            }
        }
        if read == 0 || to.write_all(&piece[..read]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

#[test]
fn processes_that_do_not_hear_of_each_other_stop() {
    let mut numbers = Numbers::local("cut");
    numbers.feed(6);
    let hosts = hosts(2);
    let wire = Wire::to(&hosts[0]);
    let seen_by_one = [wire.address.clone(), hosts[1].clone()];
    let running =
        vec![process(&numbers, &hosts, 0, &WATCH).start(), process(&numbers, &seen_by_one, 1, &WATCH).start()];
    numbers.wait_for_epoch(0);
    numbers.feed(4);
    wire.cut.store(true, Ordering::SeqCst);
    let since = Instant::now();
    for (done, other) in end_soon(running, since).iter().zip([1, 0]) {
        assert!(done.err.contains(&format!("process {other} (127.0.0.1:")), "{}", done.err);
        assert!(done.err.contains("was not heard of for 2.5 s"), "{}", done.err);
    }
    all_end(start(&numbers, 2, &[]), 0);
    numbers.assert_exact();
}

/// Input, state and tables in a bucket that the processes reach through a proxy, and the newest complete epoch.
fn in_a_bucket(name: &str) -> (Numbers, Proxy, impl Fn(&Numbers) -> usize) {
    let bucket = Bucket::new(name);
    let proxy = Proxy::start(&bucket.endpoint);
    let complete = |numbers: &Numbers| match &numbers.place {
        Place::Bucket(bucket) => {
            let newest = bucket.list("lake/_state/complete").pop();
            newest.map_or(0, |path| path.rsplit('/').next().unwrap().strip_suffix(".json").unwrap().parse().unwrap())
        }
        Place::Local(_) => 0,
    };
    (Numbers::new(Place::Bucket(bucket)), proxy, complete)
}

/// A store that does not answer is waited for, but not when the run has failed for another reason.
#[test]
fn a_store_that_is_gone_too_delays_no_end() {
    let (mut numbers, proxy, complete) = in_a_bucket("gone-too");
    for victim in 0..2 {
        let before = complete(&numbers);
        numbers.feed(6);
        let hosts = hosts(2);
        let start = |p| process(&numbers, &hosts, p, &WATCH).env("AWS_ENDPOINT_URL", &proxy.url()).start();
        let mut running = vec![start(0), start(1)];
        until("all that is there is complete", || complete(&numbers) == before + 3);
        proxy.refuse(true);
        let since = Instant::now();
        let killed = running.remove(victim);
        killed.signal("KILL");
        killed.end();
        for done in end_soon(running, since) {
            assert!(done.err.contains(&format!("process {victim} ({}) is gone", hosts[victim])), "{}", done.err);
        }
        proxy.refuse(false);
    }
    all_end(start(&numbers, 2, &[]), 0);
    numbers.assert_exact();
}

/// A commit that takes longer than there is time is left as it is, and the next start finds out what became of it.
#[test]
fn a_commit_that_takes_too_long_delays_no_end() {
    let (mut numbers, proxy, complete) = in_a_bucket("slow-commit");
    numbers.feed(2);
    let hosts = hosts(2);
    let start_one = |p| process(&numbers, &hosts, p, &WATCH).env("AWS_ENDPOINT_URL", &proxy.url()).start();
    let running = vec![start_one(0), start_one(1)];
    until("all that is there is complete", || complete(&numbers) == 1);
    for (method, part) in
        [("GET", "first%2F_delta_log"), ("GET", "/lake/first/_delta_log/"), ("PUT", "/lake/first/_delta_log/")]
    {
        proxy.rule(method, part, Act::Delay(Duration::from_secs(20)), usize::MAX);
    }
    numbers.feed(2);
    until("the commit is under way", || proxy.hits() > 0);
    let since = Instant::now();
    let [zero, one] = <[Running; 2]>::try_from(running).ok().unwrap();
    one.signal("KILL");
    one.end();
    for done in end_soon(vec![zero], since) {
        assert!(done.err.contains(&format!("process 1 ({}) is gone", hosts[1])), "{}", done.err);
        assert!(!done.err.contains("panicked"), "{}", done.err);
    }
    all_end(start(&numbers, 2, &[]), 0);
    numbers.assert_exact();
}

#[test]
fn processes_that_lose_each_other_and_the_store_stop() {
    let (mut numbers, proxy, complete) = in_a_bucket("cut-off");
    numbers.feed(6);
    let hosts = hosts(2);
    let wire = Wire::to(&hosts[0]);
    let seen_by_one = [wire.address.clone(), hosts[1].clone()];
    let running: Vec<_> = [(0, &hosts[..]), (1, &seen_by_one[..])]
        .into_iter()
        .map(|(p, seen)| process(&numbers, seen, p, &WATCH).env("AWS_ENDPOINT_URL", &proxy.url()).start())
        .collect();
    until("all that is there is complete", || complete(&numbers) == 3);
    proxy.refuse(true);
    wire.cut.store(true, Ordering::SeqCst);
    let since = Instant::now();
    for done in end_soon(running, since) {
        assert!(done.err.contains("was not heard of for 2.5 s"), "{}", done.err);
    }
    all_end(start(&numbers, 2, &[]), 0);
    numbers.assert_exact();
}
