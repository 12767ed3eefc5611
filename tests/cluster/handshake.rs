//! Who may join: build, spec, workers and secret are checked before Timely hears of anybody.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{SECRET, all_end, hosts, process};
use crate::support::{Folder, Numbers, Running, alluvium, until};

/// A pipeline and addresses for two processes.
fn two(name: &str) -> (Numbers, Vec<String>) {
    let mut numbers = Numbers::local(name);
    numbers.feed(2);
    (numbers, hosts(2))
}

#[test]
fn another_secret_is_refused_by_both() {
    let (numbers, hosts) = two("secret");
    let zero = process(&numbers, &hosts, 0, &[]).start();
    let stranger =
        process(&numbers, &hosts, 1, &[]).env("ALLUVIUM_CLUSTER_SECRET", "another-secret-of-a-stranger").run();
    assert_eq!(stranger.code, Some(1));
    let said = format!("process 0 ({}) is not trusted: the secrets differ", hosts[0]);
    assert!(stranger.err.contains(&said), "{}", stranger.err);
    assert!(stranger.err.contains("ALLUVIUM_CLUSTER_SECRET"), "{}", stranger.err);
    for secret in [SECRET, "another-secret"] {
        assert!(!stranger.err.contains(secret), "a secret is shown: {}", stranger.err);
    }
    // Process 0 still waits for the right one.
    let one = process(&numbers, &hosts, 1, &[]).start();
    let done = all_end(vec![zero, one], 0);
    assert!(done[0].err.contains("was refused"), "{}", done[0].err);
    numbers.assert_exact();
}

#[test]
fn strangers_disturb_nobody() {
    let (numbers, hosts) = two("stranger");
    let zero = process(&numbers, &hosts, 0, &[]).start();
    until("process 0 listens", || TcpStream::connect(&hosts[0]).is_ok());
    let mut silent = TcpStream::connect(&hosts[0]).unwrap();
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 2, b'{', b'}'], &[0xff; 64], &[0, 0, 0, 9, b'x']] {
        let mut stream = TcpStream::connect(&hosts[0]).unwrap();
        let mut answer = Vec::new();
        // It is closed, politely or not, maybe in the middle, and says nothing.
        let _ = stream.write_all(noise).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"", "a stranger was answered");
    }
    let one = process(&numbers, &hosts, 1, &[]).start();
    let done = all_end(vec![zero, one], 0);
    assert!(done[0].err.contains("was refused: "), "{}", done[0].err);
    let _ = silent.write_all(b"late");
    numbers.assert_exact();
}

#[test]
fn silent_strangers_are_not_waited_for() {
    let (numbers, hosts) = two("silent");
    let zero = process(&numbers, &hosts, 0, &[]).start();
    until("process 0 listens", || TcpStream::connect(&hosts[0]).is_ok());
    // As many as are checked at the same time.
    let strangers: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(&hosts[0]).unwrap()).collect();
    let one = process(&numbers, &hosts, 1, &[]).start();
    for mut stranger in strangers {
        stranger.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
        assert_eq!(stranger.read(&mut [0]).unwrap(), 0, "a stranger was answered");
    }
    let done = all_end(vec![zero, one], 0);
    assert!(done[0].err.contains("was refused: it did not say who it is"), "{}", done[0].err);
    numbers.assert_exact();
}

#[test]
fn another_build_of_the_same_version_is_refused() {
    let (numbers, hosts) = two("build");
    let folder = Folder::new("another-build");
    let copy = folder.path("alluvium");
    std::fs::copy(env!("CARGO_BIN_EXE_alluvium"), &copy).unwrap();
    std::fs::OpenOptions::new().append(true).open(&copy).unwrap().write_all(b"-").unwrap();
    let other = format!("shift; exec {} \"$@\"", copy.display());
    let zero = process(&numbers, &hosts, 0, &[]).start();
    let one = process(&numbers, &hosts, 1, &[]).within(&["sh", "-c", &other, "sh"]).start();
    for done in all_end(vec![zero, one], 1) {
        assert!(done.err.contains("the processes run different builds of the program: 0."), "{}", done.err);
    }
    assert!(!std::fs::exists(numbers.place.url("lake")).unwrap(), "something was written");
}

#[test]
fn what_differs_is_named_by_both() {
    let other = Folder::new("other-spec");
    let (numbers, hosts) = two("differs");
    let text = std::fs::read_to_string(&numbers.spec).unwrap().replace("upper(word)", "lower(word)");
    let spec = other.write("spec.yaml", &text).display().to_string();
    let hosts_list = hosts.join(",");
    let changed: [(&[&str], &str); 3] = [
        (&["run", &numbers.spec, "--workers", "2"], "the numbers of workers differ: "),
        (&["run", &spec], "the specs (or variables in them) differ: plan "),
        (&["run", &numbers.spec, "--hosts", "LONGER"], "the lists of hosts differ in length: "),
    ];
    for (arguments, said) in changed {
        let zero = process(&numbers, &hosts, 0, &[]).start();
        let longer = format!("{hosts_list},127.0.0.1:9");
        let mut all: Vec<&str> = arguments.iter().map(|a| if *a == "LONGER" { longer.as_str() } else { a }).collect();
        if !all.contains(&"--hosts") {
            all.extend(["--hosts", &hosts_list]);
        }
        all.extend(["--process", "1"]);
        let one = alluvium(&all)
            .env("IN", &numbers.place.url("in"))
            .env("LAKE", &numbers.place.url("lake"))
            .env("ALLUVIUM_CLUSTER_SECRET", SECRET);
        for done in all_end(vec![zero, one.start()], 1) {
            assert!(done.err.contains("does not fit: ") && done.err.contains(said), "{}", done.err);
        }
    }
    assert!(!std::fs::exists(numbers.place.url("lake")).unwrap(), "something was written");
}

#[test]
fn two_processes_of_one_number_are_noticed() {
    let mut numbers = Numbers::local("twice");
    numbers.feed(2);
    let hosts = hosts(3);
    let zero = process(&numbers, &hosts, 0, &[]).start();
    // Process 2 listens to nobody, so two of them can be there until process 1 comes; process 0 takes the first.
    let mut both: Vec<Running> = (0..2).map(|_| process(&numbers, &hosts, 2, &[]).start()).collect();
    until("one has ended", || both.iter_mut().any(|r| !r.is_running()));
    let loser = both.iter_mut().position(|r| !r.is_running()).unwrap();
    let lost = both.remove(loser).end();
    assert_eq!(lost.code, Some(1));
    assert!(lost.err.contains("there is a process 2 already; each needs a `--process` of its own"), "{}", lost.err);
    let one = process(&numbers, &hosts, 1, &[]).start();
    all_end(vec![zero, one, both.remove(0)], 0);
    numbers.assert_exact();
}

#[test]
fn arguments_that_make_no_cluster() {
    let folder = Folder::new("arguments");
    let file = folder.write("hosts.txt", "# two machines\n127.0.0.1:4001\n\n127.0.0.1\n").display().to_string();
    let spec = "pipelines/tweets.yaml";
    let cases: [(&[&str], Option<&str>, &str); 10] = [
        (&["--hosts", &file, "--process", "0"], Some(SECRET), "hosts.txt:4: `127.0.0.1` is not `host:port`"),
        (&["--hosts", "nowhere.txt", "--process", "0"], Some(SECRET), "neither a file nor a list of `host:port`"),
        (&["--hosts", "a:1,b:1", "--process", "2"], Some(SECRET), "there are 2 processes in the list of hosts, 0 to 1"),
        (&["--hosts", "a:1,b:1", "--process", "two"], Some(SECRET), "neither a number nor a name that ends in one"),
        (&["--hosts", "a:1,a:1", "--process", "1"], Some(SECRET), "`a:1` is there twice"),
        (
            &["--hosts", "a:1,b:1", "--process", "1"],
            None,
            "set ALLUVIUM_CLUSTER_SECRET or ALLUVIUM_CLUSTER_SECRET_FILE",
        ),
        (&["--hosts", "a:1,b:1", "--process", "1"], Some("short"), "has 5 bytes, 16 are the least"),
        (&["--hosts", "a:1,b:1"], Some(SECRET), "--process"),
        (&["--hosts", "a:1,b:1", "--process", "1", "--wait", "long"], Some(SECRET), "--wait <TIME>"),
        (&["--hosts", "a:1,b:1", "--process", "1", "--wait", "2days"], Some(SECRET), "24h is the longest"),
    ];
    for (arguments, secret, said) in cases {
        let all: Vec<&str> = ["run", spec].iter().chain(arguments).copied().collect();
        let call = alluvium(&all);
        let done = match secret {
            Some(secret) => call.env("ALLUVIUM_CLUSTER_SECRET", secret).run(),
            None => call.run(),
        };
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.err);
        assert!(done.err.contains(said), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn an_address_that_is_taken_or_not_here() {
    let (numbers, hosts) = two("taken");
    let _taken = std::net::TcpListener::bind(&hosts[0]).unwrap();
    let done = process(&numbers, &hosts, 0, &[]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains(&format!("process 0 cannot listen on {}", hosts[0])), "{}", done.err);
    let doctor = alluvium(&["doctor", &numbers.spec, "--hosts", &hosts.join(","), "--process", "0"])
        .env("IN", &numbers.place.url("in"))
        .env("LAKE", &numbers.place.url("lake"))
        .env("ALLUVIUM_CLUSTER_SECRET", SECRET)
        .run();
    assert_eq!(doctor.code, Some(1), "{}", doctor.out);
    let line = doctor.out.lines().find(|l| l.contains("process 0")).unwrap();
    assert!(line.starts_with("FAIL") && line.contains("in use"), "{line}");
}

#[test]
fn from_the_environment_as_in_kubernetes() {
    let (numbers, hosts) = two("environment");
    let folder = Folder::new("environment-secret");
    let secret = folder.write("secret", &format!("{SECRET}\n")).display().to_string();
    let running = (0..2).map(|pod| {
        numbers
            .call(&[])
            .env("ALLUVIUM_HOSTS", &hosts.join(","))
            .env("ALLUVIUM_PROCESS", &format!("tweets-{pod}"))
            .env("ALLUVIUM_WORKERS", "2")
            .env("ALLUVIUM_CLUSTER_SECRET_FILE", &secret)
            .start()
    });
    all_end(running.collect(), 0);
    numbers.assert_exact();
}
