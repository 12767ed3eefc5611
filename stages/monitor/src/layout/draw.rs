//! From heights to boxes and points of edges.

use super::{FLAT, GAP, Graph, HEIGHT, Layout, MARGIN, Node, PORT, Place, STEEP, Wire};

impl Graph {
    pub(super) fn draw(&self, stages: &[Node], y: &[f64]) -> Layout {
        let mut x = MARGIN;
        let mut left = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let rise =
                |item: &usize| self.after[*item].iter().map(|(to, _)| (y[*to] - y[*item]).abs()).fold(0.0, f64::max);
            left.push(x);
            let steep = layer.iter().map(rise).fold(0.0, f64::max) - FLAT;
            x += self.width + GAP + (steep / 8.0).round().clamp(0.0, STEEP);
        }
        let place = |(stage, node): (usize, &Node)| Place {
            stage: node.name.clone(),
            x: left[self.layer[stage]],
            y: y[stage] - HEIGHT / 2.0,
            width: self.width,
            height: HEIGHT,
        };
        let wire = |edge: usize| {
            let (to, input, chain) = &self.chains[edge];
            let last = chain.len() - 1;
            let mut points = vec![[left[self.layer[chain[0]]] + self.width, y[chain[0]] + self.port(edge, true, y)]];
            for bend in &chain[1..last] {
                let x = left[self.layer[*bend]];
                points.extend([[x, y[*bend]], [x + self.width, y[*bend]]]);
            }
            points.push([left[self.layer[*to]], y[*to] + self.port(edge, false, y)]);
            let (from, to) = (stages[input.from].name.clone(), stages[*to].name.clone());
            Wire { from, to, rejects: input.rejects, exchange: input.exchange, points }
        };
        let lowest = y.iter().enumerate().map(|(item, y)| y + self.half(item)).fold(0.0, f64::max);
        let right = left.last().map_or(0.0, |x| x + self.width);
        Layout {
            width: right + MARGIN,
            height: lowest + MARGIN,
            nodes: stages.iter().enumerate().map(place).collect(),
            edges: (0..self.chains.len()).map(wire).collect(),
        }
    }

    /// How far from the middle of its first or last box an edge ends. The only one that is not of rejects is in the middle.
    fn port(&self, edge: usize, leaves: bool, y: &[f64]) -> f64 {
        let end = |edge: usize| {
            let chain = &self.chains[edge].2;
            if leaves { (chain[0], chain[1]) } else { (chain[chain.len() - 1], chain[chain.len() - 2]) }
        };
        let mut here: Vec<usize> = (0..self.chains.len()).filter(|other| end(*other).0 == end(edge).0).collect();
        here.sort_by(|a, b| y[end(*a).1].total_cmp(&y[end(*b).1]));
        let at = |edge: usize| here.iter().position(|other| *other == edge).unwrap_or(0) as f64;
        let mut rows = here.iter().filter(|other| !self.chains[**other].1.rejects);
        let middle = match (rows.next(), rows.next()) {
            (Some(only), None) => at(*only),
            _ => (here.len() - 1) as f64 / 2.0,
        };
        let between = PORT.min((HEIGHT / 2.0 - PORT) / middle.max((here.len() - 1) as f64 - middle).max(1.0));
        ((at(edge) - middle) * between).round()
    }
}
