//! A plan as a picture, for tools that draw text.

use std::fmt::Write;

use super::Plan;
use crate::stage::{Role, Route};

/// Mermaid, as rendered by GitHub and many editors.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    for (index, stage) in plan.stages.iter().enumerate() {
        let (open, close) = match (stage.role, &stage.outputs.table) {
            (Role::Source, _) => ("([", "])"),
            (_, Some(_)) => ("[(", ")]"),
            (Role::Operator, _) => ("{{", "}}"),
            _ => ("[", "]"),
        };
        let _ = writeln!(out, "  s{index}{open}\"{}<br/><small>{}</small>\"{close}", stage.name, stage.kind);
    }
    for (index, stage) in plan.stages.iter().enumerate() {
        for edge in &stage.edges {
            let arrow = if edge.rejects {
                "-. rejects .->".into()
            } else {
                label(&edge.route).map_or("-->".into(), |l| format!("-- \"{l}\" -->"))
            };
            let _ = writeln!(out, "  s{} {arrow} s{index}", edge.from);
        }
    }
    out
}

/// Graphviz.
pub fn dot(plan: &Plan) -> String {
    let mut out = format!("digraph \"{}\" {{\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n", plan.pipeline);
    for (index, stage) in plan.stages.iter().enumerate() {
        let shape = match (stage.role, &stage.outputs.table) {
            (Role::Source, _) => "oval",
            (_, Some(_)) => "cylinder",
            (Role::Operator, _) => "hexagon",
            _ => "box",
        };
        let _ = writeln!(out, "  s{index} [label=\"{}\\n{}\", shape={shape}];", stage.name, stage.kind);
    }
    for (index, stage) in plan.stages.iter().enumerate() {
        for edge in &stage.edges {
            let attributes = match (edge.rejects, label(&edge.route)) {
                (true, _) => " [label=\"rejects\", style=dashed]".into(),
                (false, Some(label)) => format!(" [label=\"{label}\"]"),
                (false, None) => String::new(),
            };
            let _ = writeln!(out, "  s{} -> s{index}{attributes};", edge.from);
        }
    }
    out.push_str("}\n");
    out
}

/// Column names may be anything; both languages put labels between double quotes.
fn label(route: &Route) -> Option<String> {
    match route {
        Route::Pipeline => None,
        Route::Exchange(keys) => Some(format!("by {}", keys.join(", ").replace(['"', '\\'], "'"))),
    }
}
