//! Pictures of small, wide and long plans.

use super::{Input, Layout, Node, Place, layout};

/// Stages by name with the numbers of their inputs; a negative one is of rejects.
fn plan(stages: &[(&str, &[isize])]) -> Vec<Node> {
    let input = |from: &isize| Input { from: from.unsigned_abs(), rejects: *from < 0, exchange: false };
    let node = |(name, inputs): &(&str, &[isize])| Node {
        name: (*name).to_owned(),
        inputs: inputs.iter().map(input).collect(),
    };
    stages.iter().map(node).collect()
}

/// Ten sources, each through five stages; joins between neighbours, and one table that takes the rejects of all.
fn large() -> Vec<Node> {
    let rows = |from: usize| Input { from, rejects: false, exchange: from.is_multiple_of(3) };
    let mut nodes = Vec::new();
    for way in 0..10 {
        for part in 0..6_usize {
            let here = nodes.len();
            let mut inputs: Vec<Input> = (part > 0).then(|| rows(here - 1)).into_iter().collect();
            if way > 0 && part == 3 {
                inputs.push(rows(here - 5));
            }
            if (way, part) == (9, 5) {
                inputs = (0..9).map(|way| Input { rejects: true, ..rows(way * 6) }).collect();
            }
            nodes.push(Node { name: format!("stage_{way}_{part}"), inputs });
        }
    }
    nodes
}

fn place<'a>(drawn: &'a Layout, name: &str) -> &'a Place {
    drawn.nodes.iter().find(|place| place.stage == name).unwrap()
}

fn middle(place: &Place) -> f64 {
    place.y + place.height / 2.0
}

/// What must hold of every picture.
fn assert_readable(nodes: &[Node]) -> Layout {
    let drawn = layout(nodes);
    assert_eq!(drawn.nodes.len(), nodes.len());
    assert_eq!(drawn.edges.len(), nodes.iter().map(|node| node.inputs.len()).sum::<usize>());
    for (at, a) in drawn.nodes.iter().enumerate() {
        let inside = a.x >= 0.0 && a.y >= 0.0 && a.x + a.width <= drawn.width && a.y + a.height <= drawn.height;
        assert!(inside, "{a:?} is outside of {} x {}", drawn.width, drawn.height);
        for b in &drawn.nodes[at + 1..] {
            let apart = a.x + a.width < b.x || b.x + b.width < a.x || a.y + a.height < b.y || b.y + b.height < a.y;
            assert!(apart, "{a:?} lies on {b:?}");
        }
    }
    for edge in &drawn.edges {
        let (from, to) = (place(&drawn, &edge.from), place(&drawn, &edge.to));
        assert_eq!((edge.points[0][0], edge.points[edge.points.len() - 1][0]), (from.x + from.width, to.x), "{edge:?}");
        for pair in edge.points.windows(2) {
            assert!(pair[0][0] < pair[1][0], "from left to right: {edge:?}");
            // Between layers an edge rises or falls; where boxes are it is level, and beside them.
            for node in drawn.nodes.iter().filter(|node| node.x < pair[1][0] && pair[0][0] < node.x + node.width) {
                assert_eq!(pair[0][1], pair[1][1], "{edge:?}");
                assert!(pair[0][1] < node.y || node.y + node.height < pair[0][1], "{edge:?} through {node:?}");
            }
        }
        for (end, of) in [(edge.points[0], from), (edge.points[edge.points.len() - 1], to)] {
            assert!(of.y < end[1] && end[1] < of.y + of.height, "{end:?} is not at {of:?}");
        }
    }
    assert_eq!(layout(nodes), drawn, "the same plan is the same picture");
    drawn
}

/// Pairs of edges between the same two layers that cross.
fn crossings(drawn: &Layout) -> usize {
    let parts: Vec<_> = drawn.edges.iter().flat_map(|edge| edge.points.windows(2)).collect();
    let pairs = parts.iter().enumerate().flat_map(|(at, a)| parts[at + 1..].iter().map(move |b| (a, b)));
    let cross =
        |(a, b): &(&&[[f64; 2]], &&[[f64; 2]])| a[0][0] == b[0][0] && (a[0][1] - b[0][1]) * (a[1][1] - b[1][1]) < 0.0;
    pairs.filter(cross).count()
}

#[test]
fn a_chain_is_a_straight_line() {
    let drawn = assert_readable(&plan(&[("a", &[]), ("b", &[0]), ("c", &[1]), ("d", &[2])]));
    for edge in &drawn.edges {
        assert_eq!(edge.points[0][1], edge.points[1][1], "{edge:?}");
    }
}

#[test]
fn a_diamond_is_even() {
    let drawn = assert_readable(&plan(&[("a", &[]), ("b", &[0]), ("c", &[0]), ("d", &[1, 2])]));
    assert_eq!(middle(place(&drawn, "a")), middle(place(&drawn, "d")));
    assert_eq!(place(&drawn, "b").x, place(&drawn, "c").x);
    assert_eq!(crossings(&drawn), 0);
}

#[test]
fn rejects_do_not_bend_the_way_of_rows() {
    let stages: &[(&str, &[isize])] =
        &[("none", &[]), ("tweets", &[]), ("bronze", &[1]), ("clean", &[2]), ("silver", &[3]), ("bad", &[-1, -3])];
    let drawn = assert_readable(&plan(stages));
    for name in ["bronze", "clean", "silver"] {
        assert_eq!(middle(place(&drawn, name)), middle(place(&drawn, "tweets")), "{name}");
    }
    assert_eq!(drawn.edges.iter().filter(|edge| edge.rejects).count(), 2);
}

#[test]
fn an_edge_goes_around_what_is_between() {
    let drawn = assert_readable(&plan(&[("a", &[]), ("b", &[0]), ("c", &[1]), ("d", &[2, 0])]));
    let long = drawn.edges.iter().find(|edge| (edge.from.as_str(), edge.to.as_str()) == ("a", "d")).unwrap();
    assert_eq!(long.points.len(), 6, "two bends, each as wide as a box: {long:?}");
}

#[test]
fn crossings_that_need_not_be_are_not() {
    let stages: &[(&str, &[isize])] =
        &[("a", &[]), ("b", &[]), ("c", &[]), ("x", &[2]), ("y", &[1]), ("z", &[0]), ("u", &[5]), ("v", &[3])];
    assert_eq!(crossings(&assert_readable(&plan(stages))), 0);
}

#[test]
fn sixty_stages_are_readable() {
    let nodes = large();
    assert_eq!(nodes.len(), 60);
    let drawn = assert_readable(&nodes);
    let crossings = crossings(&drawn);
    assert!(crossings <= 16, "{crossings} crossings");
}

#[test]
fn a_stage_with_many_inputs_has_room_for_all() {
    let mut nodes: Vec<Node> = (0..12).map(|n| Node { name: format!("source_{n}"), inputs: Vec::new() }).collect();
    let inputs = (0..12).map(|from| Input { from, rejects: from > 8, exchange: true }).collect();
    nodes.push(Node { name: "all".to_owned(), inputs });
    let drawn = assert_readable(&nodes);
    assert_eq!(crossings(&drawn), 0);
    let mut ends: Vec<f64> = drawn.edges.iter().map(|edge| edge.points[1][1]).collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    assert_eq!(ends.len(), 12, "each has its own place: {ends:?}");
}

#[test]
fn nothing_is_an_empty_picture() {
    let drawn = layout(&[]);
    assert!(drawn.nodes.is_empty() && drawn.edges.is_empty() && drawn.width.is_finite() && drawn.height.is_finite());
}
