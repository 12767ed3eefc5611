//! Killed at random moments, again and again: `tests/chaos` does it as often as is asked for.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Bucket, Folder, Numbers, Place};

struct Chaos {
    numbers: Numbers,
    random: ChaCha8Rng,
}

impl Chaos {
    fn new(place: Place, seed: u64) -> Self {
        Self { numbers: Numbers::new(place), random: ChaCha8Rng::seed_from_u64(seed) }
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

/// Half of the kills asked for; the other place gets the other half.
fn chaos(place: Place) {
    let (kills, seed) = (number("ALLUVIUM_CHAOS_KILLS", 20) / 2, number("ALLUVIUM_CHAOS_SEED", 1));
    let name = if matches!(place, Place::Local(_)) { "local folder" } else { "S3" };
    let mut chaos = Chaos::new(place, seed);
    let started = Instant::now();
    for kill in 1..=kills {
        chaos.kill_once();
        if kill % 10 == 0 || kill == kills {
            chaos.assert_exact();
            let seconds = started.elapsed().as_secs();
            println!(
                "{name}: seed {seed}, {kill} kills, {} objects, all tables exact, {seconds} s",
                chaos.numbers.files
            );
        }
    }
}

#[test]
fn killed_at_random_moments_over_a_local_folder() {
    chaos(Place::Local(Folder::new("chaos")));
}

#[test]
fn killed_at_random_moments_over_s3() {
    chaos(Place::Bucket(Bucket::new("chaos")));
}
