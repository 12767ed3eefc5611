//! The network between two processes is cut: nothing is closed, nothing arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::{WATCH, all_end, end_soon, hosts, process, start};
use crate::support::Numbers;

/// Passes bytes on until it is cut.
struct Wire {
    address: String,
    cut: Arc<AtomicBool>,
}

impl Wire {
    fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, upstream) = (Arc::new(AtomicBool::new(false)), upstream.to_owned());
        let watched = cut.clone();
        thread::spawn(move || {
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
        assert!(done.err.contains("was not heard of for 4 s"), "{}", done.err);
    }
    all_end(start(&numbers, 2, &[]), 0);
    numbers.assert_exact();
}
