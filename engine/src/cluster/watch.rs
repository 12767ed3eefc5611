//! A running cluster: beats, and what is done when they stop.
//!
//! Threads of their own do it, not tasks: rows that are decoded must not keep beats from going out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::control::{Anew, Incoming, Message, Start, frame};
use super::handshake::Facts;
use super::network::Network;
use super::voice::Voice;
use super::{ClusterOptions, fault, mesh};
use crate::bridge::FaultCell;
use crate::progress::{Progress, Snapshot};
use crate::runtime::{Control, RunHandle, Stop};
use crate::stage::{Fault, StageError};

/// Between two beats.
const BEAT: Duration = Duration::from_millis(500);
/// Whoever is silent for so long is taken for dead. Together with the way out, and the end of the run after it, this is
/// less than 5 s.
const SILENCE: Duration = Duration::from_millis(2_500);
/// A thread looks around so often while nothing comes.
const LOOK: Duration = Duration::from_millis(100);
/// What is said last may take so long, to all together.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// This process in a cluster.
pub(crate) struct Cluster {
    links: Arc<Links>,
    beats: Option<thread::JoinHandle<()>>,
}

struct Links {
    options: ClusterOptions,
    /// By process; none at this one's place.
    voices: Vec<Option<Voice>>,
    faults: FaultCell,
    progress: Arc<Progress>,
    run: RunHandle,
    /// What all processes know.
    controlled: Mutex<Control>,
    stop: Stop,
    state: Mutex<State>,
    changed: Condvar,
    /// No more beats.
    over: AtomicBool,
}

#[derive(Default)]
struct State {
    start: Option<Start>,
    finished: Vec<usize>,
}

impl Cluster {
    /// Waits for all others, checks them, and begins to watch them.
    ///
    /// # Errors
    /// Who has not come, or does not fit.
    pub(crate) async fn join(
        options: &ClusterOptions,
        facts: &Facts,
        faults: &FaultCell,
        run: &RunHandle,
        stop: &Stop,
    ) -> Result<(Self, Network), Fault> {
        let broken = |e: std::io::Error| fault(StageError::external("a connection cannot be set up").because(e));
        let (mut voices, mut ears, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for (process, peer) in mesh::connect(options, facts).await?.into_iter().enumerate() {
            let Some(peer) = peer else {
                voices.push(None);
                data.push(None);
                continue;
            };
            peer.control.set_read_timeout(Some(LOOK)).map_err(broken)?;
            voices.push(Some(Voice::start(process, peer.control.try_clone().map_err(broken)?).map_err(broken)?));
            ears.push((process, Incoming::new(peer.control)));
            data.push(Some(peer.data));
        }
        run.progress().set_process(options.process);
        let links = Arc::new(Links {
            options: options.clone(),
            voices,
            faults: faults.clone(),
            progress: run.progress(),
            run: run.clone(),
            controlled: Mutex::default(),
            stop: stop.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let start = |name: String, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name).spawn(work).map_err(broken)
        };
        for (process, incoming) in ears {
            let links = links.clone();
            start(format!("cluster:{process}"), Box::new(move || links.listen(process, incoming)))?;
        }
        let beating = links.clone();
        let beats = start("cluster:beats".into(), Box::new(move || beating.beat()))?;
        let network = Network::new(options.process, facts.workers, data);
        Ok((Self { links, beats: Some(beats) }, network))
    }

    /// This process as messages name it.
    pub(crate) fn name(&self) -> String {
        self.links.options.name(self.links.options.process)
    }

    /// Whether this process leads.
    pub(crate) fn leads(&self) -> bool {
        self.links.options.process == 0
    }

    /// Lets the others begin.
    pub(crate) fn start(&self, start: Start) {
        self.links.tell(&Message::Start(Box::new(start)));
    }

    /// Waits until the leader lets this process begin.
    ///
    /// # Errors
    /// The fault that came instead.
    pub(crate) fn wait_for_start(&self) -> Result<Start, Fault> {
        let mut state = self.links.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(start) = state.start.take() {
                return Ok(start);
            }
            if let Some(fault) = self.links.faults.take() {
                return Err(fault);
            }
            let waited = self.links.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
        }
    }

    /// Tells the others that this process has failed. They stop at once.
    pub(crate) fn fail(&self, fault: &Fault) {
        let anew = fault.error.to_resolve().map(|resolved| Anew {
            stage: fault.stage.clone(),
            message: fault.error.to_string(),
            resolved: resolved.clone(),
        });
        self.links.tell(&Message::Failed { fault: fault.to_string(), anew });
        self.links.voices().for_each(Voice::end);
    }

    /// Tells the others that this process's workers have ended in order, and waits until theirs have, too.
    ///
    /// # Errors
    /// One of them fails or vanishes first.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        let links = &self.links;
        links.tell(&Message::Finished { snapshot: links.snapshot(), drained: links.stop.is_asked() });
        // Whoever has heard that does not listen any more.
        links.voices().for_each(Voice::end);
        let others = links.voices().count();
        let mut state = links.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.finished.len() < others {
            if let Some(fault) = links.faults.take() {
                return Err(fault);
            }
            state = links.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    /// What was said last still goes out, as far as the others listen.
    fn drop(&mut self) {
        self.links.over.store(true, Ordering::SeqCst);
        if let Some(beats) = self.beats.take() {
            beats.thread().unpark();
            // It does not panic; and if it did, there would be nothing left to do.
            let _ = beats.join();
        }
        let deadline = Instant::now() + LAST_WORDS;
        for voice in self.links.voices() {
            voice.end();
            voice.wait(deadline);
        }
    }
}

impl Links {
    fn voices(&self) -> impl Iterator<Item = &Voice> {
        self.voices.iter().flatten()
    }

    /// Says something to all others.
    fn tell(&self, message: &Message) {
        match frame(message) {
            Ok(frame) => self.voices().for_each(|voice| voice.say(frame.clone())),
            Err(error) => tracing::error!(%error, "the other processes could not be told"),
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.progress.snapshot(self.options.process == 0)
    }

    fn beat(&self) {
        let mut drained = false;
        while !self.over.load(Ordering::SeqCst) {
            if self.stop.is_asked() && !drained {
                drained = true;
                self.tell(&Message::Drain);
            }
            let control = self.run.control();
            let mut controlled = self.controlled.lock().unwrap_or_else(PoisonError::into_inner);
            if *controlled != control {
                controlled.clone_from(&control);
                self.tell(&Message::Control(control));
            }
            drop(controlled);
            let snapshot = Arc::new(self.snapshot());
            self.voices().for_each(|voice| voice.beat(snapshot.clone()));
            thread::park_timeout(BEAT);
        }
    }

    fn listen(&self, process: usize, mut incoming: Incoming) {
        let since = Instant::now();
        // Whoever has not met all others yet says nothing. It may have begun to wait later than this process.
        let mut heard: Option<Instant> = None;
        loop {
            match incoming.next() {
                Ok(None) if self.over.load(Ordering::SeqCst) => return,
                Ok(None) => {
                    let (silent, longest, what) = match heard {
                        Some(heard) => (heard.elapsed(), SILENCE, "was not heard of"),
                        None => (since.elapsed(), self.options.wait + SILENCE, "has not begun"),
                    };
                    if silent > longest {
                        let what = format!("{what} for {} s", longest.as_secs_f64());
                        return self.lost(process, what, "it hangs, or the network is cut");
                    }
                    continue;
                }
                Ok(Some(Message::Failed { anew: Some(anew), .. })) => {
                    let error = StageError::user(anew.message).resolved(anew.resolved);
                    return self.raise(Fault { stage: anew.stage, epoch: None, error });
                }
                Ok(Some(Message::Failed { fault: said, anew: None })) => {
                    let error = StageError::external(format!("{} has failed", self.options.name(process)));
                    return self.raise(fault(error.because(said)));
                }
                Ok(Some(Message::Finished { snapshot, drained })) => {
                    if drained {
                        self.stop.drain();
                    }
                    self.progress.set_other(process, snapshot);
                    self.state.lock().unwrap_or_else(PoisonError::into_inner).finished.push(process);
                    self.changed.notify_all();
                    return;
                }
                Ok(Some(Message::Start(start))) => {
                    self.state.lock().unwrap_or_else(PoisonError::into_inner).start = Some(*start);
                    self.changed.notify_all();
                }
                Ok(Some(Message::Beat(snapshot))) => self.progress.set_other(process, snapshot),
                Ok(Some(Message::Drain)) => self.stop.drain(),
                Ok(Some(Message::Control(control))) => {
                    self.controlled.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&control);
                    self.run.steer(|mine| *mine = control);
                }
                Err(error) => {
                    tracing::debug!(%error, "process {process} is gone");
                    return self.lost(
                        process,
                        "is gone".into(),
                        "it was killed, or its machine has failed; its own log may say more",
                    );
                }
            }
            heard = Some(Instant::now());
        }
    }

    fn lost(&self, process: usize, what: String, hint: &str) {
        self.raise(fault(StageError::external(format!("{} {what}", self.options.name(process))).hint(hint)));
    }

    fn raise(&self, fault: Fault) {
        self.faults.raise(fault);
        self.changed.notify_all();
    }
}
