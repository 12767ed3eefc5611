//! A fault is seen within five seconds, with stage, epoch and cause, wherever one looks.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::WATCH;
use super::client::Served;
use crate::support::{Bucket, Numbers, Place, Proxy, until};

/// Every fault must be seen so soon.
const SOON: Duration = Duration::from_secs(5);

/// Listens to events from now on; what comes of it is the last status.
fn last_status(address: &str) -> std::thread::JoinHandle<Option<Value>> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    // The first status has come: it listens.
    while !line.starts_with("data: ") {
        line.clear();
        assert!(answer.read_line(&mut line).unwrap() > 0, "the answer has ended");
    }
    std::thread::spawn(move || {
        let mut last = None;
        let mut status = true;
        for line in answer.lines() {
            let line = line.ok()?;
            match line.split_once(": ") {
                Some(("event", name)) => status = name == "status",
                Some(("data", json)) if status => last = serde_json::from_str(json).ok(),
                _ => {}
            }
        }
        last
    })
}

#[test]
fn a_poison_file() {
    let mut numbers = Numbers::local("poison");
    numbers.feed(2);
    let served = Served::start(&numbers, &WATCH, None);
    served.command(&numbers, &["await", &numbers.spec]).ok();
    let heard = last_status(&served.address);
    let since = Instant::now();
    let made = format!("{}.made", numbers.place.url("in"));
    std::fs::write(&made, "{\"id\": 1, \"word\": \"w1\"}\n{\"id\": \"none\"}\n").unwrap();
    std::fs::rename(&made, format!("{}/poison.json", numbers.place.url("in"))).unwrap();
    let (command, spec) = (|arguments: &[&str]| served.command(&numbers, arguments).run(), numbers.spec.clone());
    let mut status = command(&["status", &spec]);
    until("the run has ended", || {
        status = command(&["status", &spec]);
        status.code == Some(1) && status.out.contains("last run failed")
    });
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    for part in ["stage `numbers`", "epoch 2", "poison.json"] {
        assert!(status.out.contains(part), "{part} in {}", status.out);
    }
    let heard = heard.join().unwrap().unwrap();
    assert_eq!(
        (&heard["state"], &heard["fault"]["stage"], &heard["fault"]["epoch"]),
        (&json!("failed"), &json!("numbers"), &json!(2))
    );
    let stage = heard["stages"].as_array().unwrap().iter().find(|s| s["name"] == "numbers").unwrap();
    assert_eq!(stage["condition"], "failed");
    let done = served.running.end();
    assert_eq!(done.code, Some(1));
    for part in ["stage `numbers`", "epoch 2", "poison.json"] {
        assert!(done.err.contains(part), "{part} in {}", done.err);
    }
    // The next run's metrics still say why the last one has failed.
    std::fs::remove_file(format!("{}/poison.json", numbers.place.url("in"))).unwrap();
    let again = Served::start(&numbers, &WATCH, None);
    until("the run has started", || again.get("/metrics").body.contains("alluvium_last_fault{"));
    let metrics = again.get("/metrics").body;
    let line = metrics.lines().find(|l| l.starts_with("alluvium_last_fault{")).unwrap();
    for part in ["stage=\"numbers\"", "epoch=\"2\"", "poison.json"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    again.command(&numbers, &["stop", "--all", "--now"]).ok();
}

#[test]
fn a_store_that_does_not_answer() {
    let mut bucket = Bucket::new("stalled");
    let proxy = Proxy::start(&bucket.endpoint);
    bucket.endpoint = proxy.url();
    let mut numbers = Numbers::new(Place::Bucket(bucket));
    numbers.feed(2);
    let served = Served::start(&numbers, &WATCH, None);
    until("the first epoch is complete", || served.status()["epochs"]["completed"] == 1);
    assert_eq!(served.get("/readyz").status, 200);
    proxy.refuse(true);
    let since = Instant::now();
    let stalled =
        |status: &Value| status["stages"].as_array().unwrap().iter().find(|s| s["condition"] == "stalled").cloned();
    until("a stage is shown as stalled", || stalled(&served.status()).is_some());
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let status = served.status();
    let stage = stalled(&status).unwrap();
    assert!(stage["cause"].as_str().unwrap().starts_with("listing objects for"), "{stage}");
    let warnings = status["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|w| w["stage"] == stage["name"]), "{warnings:?}");
    let ready = served.get("/readyz");
    assert!(ready.status == 503 && ready.body.contains("stalled: stage `numbers`"), "{ready:?}");
    assert!(
        served
            .get("/metrics")
            .body
            .contains("alluvium_stage_stalled{pipeline=\"numbers\",stage=\"numbers\",kind=\"files\"} 1")
    );
    let command = served.command(&numbers, &["status", "numbers"]).run();
    assert!(command.code == Some(1) && command.out.contains("stalled: listing objects"), "{}", command.out);
    proxy.refuse(false);
    until("it goes on", || served.get("/readyz").status == 200);
    served.command(&numbers, &["stop", "--all"]).ok();
    assert_eq!(served.running.end().code, Some(130));
}

#[test]
fn a_process_of_a_cluster_that_is_killed() {
    let mut numbers = Numbers::local("killed-process");
    numbers.feed(4);
    let hosts = crate::cluster::hosts(2);
    let other = crate::cluster::process(&numbers, &hosts, 1, &WATCH).start();
    let served = Served::launch(crate::cluster::process(&numbers, &hosts, 0, &WATCH));
    until("both are at work, and each knows it of the other", || {
        let status = served.status();
        status["epochs"]["completed"] == 2 && status["processes"] == 2 && status["workers"] == 2
    });
    let heard = last_status(&served.address);
    let since = Instant::now();
    other.signal("KILL");
    let heard = heard.join().unwrap().unwrap();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let fault = &heard["fault"];
    let told = fault["message"].as_str().unwrap();
    assert!(fault["stage"] == "cluster" && told.contains("process 1") && told.contains("is gone"), "{fault}");
    let done = served.running.end();
    assert!(done.code == Some(1) && done.err.contains("process 1") && done.err.contains("is gone"), "{}", done.err);
}

#[test]
fn a_disk_that_is_full() {
    let mut numbers = Numbers::local("full");
    numbers.feed(2);
    std::fs::create_dir(numbers.place.url("lake")).unwrap();
    // Tables and state are on a small disk that only the run sees.
    let small = format!("mount -t tmpfs -o size=600k none '{}' && exec \"$@\"", numbers.place.url("lake"));
    let served = Served::launch(numbers.call(&WATCH).within(&["unshare", "-rm", "sh", "-c", &small, "sh"]));
    until("the first epoch is complete", || served.status()["epochs"]["completed"] == 1);
    let heard = last_status(&served.address);
    // Where the run sees the disk, somebody fills it.
    let filler = format!("/proc/{}/root{}/filler", served.running.id(), numbers.place.url("lake"));
    let mut filler = std::fs::File::create(filler).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    let since = Instant::now();
    numbers.feed(2);
    let heard = heard.join().unwrap().unwrap();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let fault = &heard["fault"];
    let told = fault["message"].as_str().unwrap();
    assert!(told.contains("No space left on device") && told.contains(&format!("epoch {}", fault["epoch"])), "{fault}");
    let stages = heard["stages"].as_array().unwrap();
    let of_stage = |name: &str| {
        fault["stage"] == "checkpoint" || stages.iter().any(|s| s["name"] == name && s["condition"] == "failed")
    };
    assert!(of_stage(fault["stage"].as_str().unwrap()), "{heard}");
    let done = served.running.end();
    assert!(done.code == Some(1) && done.err.contains("No space left on device"), "{}", done.err);
}
