//! Spec and registry to plan; goes on after an error, so that all problems are shown at once.

use std::collections::BTreeMap;

use super::keys::{has_input, misspelt_input, other_side, own_config, with_engine_keys};
use super::{Edge, Plan, PlannedStage, hash, order, rejects, report, whole};
use crate::registry::{Config, Kind, Registry, StageSettings};
use crate::spec::{Key, Problem, Problems, Spec, StageSpec, help, place, validate};
use crate::stage::{DIFF, Input, ResolveContext, Role};
use crate::storage::Storage;

/// Compiles a spec.
///
/// # Errors
/// All problems at once, those of the spec's text among them. A stage whose input has problems is not checked further:
/// its own would be consequences.
pub fn compile(spec: &Spec, registry: &Registry, runtime: &tokio::runtime::Handle) -> Result<Plan, Problems> {
    let storage = storage(spec);
    Compiler::new(spec, registry, runtime, &storage, false).finish(storage)
}

/// What there is of a plan, and what is missing.
pub(crate) struct Attempt {
    /// All of it if nothing is missing, and otherwise good only for looking at its parts.
    pub(crate) plan: Plan,
    /// Stages that cannot be resolved: why.
    pub(crate) unresolved: Vec<(String, Problem)>,
    /// Stages that read from one of these, and could not be checked.
    pub(crate) unchecked: Vec<(String, StageSettings)>,
}

/// Compiles a spec as far as that is possible where something that it needs is not there. A store that does not answer
/// is given up soon.
///
/// # Errors
/// All problems of a spec that is wrong in itself.
pub(crate) fn attempt(spec: &Spec, registry: &Registry, runtime: &tokio::runtime::Handle) -> Result<Attempt, Problems> {
    let storage = storage(spec);
    let mut compiler = Compiler::new(spec, registry, runtime, &storage.impatient(), true);
    let name = |stage: usize| spec.stages.get(stage).map(|s| s.name.name.clone()).unwrap_or_default();
    let unresolved = compiler.unresolved.iter().map(|(stage, problem)| (name(*stage), problem.clone())).collect();
    let unchecked = std::mem::take(&mut compiler.unchecked).into_iter();
    let unchecked = unchecked.map(|(stage, config)| (name(stage), StageSettings(config.into()))).collect();
    Ok(Attempt { plan: compiler.finish(storage)?, unresolved, unchecked })
}

fn storage(spec: &Spec) -> Storage {
    Storage::new(spec.header.as_ref().map(|h| h.storage.clone()).unwrap_or_default())
}

/// Edges and inputs of a stage, and the facts about its data.
type Upstream = (Vec<Edge>, Vec<Input>, BTreeMap<String, String>);

struct Compiler<'a> {
    spec: &'a Spec,
    registry: &'a Registry,
    context: ResolveContext,
    problems: Vec<Problem>,
    /// Stages that are right, by index in the spec.
    done: BTreeMap<usize, PlannedStage>,
    /// It is not known what some stage reads: nothing can be said about who reads from a stage.
    unclear: bool,
    /// That a stage cannot be resolved is no problem of the spec.
    lenient: bool,
    unresolved: Vec<(usize, Problem)>,
    unchecked: Vec<(usize, Box<dyn Config>)>,
}

impl<'a> Compiler<'a> {
    /// Looks at every stage.
    fn new(
        spec: &'a Spec,
        registry: &'a Registry,
        runtime: &tokio::runtime::Handle,
        storage: &Storage,
        lenient: bool,
    ) -> Self {
        let header = spec.header.as_ref();
        let state = header.map(|h| h.state.clone());
        let context = ResolveContext {
            storage: storage.clone(),
            runtime: runtime.clone(),
            stage: String::new(),
            tables: registry.tables.clone(),
            state,
        };
        let unclear = spec.stages.iter().any(|s| s.kind.is_none() || s.inputs_unclear);
        let mut compiler = Self {
            spec,
            registry,
            context,
            problems: Vec::new(),
            done: BTreeMap::new(),
            unclear,
            lenient,
            unresolved: Vec::new(),
            unchecked: Vec::new(),
        };
        if let Some(Err(problems)) = header.map(|h| compiler.context.openable("state", &h.state)) {
            compiler.problems.extend(problems.into_iter().map(|p| p.at(spec.state_span.clone())));
        }
        for index in compiler.order() {
            compiler.stage(index);
        }
        compiler
    }

    /// References first: they can be judged without any stage.
    fn order(&mut self) -> Vec<usize> {
        let stages = &self.spec.stages;
        for stage in stages {
            for input in &stage.inputs {
                if !stages.iter().any(|s| s.name.name == input.stage) {
                    self.unclear = true;
                    self.problems.push(
                        Problem::new(format!(
                            "`{}` reads from `{}`, which is not a stage",
                            stage.name.name, input.stage
                        ))
                        .at(input.span.clone())
                        .label("no such stage")
                        .suggest(
                            &input.stage,
                            stages.iter().map(|s| s.name.name.as_str()).filter(|n| *n != stage.name.name),
                            "stages",
                        ),
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
        let Some(name) = &stage.kind else { return };
        let Some(kind) = self.kind(stage, name) else { return };
        let connected = self.arity(stage, kind);
        let Some(mut config) = self.config(stage, kind).filter(|_| connected) else { return };
        self.context.stage.clone_from(&stage.name.name);
        if let Err(problems) = config.resolve(&self.context) {
            if self.lenient {
                return self.unresolved.extend(problems.into_iter().map(|problem| (index, problem)));
            }
            return self.report(stage, problems);
        }
        let Some((mut edges, inputs, mut lineage)) = self.inputs(stage, kind.role) else {
            return self.unchecked.push((index, config));
        };
        match config.check(&inputs) {
            Err(problems) => self.report(stage, problems),
            Ok(outputs) if outputs.changes.is_none() && inputs.iter().any(|i| i.changes.is_some()) => {
                self.problems.extend(whole::unfit_changes(stage, kind.name, &inputs));
            }
            Ok(outputs) if outputs.schema.index_of(DIFF).is_ok() != outputs.changes.is_some() => {
                let problem = Problem::new(format!("`{}` gives a column `{DIFF}`", stage.name.name)).help(
                    "the name is taken: it says how often a row is added or taken away. Give the column another one",
                );
                self.report(stage, vec![problem]);
            }
            Ok(mut outputs) => {
                for (edge, at) in edges.iter_mut().zip(0..) {
                    let input = if kind.role == Role::Operator { at } else { 0 };
                    edge.route = outputs.routes.get(input).cloned().unwrap_or_default();
                }
                if let Some(state) = &mut outputs.state {
                    state.fingerprint = hash::of([state.fingerprint.as_str()]);
                }
                let come = inputs.iter().flat_map(|i| &i.evolved).filter(|c| outputs.schema.index_of(c).is_ok());
                outputs.evolved.extend(come.cloned());
                lineage.extend(outputs.lineage.clone());
                let planned = PlannedStage {
                    name: stage.name.name.clone(),
                    description: stage.node.get("description").and_then(|d| d.text()).map(Into::into),
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

    fn kind(&mut self, stage: &StageSpec, name: &Key) -> Option<&'a Kind> {
        let registry = self.registry;
        let found = registry.kind(&name.name, has_input(registry, stage));
        if found.is_none() {
            self.unclear |= stage.inputs.is_empty();
            self.problems.push(
                Problem::new(format!("unknown kind `{}`", name.name))
                    .at(name.span.clone())
                    .label("not a kind")
                    .suggest(&name.name, registry.names(), "kinds"),
            );
        }
        found
    }

    fn config(&mut self, stage: &StageSpec, kind: &Kind) -> Option<Box<dyn Config>> {
        let mut json = stage.node.to_json();
        if let Some(map) = json.as_object_mut() {
            map.retain(|key, _| key != "kind" && key != "input");
        }
        let problems = validate(&with_engine_keys(kind), &json);
        let config = if problems.is_empty() { kind.config(&own_config(stage)) } else { Err(problems) };
        let twin = self.registry.twin(kind);
        let explained = |problems: Vec<Problem>| problems.into_iter().map(|p| other_side(kind, twin, p)).collect();
        config.map_err(|problems| self.report(stage, explained(problems))).ok()
    }

    /// Whether it has inputs as its role demands.
    fn arity(&mut self, stage: &StageSpec, kind: &Kind) -> bool {
        let name = &stage.name.name;
        let problem = match (kind.role, stage.inputs.first()) {
            (Role::Source, Some(input)) => Problem::new(format!("`{name}` is a source and reads from no other stage"))
                .at(input.span.clone())
                .label("remove this")
                .help(format!(
                    "a stage of kind `{}` brings rows in; to read from a stage, use a kind that is not a source",
                    kind.name
                )),
            (Role::Source, None) => return !stage.inputs_unclear,
            (_, Some(_)) => return true,
            (_, None) => {
                self.unclear = true;
                if stage.inputs_unclear || misspelt_input(kind, stage) {
                    return false;
                }
                let others: Vec<String> = self
                    .spec
                    .stages
                    .iter()
                    .filter(|s| &s.name.name != name)
                    .map(|s| format!("`{}`", s.name.name))
                    .collect();
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
    fn inputs(&mut self, stage: &StageSpec, role: Role) -> Option<Upstream> {
        let (mut edges, mut inputs, mut lineage) = (Vec::new(), Vec::<Input>::new(), BTreeMap::new());
        for reference in &stage.inputs {
            let from = self.spec.stages.iter().position(|s| s.name.name == reference.stage)?;
            let upstream = self.done.get(&from)?;
            let schema = if reference.rejects { rejects::schema() } else { upstream.outputs.schema.clone() };
            let changes = upstream.outputs.changes.clone().filter(|_| !reference.rejects);
            if reference.rejects && !upstream.outputs.rejects {
                let problem = Problem::new(format!("`{}` rejects no rows", reference.stage))
                    .at(reference.span.clone())
                    .label("never has rows")
                    .help(format!(
                        "set `on_bad_row: quarantine` on `{}`, if its kind `{}` has it",
                        reference.stage, upstream.kind
                    ));
                self.problems.push(problem);
                return None;
            }
            if !reference.rejects {
                lineage.extend(upstream.lineage.clone());
            }
            edges.push(Edge { from, rejects: reference.rejects, route: Default::default() });
            let evolved = if reference.rejects { Vec::new() } else { upstream.outputs.evolved.clone() };
            let input = Input { from: reference.text(), schema, changes, evolved };
            match inputs.first() {
                Some(first) if role != Role::Operator => {
                    if first.schema.fields() != input.schema.fields() || first.changes != input.changes {
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
        let kind = stage.kind.as_ref().and_then(|k| self.registry.kind(&k.name, has_input(self.registry, stage)));
        let placed = problems.into_iter().map(|mut p| {
            // Where a kind does not say what to do, its reference may.
            if let (None, Some(kind)) = (&p.help, kind) {
                p = help(&kind.schema, p, None);
            }
            if p.path.is_empty() && (p.label.is_none() || p.at_key) {
                p = p.label("this stage");
            }
            place(&stage.node, &stage.name.span, p)
        });
        self.problems.extend(placed);
    }

    fn finish(mut self, storage: Storage) -> Result<Plan, Problems> {
        let spec = self.spec;
        self.problems.extend(whole::tables(spec, &self.done));
        if !self.unclear {
            self.problems.extend(whole::loose_ends(spec, &self.done));
        }
        if let (Some(Some(shown)), Some(node)) = (spec.header.as_ref().map(|h| &h.report), &spec.report)
            && self.unresolved.is_empty()
        {
            let reader = self.registry.tables().filter(|_| self.done.len() == spec.stages.len());
            self.problems.extend(report::check(shown, node, spec, &self.done, reader, &self.context.runtime));
        }
        let mut problems = spec.problems.clone();
        problems.extend(self.problems.into_iter().filter(|p| !spec.is_consequence(p)));
        let Some(header) = spec.header.clone().filter(|_| problems.is_empty()) else {
            return Err(Problems::new(&spec.file, &spec.text, problems));
        };
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
        let specs = order.iter().filter_map(|old| spec.stages.get(*old));
        let hash = hash::plan(&header.pipeline, specs.zip(&stages));
        Ok(Plan {
            pipeline: header.pipeline,
            description: header.description,
            state: header.state,
            limits: header.epoch,
            storage,
            stages,
            hash,
            report: header.report,
            workers: self.registry.workers.clone(),
        })
    }
}
