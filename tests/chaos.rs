//! Killed at random moments, again and again: `tests/chaos` does it as often as is asked for.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cluster;
use crate::support::{Bucket, Folder, Numbers, Place};

struct Chaos {
    numbers: Numbers,
    random: ChaCha8Rng,
}

impl Chaos {
    fn new(place: Place, seed: u64) -> Self {
        let mut numbers = Numbers::new(place);
        // A folder that is not there is refused.
        numbers.feed(1);
        Self { numbers, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn workers(&mut self) -> String {
        self.random.random_range(1..=4).to_string()
    }

    /// Starts it, kills it at a random moment.
    fn kill_once(&mut self) {
        self.numbers.feed(self.random.random_range(0..4));
        let workers = self.workers();
        let mut run = self.numbers.call(&["--workers", &workers, "--watch", "--interval", "20ms"]).start();
        let moment = Duration::from_millis(self.random.random_range(0..1_500));
        std::thread::sleep(moment);
        let running = run.is_running();
        run.signal("KILL");
        let done = run.end();
        assert!(running, "it had ended before it was killed: {:?}\n{}", done.code, done.err);
    }

    /// Starts a cluster, kills a process of it at a random moment, or all of them at once.
    fn kill_one_of_several(&mut self) {
        self.numbers.feed(self.random.random_range(0..4));
        let (processes, workers) = (self.random.random_range(2..=3), self.random.random_range(1..=2).to_string());
        let arguments: Vec<&str> = ["--workers", &workers].into_iter().chain(cluster::WATCH).collect();
        let running = cluster::start(&self.numbers, processes, &arguments);
        std::thread::sleep(Duration::from_millis(self.random.random_range(0..2_500)));
        let victims = if self.random.random() { 0..processes } else { self.one_of(processes) };
        running[victims.clone()].iter().for_each(|r| r.signal("KILL"));
        let since = Instant::now();
        for (process, mut run) in running.into_iter().enumerate() {
            if victims.contains(&process) {
                run.end();
                continue;
            }
            // Those that have met the victim end in time; others would wait a minute for it.
            while run.is_running() && since.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if run.is_running() {
                run.signal("KILL");
                let done = run.end();
                assert!(!done.err.contains("epoch"), "process {process} went on alone:\n{}", done.err);
            } else {
                let done = run.end();
                assert_eq!(done.code, Some(1), "process {process}:\n{}", done.err);
            }
        }
    }

    fn one_of(&mut self, processes: usize) -> std::ops::Range<usize> {
        let victim = self.random.random_range(0..processes);
        victim..victim + 1
    }

    fn assert_exact(&mut self) {
        let workers = self.workers();
        self.numbers.call(&["--workers", &workers]).ok();
        self.numbers.assert_exact();
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// A third of the kills asked for.
fn chaos(name: &str, place: Place, kill: fn(&mut Chaos)) {
    let (kills, seed) = (number("ALLUVIUM_CHAOS_KILLS", 20).div_ceil(3), number("ALLUVIUM_CHAOS_SEED", 1));
    let mut chaos = Chaos::new(place, seed);
    let started = Instant::now();
    for number in 1..=kills {
        kill(&mut chaos);
        if number % 10 == 0 || number == kills {
            chaos.assert_exact();
            let seconds = started.elapsed().as_secs();
            println!(
                "{name}: seed {seed}, {number} kills, {} objects, all tables exact, {seconds} s",
                chaos.numbers.files
            );
        }
    }
}

#[test]
fn killed_at_random_moments_over_a_local_folder() {
    chaos("local folder", Place::Local(Folder::new("chaos")), Chaos::kill_once);
}

#[test]
fn killed_at_random_moments_over_s3() {
    chaos("S3", Place::Bucket(Bucket::new("chaos")), Chaos::kill_once);
}

#[test]
fn processes_of_a_cluster_killed_at_random_moments() {
    chaos("cluster", Place::Local(Folder::new("chaos")), Chaos::kill_one_of_several);
}
