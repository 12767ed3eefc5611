//! Processes that come late, or come again, while the others wait.

use std::time::Duration;

use super::cut::Wire;
use super::{all_end, hosts, process};
use crate::support::Numbers;

#[test]
fn one_that_meets_another_late_is_not_taken_for_dead() {
    let mut numbers = Numbers::local("late");
    numbers.feed(4);
    let hosts = hosts(3);
    // Process 0 knows both long before they know each other.
    let wire = Wire::after(&hosts[1], Duration::from_secs(12));
    let seen_by_two = [hosts[0].clone(), wire.address.clone(), hosts[2].clone()];
    let running = vec![
        process(&numbers, &hosts, 0, &[]).start(),
        process(&numbers, &hosts, 1, &[]).start(),
        process(&numbers, &seen_by_two, 2, &[]).start(),
    ];
    all_end(running, 0);
    numbers.assert_exact();
}

#[test]
fn one_that_has_gone_again_may_come_again() {
    let mut numbers = Numbers::local("again");
    numbers.feed(4);
    let hosts = hosts(3);
    let gives_up = |number: usize, missing: &[usize]| {
        let done = process(&numbers, &hosts, number, &[]).env("ALLUVIUM_WAIT", "2s").run();
        assert_eq!(done.code, Some(1), "{}", done.err);
        let missing: Vec<String> = missing.iter().map(|&p| format!("process {p} ({})", hosts[p])).collect();
        let said = format!("error: stage `cluster` failed: {} did not come within 2s", missing.join(", "));
        assert!(done.err.contains(&said), "expected: {said}\n{}", done.err);
    };
    // Whoever gives up has met the one that waits.
    let zero = process(&numbers, &hosts, 0, &[]).start();
    gives_up(2, &[1]);
    gives_up(1, &[2]);
    let others = (1..3).map(|p| process(&numbers, &hosts, p, &[]).start());
    all_end(std::iter::once(zero).chain(others).collect(), 0);
    let two = process(&numbers, &hosts, 2, &[]).start();
    gives_up(0, &[1]);
    gives_up(1, &[0]);
    let others = (0..2).map(|p| process(&numbers, &hosts, p, &[]).start());
    all_end(std::iter::once(two).chain(others).collect(), 0);
    numbers.assert_exact();
}

#[test]
fn a_name_that_this_machine_has_for_itself_alone_is_reached_by_others() {
    let mut numbers = Numbers::local("name");
    numbers.feed(2);
    let hosts = hosts(2);
    let port = hosts[0].rsplit_once(':').unwrap().1;
    let seen_by_zero = [format!("tweets-0.invalid:{port}"), hosts[1].clone()];
    let running = vec![process(&numbers, &seen_by_zero, 0, &[]).start(), process(&numbers, &hosts, 1, &[]).start()];
    all_end(running, 0);
    numbers.assert_exact();
}
