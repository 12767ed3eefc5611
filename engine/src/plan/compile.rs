//! Spec and registry to plan; goes on after an error, so that all problems are shown at once.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{Edge, Plan, PlannedStage, order, rejects};
use crate::registry::{Config, Kind, Registry, StageSettings};
use crate::secret;
use crate::spec::{Problem, Problems, STAGE_KEYS, Spec, StageSpec, place};
use crate::stage::{Input, ResolveContext, Role};
use crate::storage::{Storage, absolute};

/// Compiles a spec.
///
/// # Errors
/// All problems at once. A stage whose input has problems is not checked further: its own would be consequences.
pub fn compile(spec: &Spec, registry: &Registry, runtime: &tokio::runtime::Handle) -> Result<Plan, Problems> {
    let storage = Storage::new(spec.header.storage.clone());
    let context = ResolveContext { storage: storage.clone(), runtime: runtime.clone() };
    let mut compiler = Compiler { spec, registry, context, problems: Vec::new(), done: BTreeMap::new() };
    if let Err(error) = storage.open(&spec.header.state) {
        compiler.problems.push(Problem::new(error.to_string()).at(spec.state_span.clone()).label("here"));
    }
    let order = compiler.order();
    for index in order {
        compiler.stage(index);
    }
    compiler.finish(storage)
}

struct Compiler<'a> {
    spec: &'a Spec,
    registry: &'a Registry,
    context: ResolveContext,
    problems: Vec<Problem>,
    /// Stages that are right, by index in the spec.
    done: BTreeMap<usize, PlannedStage>,
}

impl<'a> Compiler<'a> {
    /// References first: they can be judged without any stage.
    fn order(&mut self) -> Vec<usize> {
        let stages = &self.spec.stages;
        for stage in stages {
            for input in &stage.inputs {
                if !stages.iter().any(|s| s.name.name == input.stage) {
                    self.problems.push(
                        Problem::new(format!("`{}` reads from `{}`, which is not a stage", stage.name.name, input.stage))
                            .at(input.span.clone())
                            .label("no such stage")
                            .suggest(&input.stage, stages.iter().map(|s| s.name.name.as_str()).filter(|n| *n != stage.name.name), "stages"),
                    );
                }
            }
        }
        match order::order(stages) {
            Ok(order) => order,
            Err(cycles) => {
                self.problems.extend(cycles);
                // Still look at every stage's own configuration.
                (0..stages.len()).collect()
            }
        }
    }

    fn stage(&mut self, index: usize) {
        let spec = self.spec;
        let stage = &spec.stages[index];
        let Some(kind) = self.kind(stage) else { return };
        let Some(mut config) = self.config(stage, kind) else { return };
        if !self.arity(stage, kind.role) {
            return;
        }
        if let Err(problems) = config.resolve(&self.context) {
            return self.report(stage, problems);
        }
        let Some((edges, inputs, mut lineage)) = self.inputs(stage, kind.role) else { return };
        match config.check(&inputs) {
            Err(problems) => self.report(stage, problems),
            Ok(outputs) => {
                let mut edges = edges;
                for (edge, at) in edges.iter_mut().zip(0..) {
                    let input = if kind.role == Role::Operator { at } else { 0 };
                    edge.route = outputs.routes.get(input).cloned().unwrap_or_default();
                }
                lineage.extend(outputs.lineage.clone());
                let planned = PlannedStage {
                    name: stage.name.name.clone(),
                    kind: kind.name.into(),
                    role: kind.role,
                    settings: StageSettings(config.into()),
                    edges,
                    inputs,
                    outputs,
                    lineage,
                };
                self.done.insert(index, planned);
            }
        }
    }

    fn kind(&mut self, stage: &StageSpec) -> Option<&'a Kind> {
        let registry = self.registry;
        let found = registry.kind(&stage.kind.name);
        if found.is_none() {
            self.problems.push(
                Problem::new(format!("unknown kind `{}`", stage.kind.name))
                    .at(stage.kind.span.clone())
                    .label("not a kind")
                    .suggest(&stage.kind.name, registry.kinds().map(|k| k.name), "kinds"),
            );
        }
        found
    }

    fn config(&mut self, stage: &StageSpec, kind: &Kind) -> Option<Box<dyn Config>> {
        match kind.config(&own_config(stage)) {
            Ok(config) => Some(config),
            Err(problems) => {
                self.report(stage, problems);
                None
            }
        }
    }

    fn arity(&mut self, stage: &StageSpec, role: Role) -> bool {
        let name = &stage.name.name;
        let problem = match (role, stage.inputs.first()) {
            (Role::Source, Some(input)) => Problem::new(format!("`{name}` is a source and reads from no other stage"))
                .at(input.span.clone())
                .label("remove this"),
            (Role::Source, None) | (_, Some(_)) => return true,
            (_, None) => {
                let others: Vec<String> = self.spec.stages.iter().filter(|s| &s.name.name != name).map(|s| format!("`{}`", s.name.name)).collect();
                Problem::new(format!("`{name}` has no `input`"))
                    .at(stage.name.span.clone())
                    .label("this stage")
                    .help(format!("add `input:` with the stage that it reads from: {}", others.join(", ")))
            }
        };
        self.problems.push(problem);
        false
    }

    /// Edges and inputs of a stage, if everything upstream is right.
    fn inputs(&mut self, stage: &StageSpec, role: Role) -> Option<(Vec<Edge>, Vec<Input>, BTreeMap<String, String>)> {
        let (mut edges, mut inputs, mut lineage) = (Vec::new(), Vec::<Input>::new(), BTreeMap::new());
        for reference in &stage.inputs {
            let from = self.spec.stages.iter().position(|s| s.name.name == reference.stage)?;
            let upstream = self.done.get(&from)?;
            let schema = if reference.rejects { rejects::schema() } else { upstream.outputs.schema.clone() };
            let keys = upstream.outputs.keys.clone().filter(|_| !reference.rejects);
            if reference.rejects && !upstream.outputs.rejects {
                let problem = Problem::new(format!("`{}` rejects no rows", reference.stage))
                    .at(reference.span.clone())
                    .label("never has rows")
                    .help(format!("set `on_bad_row: quarantine` on `{}`, if its kind `{}` has it", reference.stage, upstream.kind));
                self.problems.push(problem);
                return None;
            }
            if !reference.rejects {
                lineage.extend(upstream.lineage.clone());
            }
            edges.push(Edge { from, rejects: reference.rejects, route: Default::default() });
            let input = Input { from: reference.text(), schema, keys };
            match inputs.first() {
                Some(first) if role != Role::Operator => {
                    if first.schema.fields() != input.schema.fields() || first.keys != input.keys {
                        let problem = Problem::new(format!("`{}` and `{}` have different columns", first.from, input.from))
                            .at(reference.span.clone())
                            .label("cannot be merged")
                            .help("several inputs of a stage must have the same columns, types and keys: bring them to one form with a `sql` stage each");
                        self.problems.push(problem);
                        return None;
                    }
                }
                _ => inputs.push(input),
            }
        }
        Some((edges, inputs, lineage))
    }

    fn report(&mut self, stage: &StageSpec, problems: Vec<Problem>) {
        self.problems.extend(problems.into_iter().map(|p| place(&stage.node, p)));
    }

    fn finish(mut self, storage: Storage) -> Result<Plan, Problems> {
        self.tables();
        self.loose_ends();
        let spec = self.spec;
        if !self.problems.is_empty() {
            return Err(Problems::new(&spec.file, &spec.text, self.problems));
        }
        // Indices now mean places in the plan, where inputs come first.
        let order = order::order(&spec.stages).unwrap_or_default();
        let place: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let mut stages = Vec::with_capacity(order.len());
        for old in &order {
            let Some(mut stage) = self.done.remove(old) else { continue };
            for edge in &mut stage.edges {
                edge.from = place.get(&edge.from).copied().unwrap_or(edge.from);
            }
            stages.push(stage);
        }
        let hash = hash(spec, &order, &stages);
        Ok(Plan {
            pipeline: spec.header.pipeline.clone(),
            description: spec.header.description.clone(),
            state: spec.header.state.clone(),
            limits: spec.header.epoch.clone(),
            storage,
            stages,
            hash,
        })
    }

    /// Two stages must not write one table.
    fn tables(&mut self) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (&index, stage) in &self.done {
            let Some(table) = &stage.outputs.table else { continue };
            let url = absolute(&table.url).map_or_else(|_| table.url.clone(), |u| u.to_string()).trim_end_matches('/').to_owned();
            if let Some(first) = seen.insert(url, index) {
                let (first, second) = (&self.spec.stages[first], &self.spec.stages[index]);
                let path = ["table".to_owned()];
                self.problems.push(
                    Problem::new(format!("`{}` and `{}` write the same table", first.name.name, second.name.name))
                        .at(second.node.locate(&path, false))
                        .label("second writer")
                        .also(first.node.locate(&path, false), "first writer")
                        .help("give each stage a table of its own; to merge rows, list both inputs on one stage: `input: [a, b]`"),
                );
            }
        }
    }

    /// Rows that would silently go nowhere.
    fn loose_ends(&mut self) {
        for (&index, stage) in &self.done {
            let spec = &self.spec.stages[index];
            let read = |rejects: bool| {
                self.spec.stages.iter().flat_map(|s| &s.inputs).any(|i| i.stage == stage.name && i.rejects == rejects)
            };
            if stage.outputs.rejects && !read(true) {
                self.problems.push(
                    Problem::new(format!("rows that `{}` rejects go nowhere", stage.name))
                        .at(spec.node.locate(&["on_bad_row".into()], false))
                        .label("rejects rows")
                        .help(format!("add a table for them: `quarantine: {{ kind: delta, input: {}.rejects, table: … }}`, or let bad rows `fail` or `drop`", stage.name)),
                );
            }
            if stage.role != Role::Sink && !read(false) {
                self.problems.push(
                    Problem::new(format!("the rows of `{}` go nowhere", stage.name))
                        .at(spec.name.span.clone())
                        .label("nothing reads from this stage")
                        .help(format!("let a stage read from it (`input: {}`), send it to a `blackhole`, or remove it", stage.name)),
                );
            }
        }
    }
}

/// What belongs to the kind: the stage's mapping without the engine's keys.
fn own_config(stage: &StageSpec) -> Json {
    let mut json = stage.node.to_json();
    if let Some(map) = json.as_object_mut() {
        map.retain(|key, _| !STAGE_KEYS.contains(&key.as_str()));
    }
    json
}

/// Over everything that decides which rows come out.
fn hash(spec: &Spec, order: &[usize], stages: &[PlannedStage]) -> String {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(&spec.header.pipeline);
    for (old, stage) in order.iter().zip(stages) {
        let spec = &spec.stages[*old];
        add(&stage.name);
        add(&stage.kind);
        for input in &spec.inputs {
            add(&input.text());
        }
        add(&secret::redact(&own_config(spec).to_string()));
        for (name, value) in &stage.outputs.lineage {
            add(name);
            add(value);
        }
    }
    hasher.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

