//! Stages in an order in which inputs come first.

use crate::spec::{Problem, StageSpec};

/// Indices of the stages, each after its inputs; otherwise as in the text. Inputs that do not exist are left out.
///
/// # Errors
/// One problem for each cycle, with the chain of stages.
pub(super) fn order(stages: &[StageSpec]) -> Result<Vec<usize>, Vec<Problem>> {
    let inputs: Vec<Vec<usize>> = stages
        .iter()
        .map(|s| s.inputs.iter().filter_map(|i| stages.iter().position(|t| t.name.name == i.stage)).collect())
        .collect();
    let mut placed = vec![false; stages.len()];
    let mut out = Vec::with_capacity(stages.len());
    loop {
        let next = (0..stages.len()).find(|&s| !placed[s] && inputs[s].iter().all(|&i| placed[i]));
        let Some(next) = next else { break };
        placed[next] = true;
        out.push(next);
    }
    if out.len() == stages.len() { Ok(out) } else { Err(cycles(stages, &inputs, &mut placed)) }
}

fn cycles(stages: &[StageSpec], inputs: &[Vec<usize>], placed: &mut [bool]) -> Vec<Problem> {
    let mut problems = Vec::new();
    while let Some(start) = placed.iter().position(|p| !p) {
        // Every unplaced stage has an unplaced input, so walking upstream must come back to a stage seen before.
        let mut walk = vec![start];
        let (mut at, mut back) = (start, None);
        while back.is_none() {
            let Some(&up) = inputs[at].iter().find(|&&i| !placed[i]) else { break };
            back = walk.iter().position(|&w| w == up);
            walk.push(up);
            at = up;
        }
        if let Some(from) = back {
            let chain: Vec<String> = walk[from..].iter().rev().map(|&s| format!("`{}`", stages[s].name.name)).collect();
            let first = &stages[walk[from]];
            let upstream = walk.get(from + 1).map(|&s| &stages[s].name.name);
            let span = first
                .inputs
                .iter()
                .find(|i| Some(&i.stage) == upstream)
                .map_or(first.name.span.clone(), |i| i.span.clone());
            problems.push(
                Problem::new(format!("stages feed each other in a circle: {}", chain.join(" -> ")))
                    .at(span)
                    .label("part of the circle")
                    .help("let one of them read from a stage outside the circle"),
            );
        }
        walk.iter().for_each(|&s| placed[s] = true);
        // What hangs below the circle is not a circle of its own.
        while let Some(below) = (0..stages.len()).find(|&s| !placed[s] && inputs[s].iter().any(|&i| placed[i])) {
            placed[below] = true;
        }
    }
    problems
}
