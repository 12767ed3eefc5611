//! Where stages and edges are drawn: layers from left to right, few crossings, long edges led around what is between.
//!
//! A layer is as far right as its stages' inputs ask. An edge over several layers is a chain of bends, one in each layer
//! that it passes, which take part in everything as stages do. Crossings are reduced by barycentres and by swapping
//! neighbours; heights are those nearest to what an item is joined to that keep order and distance. No randomness: the
//! same plan is the same picture, in every process.

mod draw;

use alluvium_engine::plan::{Edge, Plan, PlannedStage};
use alluvium_engine::stage::Route;
use serde::Serialize;

/// Of a stage's box, in CSS pixels: as wide as the longest name asks, within bounds.
const NARROWEST: f64 = 124.0;
const WIDEST: f64 = 184.0;
const LETTER: f64 = 7.8;
const BESIDE_NAME: f64 = 38.0;
const HEIGHT: f64 = 88.0;
/// Between boxes of a layer; around a bend.
const APART: f64 = 22.0;
const AROUND_BEND: f64 = 14.0;
/// Between layers: so much, and more where edges are steep.
const GAP: f64 = 24.0;
const FLAT: f64 = 110.0;
const STEEP: f64 = 60.0;
/// Around everything.
const MARGIN: f64 = 4.0;
/// Between two edges at a box.
const PORT: f64 = 14.0;
/// Ways there and back.
const SWEEPS: usize = 24;

/// A stage of the plan.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) inputs: Vec<Input>,
}

/// Where rows of a stage come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    /// The stage, which stands before this one in the plan.
    pub(crate) from: usize,
    /// They are the rows that it rejects.
    pub(crate) rejects: bool,
    /// They are exchanged between workers, by key.
    pub(crate) exchange: bool,
}

/// The picture, in CSS pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Layout {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) nodes: Vec<Place>,
    pub(crate) edges: Vec<Wire>,
}

/// A stage's box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Place {
    pub(crate) stage: String,
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// An edge: points from the right side of a box to the left side of another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Wire {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) rejects: bool,
    pub(crate) exchange: bool,
    pub(crate) points: Vec<[f64; 2]>,
}

/// Stages in the order of the plan; an input that names no earlier stage is left out.
pub(crate) fn layout(stages: &[Node]) -> Layout {
    let mut graph = Graph::new(stages);
    graph.order();
    let y = graph.heights();
    graph.draw(stages, &y)
}

/// Stages and bends, called items; the stages are the first ones.
struct Graph {
    /// By item.
    layer: Vec<usize>,
    /// Items by layer, from the top.
    layers: Vec<Vec<usize>>,
    /// By item: where it stands in its layer.
    place: Vec<usize>,
    /// By item: those joined to it in the layers before and after, and how much each counts for its height.
    before: Vec<Vec<(usize, f64)>>,
    after: Vec<Vec<(usize, f64)>>,
    /// Each edge as stage, number of the input, and items from end to end.
    chains: Vec<(usize, Input, Vec<usize>)>,
    stages: usize,
    /// Of every box.
    width: f64,
}

impl Graph {
    fn new(stages: &[Node]) -> Self {
        let mut layer: Vec<usize> = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            let inputs = stage.inputs.iter().filter(|input| input.from < index);
            layer.push(inputs.map(|input| layer[input.from] + 1).max().unwrap_or(0));
        }
        let mut chains = Vec::new();
        for (to, stage) in stages.iter().enumerate() {
            for input in stage.inputs.iter().filter(|input| input.from < to) {
                let mut chain = vec![input.from];
                for bend in layer[input.from] + 1..layer[to] {
                    chain.push(layer.len());
                    layer.push(bend);
                }
                chain.push(to);
                chains.push((to, *input, chain));
            }
        }
        let mut layers = vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)];
        layer.iter().enumerate().for_each(|(item, layer)| layers[*layer].push(item));
        let (mut before, mut after) = (vec![Vec::new(); layer.len()], vec![Vec::new(); layer.len()]);
        for (_, input, chain) in &chains {
            for pair in chain.windows(2) {
                let bends = pair.iter().filter(|item| **item >= stages.len()).count() as i32;
                // Long edges are straight first of all; rejects bend the way of nothing else.
                let weight = 3_f64.powi(bends) * if input.rejects { 1e-4 } else { 1.0 };
                after[pair[0]].push((pair[1], weight));
                before[pair[1]].push((pair[0], weight));
            }
        }
        let longest = stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
        let width = (longest as f64 * LETTER + BESIDE_NAME).round().clamp(NARROWEST, WIDEST);
        let (place, stages) = (vec![0; layer.len()], stages.len());
        let mut graph = Self { layer, layers, place, before, after, chains, stages, width };
        (0..graph.layers.len()).for_each(|layer| graph.number(layer));
        graph
    }

    fn number(&mut self, layer: usize) {
        for (place, item) in self.layers[layer].iter().enumerate() {
            self.place[*item] = place;
        }
    }

    /// Puts the items of each layer in the best order that is found.
    fn order(&mut self) {
        let (mut best, mut least) = (self.layers.clone(), self.crossings());
        for sweep in 0..SWEEPS {
            let forth = sweep % 2 == 0;
            for n in 0..self.layers.len() {
                let layer = if forth { n } else { self.layers.len() - 1 - n };
                let mut items = std::mem::take(&mut self.layers[layer]);
                let joined = |item: usize| if forth { &self.before[item] } else { &self.after[item] };
                let centre = |item: usize| {
                    let places: f64 = joined(item).iter().map(|(other, _)| self.place[*other] as f64).sum();
                    if joined(item).is_empty() { self.place[item] as f64 } else { places / joined(item).len() as f64 }
                };
                items.sort_by(|a, b| centre(*a).total_cmp(&centre(*b)));
                self.layers[layer] = items;
                self.number(layer);
                self.swap(layer);
            }
            let crossings = self.crossings();
            if crossings < least {
                (best, least) = (self.layers.clone(), crossings);
            }
        }
        self.layers = best;
        (0..self.layers.len()).for_each(|layer| self.number(layer));
    }

    /// Swaps neighbours of a layer as long as edges cross less for it.
    fn swap(&mut self, layer: usize) {
        for at in 1..self.layers[layer].len() {
            let (upper, lower) = (self.layers[layer][at - 1], self.layers[layer][at]);
            if self.between(lower, upper) < self.between(upper, lower) {
                self.layers[layer].swap(at - 1, at);
                self.number(layer);
            }
        }
    }

    /// Crossings of the edges of two items of a layer, the first of which stands above.
    fn between(&self, upper: usize, lower: usize) -> usize {
        let count = |upper: &[(usize, f64)], lower: &[(usize, f64)]| -> usize {
            let above = |u: usize| lower.iter().filter(|(l, _)| self.place[*l] < self.place[u]).count();
            upper.iter().map(|(u, _)| above(*u)).sum()
        };
        count(&self.before[upper], &self.before[lower]) + count(&self.after[upper], &self.after[lower])
    }

    fn crossings(&self) -> usize {
        let of = |items: &Vec<usize>| {
            let pairs =
                items.iter().enumerate().flat_map(|(at, upper)| items[at + 1..].iter().map(move |l| (upper, l)));
            pairs.map(|(upper, lower)| self.between(*upper, *lower)).sum::<usize>()
        };
        // Each crossing is seen from both of its layers.
        self.layers.iter().map(of).sum()
    }

    /// The middle of each item.
    fn heights(&self) -> Vec<f64> {
        let mut y: Vec<f64> = self.place.iter().map(|place| *place as f64 * (HEIGHT + APART)).collect();
        for sweep in 0..SWEEPS {
            // The last way is from left to right: what goes straight on does so to the end.
            let forth = sweep % 2 == 1;
            for n in 0..self.layers.len() {
                let layer = if forth { n } else { self.layers.len() - 1 - n };
                let wish = |item: usize| {
                    let joined = if forth { &self.before[item] } else { &self.after[item] };
                    let weight: f64 = joined.iter().map(|(_, w)| w).sum();
                    let sum: f64 = joined.iter().map(|(other, w)| y[*other] * w).sum();
                    if weight > 0.0 { (sum / weight, weight) } else { (y[item], 1e-6) }
                };
                let wishes: Vec<(f64, f64)> = self.layers[layer].iter().map(|item| wish(*item)).collect();
                for (item, height) in self.layers[layer].iter().zip(self.nearest(&self.layers[layer], &wishes)) {
                    y[*item] = height;
                }
            }
        }
        let top = y.iter().enumerate().map(|(item, y)| y - self.half(item)).fold(f64::INFINITY, f64::min);
        y.iter().map(|y| (y - top + MARGIN).round()).collect()
    }

    /// Heights nearest to what is wished (and how much), in order and apart: neighbours that are too near become a block,
    /// which lies at the mean of its wishes.
    fn nearest(&self, items: &[usize], wishes: &[(f64, f64)]) -> Vec<f64> {
        let mut offsets = Vec::with_capacity(items.len());
        let mut offset = 0.0;
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                offset += self.apart(items[at - 1], *item);
            }
            offsets.push(offset);
        }
        // Where a block begins, its weight, how many it has.
        let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
        for (offset, (wish, weight)) in offsets.iter().zip(wishes) {
            let mut block = (wish - offset, *weight, 1);
            while let Some(last) = blocks.pop_if(|last| last.0 >= block.0) {
                let weight = last.1 + block.1;
                block = ((last.0 * last.1 + block.0 * block.1) / weight, weight, last.2 + block.2);
            }
            blocks.push(block);
        }
        let starts = blocks.iter().flat_map(|(start, _, count)| std::iter::repeat_n(*start, *count));
        starts.zip(offsets).map(|(start, offset)| start + offset).collect()
    }

    fn half(&self, item: usize) -> f64 {
        if item < self.stages { HEIGHT / 2.0 } else { 0.0 }
    }

    fn apart(&self, a: usize, b: usize) -> f64 {
        let gap = if a < self.stages && b < self.stages { APART } else { AROUND_BEND };
        self.half(a) + self.half(b) + gap
    }
}

/// The picture of a plan.
pub(crate) fn of_plan(plan: &Plan) -> Layout {
    let input = |edge: &Edge| Input {
        from: edge.from,
        rejects: edge.rejects,
        exchange: matches!(edge.route, Route::Exchange(_)),
    };
    let node =
        |stage: &PlannedStage| Node { name: stage.name.clone(), inputs: stage.edges.iter().map(input).collect() };
    layout(&plan.stages.iter().map(node).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
