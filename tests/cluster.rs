//! Several processes, one pipeline: same tables, whoever dies.

mod cut;
mod elsewhere;
mod handshake;
mod late;

use std::net::TcpStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Bucket, Call, Done, Folder, Numbers, Place, Running, alluvium, read};

pub const SECRET: &str = "0123456789abcdef-of-a-test";

/// `127.0.0.1:PORT`, not used by others and not where the system takes ports from for connections.
fn address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let place = u32::from(NEXT.fetch_add(1, Ordering::Relaxed)) + std::process::id() * 61;
        let address = format!("127.0.0.1:{}", 10_000 + place % 20_000);
        // Trying to listen there would be seen by a process that is being started beside this.
        if TcpStream::connect(&address).is_err() {
            return address;
        }
    }
}

/// Addresses for so many processes.
pub fn hosts(processes: usize) -> Vec<String> {
    (0..processes).map(|_| address()).collect()
}

/// One process of a cluster.
pub fn process(numbers: &Numbers, hosts: &[String], process: usize, arguments: &[&str]) -> Call {
    let (hosts, number) = (hosts.join(","), process.to_string());
    let all: Vec<&str> = ["--hosts", &hosts, "--process", &number].iter().chain(arguments).copied().collect();
    numbers.call(&all).env("ALLUVIUM_CLUSTER_SECRET", SECRET)
}

/// All processes of a cluster.
pub fn start(numbers: &Numbers, processes: usize, arguments: &[&str]) -> Vec<Running> {
    let hosts = hosts(processes);
    (0..processes).map(|p| process(numbers, &hosts, p, arguments).start()).collect()
}

#[track_caller]
pub fn all_end(running: Vec<Running>, code: i32) -> Vec<Done> {
    let done: Vec<Done> = running.into_iter().map(Running::end).collect();
    for (process, done) in done.iter().enumerate() {
        assert_eq!(done.code, Some(code), "process {process}:\n{}{}", done.err, done.out);
    }
    done
}

/// Waits for the ends of processes, which must not take longer than 5 s from `since`.
#[track_caller]
fn end_soon(running: Vec<Running>, since: Instant) -> Vec<Done> {
    let done = all_end(running, 1);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(5), "took {took:?}:\n{}", done[0].err);
    done
}

pub const WATCH: [&str; 3] = ["--watch", "--interval", "20ms"];

#[test]
fn any_number_of_processes_and_workers_gives_the_same_tables() {
    let mut numbers = Numbers::local("shapes");
    for (processes, workers) in [(2, "2"), (3, "1"), (1, "3"), (2, "1"), (4, "1")] {
        numbers.feed(12);
        if processes == 1 {
            numbers.call(&["--workers", workers]).ok();
        } else {
            let done = all_end(start(&numbers, processes, &["--workers", workers]), 0);
            for of_one in done {
                // Each process tells what all of them have done.
                assert!(of_one.out.contains("numbers: 120 rows in "), "{}", of_one.out);
            }
        }
        numbers.assert_exact();
    }
}

#[test]
fn source_and_tables_in_a_bucket() {
    let mut numbers = Numbers::new(Place::Bucket(Bucket::new("cluster")));
    numbers.feed(9);
    all_end(start(&numbers, 3, &["--workers", "1"]), 0);
    numbers.assert_exact();
}

/// Kills one process after the other while objects arrive; all others stop in time and say why, and the next start
/// goes on.
fn kill_each(name: &str, processes: usize, workers: &str) {
    let mut numbers = Numbers::local(name);
    for victim in 0..processes {
        let epochs = numbers.epochs();
        numbers.feed(10);
        let arguments: Vec<&str> = ["--workers", workers].into_iter().chain(WATCH).collect();
        let mut running = start(&numbers, processes, &arguments);
        numbers.wait_for_epoch(epochs);
        numbers.feed(3);
        let since = Instant::now();
        let killed = running.remove(victim);
        killed.signal("KILL");
        killed.end();
        for done in end_soon(running, since) {
            assert!(done.err.contains(&format!("process {victim} (127.0.0.1:")), "{}", done.err);
            assert!(done.err.contains("is gone") || done.err.contains("has failed"), "{}", done.err);
            assert!(!done.err.contains("panicked"), "{}", done.err);
        }
    }
    all_end(start(&numbers, processes, &["--workers", workers]), 0);
    numbers.assert_exact();
}

#[test]
fn two_processes_of_two_workers_are_killed_in_turn() {
    kill_each("kill-2x2", 2, "2");
}

#[test]
fn three_processes_are_killed_in_turn() {
    kill_each("kill-3x1", 3, "1");
}

#[test]
fn a_signal_to_any_process_drains_all() {
    for asked in 0..2 {
        let mut numbers = Numbers::local("drain");
        numbers.feed(6);
        let running = start(&numbers, 2, &WATCH);
        numbers.wait_for_epoch(0);
        running[asked].signal("TERM");
        all_end(running, 130);
        numbers.call(&[]).ok();
        numbers.assert_exact();
    }
}

#[test]
fn a_fault_of_one_process_is_told_by_all() {
    let mut numbers = Numbers::local("fault");
    numbers.feed(4);
    // Each process reads one of them at least.
    for file in 0..6 {
        std::fs::write(numbers.place.url(&format!("in/bad{file}.json")), "{\"id\":\"no number\"}\n").unwrap();
    }
    let since = Instant::now();
    for done in end_soon(start(&numbers, 2, &["--workers", "1"]), since) {
        assert!(done.err.contains("no number") && done.err.contains("/in/bad"), "{}", done.err);
    }
}

#[test]
fn a_second_cluster_does_not_start() {
    let mut numbers = Numbers::local("second");
    numbers.feed(2);
    let running = start(&numbers, 2, &WATCH);
    numbers.wait_for_epoch(0);
    let leader = format!("another instance of this pipeline is running: process {} on ", running[0].id());
    for done in all_end(start(&numbers, 2, &[]), 1) {
        assert!(done.err.contains(&leader), "{}", done.err);
    }
    running[0].signal("TERM");
    all_end(running, 130);
    numbers.assert_exact();
}

#[test]
fn a_column_that_comes_is_taken_up_by_all() {
    let folder = Folder::new("cluster-columns");
    let spec = "pipeline: columns\nstate: ${LAKE}/_state\nepoch: { splits: 1 }\nstages:\n  \
                rows: { kind: files, url: \"${IN}\", format: json, schema: infer }\n  \
                table: { kind: delta, input: rows, table: \"${LAKE}/table\" }\n";
    let spec = folder.write("spec.yaml", spec).display().to_string();
    let run = || {
        let hosts = hosts(2).join(",");
        let process = |number: &str| {
            alluvium(&["run", &spec, "--hosts", &hosts, "--process", number])
                .env("IN", &folder.text("in"))
                .env("LAKE", &folder.text("lake"))
                .env("ALLUVIUM_CLUSTER_SECRET", SECRET)
                .start()
        };
        all_end(vec![process("0"), process("1")], 0)
    };
    for file in 0..3 {
        folder.write(&format!("in/a{file}.json"), &format!("{{\"id\":{file}}}\n"));
    }
    run();
    // Whichever process finds them, all begin anew with them; with one object an epoch, one after the other.
    folder.write("in/b.json", "{\"id\":3,\"word\":\"w\"}\n");
    folder.write("in/c.json", "{\"id\":4,\"size\":1.5}\n");
    for done in run() {
        assert!(done.out.contains("word") || done.out.contains("size"), "{}{}", done.out, done.err);
    }
    let rows = read(&folder.text("lake/table")).select(&["id", "word", "size"]);
    let expected = [
        json!([0, null, null]),
        json!([1, null, null]),
        json!([2, null, null]),
        json!([3, "w", null]),
        json!([4, null, 1.5]),
    ];
    assert_eq!(json!(rows), json!(expected));
}

#[test]
fn epochs_of_one_object_are_not_all_read_by_the_same_worker() {
    let folder = Folder::new("dealt");
    let spec = "pipeline: dealt\nstate: ${LAKE}/_state\nepoch: { splits: 1 }\nstages:\n  \
                rows: { kind: files, url: \"${IN}\", format: json, schema: { id: bigint } }\n  \
                table: { kind: delta, input: rows, table: \"${LAKE}/table\" }\n";
    let spec = folder.write("spec.yaml", spec).display().to_string();
    for file in 0..6 {
        folder.write(&format!("in/{file}.json"), &format!("{{\"id\":{file}}}\n"));
    }
    let run = alluvium(&["run", &spec, "--workers", "3"]);
    run.env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).ok();
    // part-EPOCH-WORKER-...
    let parts = std::fs::read_dir(folder.path("lake/table")).unwrap().map(|e| e.unwrap().file_name());
    let names = parts.map(|n| n.into_string().unwrap()).filter(|n| n.starts_with("part-"));
    let mut workers: Vec<String> = names.map(|n| n.split('-').nth(2).unwrap().to_owned()).collect();
    workers.sort();
    assert_eq!(workers, ["0", "0", "1", "1", "2", "2"]);
}
