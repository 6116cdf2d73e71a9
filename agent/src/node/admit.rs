//! Whether a task is taken. Every question gets its answer at once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use echo_bus::id::{AttemptId, Inbox};
use echo_bus::message::{Capability, Code, Dispatch, Failure, Request, Task};
use tokio::sync::oneshot;
use tracing::debug;

use super::Node;
use super::action::Action;
use super::holding::Holding;
use super::registry;
use crate::attempt::{Attempt, Halt};
use crate::engine::{Kind, Order};
use crate::loads::Start;
use crate::replay::ReplayBuffer;
use crate::slots::Slot;
use crate::watchdog::Limits;

/// Requests about models need no slot, but not without a bound.
const ASIDE: usize = 16;

/// A task that is taken.
struct Admitted {
    /// The model in the mesh's words, and in the engine's.
    model: String,
    engine_name: String,
    loaded: bool,
    slot: Option<Slot>,
}

impl Node {
    pub(super) fn task(&mut self, message: Result<Box<Task>, String>, reply: Option<Inbox>, now: Instant) {
        let task = match message {
            Ok(task) => *task,
            Err(why) => return self.refuse(reply, Failure::give_up(Code::BadRequest, why)),
        };
        let Some(inbox) = task.inbox.clone().or_else(|| reply.clone()) else {
            debug!(task = %task.task, "a task that wants no answer is not run");
            return;
        };
        match self.judge(&task, now) {
            Ok(admitted) => self.accept(task, admitted, inbox, reply, now),
            Err(failure) => {
                debug!(task = %task.task, attempt = task.attempt, reason = failure.message, "refused");
                self.refuse(reply, failure);
            }
        }
    }

    fn refuse(&mut self, to: Option<Inbox>, failure: Failure) {
        self.out.push(Action::Answer { to, answer: Dispatch::Refused(failure) });
    }

    fn judge(&mut self, task: &Task, now: Instant) -> Result<Admitted, Failure> {
        let key = task.id();
        self.judge_message(task)?;
        self.judge_attempt(key, now)?;
        self.is_open()?;
        if !self.gap.settled() && task.edge.is_none() {
            let message =
                "the node was away for a moment, and nobody can confirm that this task is still wanted";
            return Err(Failure::elsewhere(Code::Unavailable, message));
        }
        match &task.request {
            Request::Show(named) | Request::Unload(named) => {
                let found = self.model(Some(&named.model))?;
                self.aside(found)
            }
            Request::Count(_) => {
                let found = self.model_of(&task.request)?;
                self.aside(found)
            }
            Request::Pull(named) | Request::Delete(named) => {
                self.allowed()?;
                self.offered(&named.model)?;
                if matches!(task.request, Request::Pull(_)) {
                    registry::judge(named)?;
                }
                let name = named.model.clone();
                self.aside((name.clone(), name, true))
            }
            request => {
                let found = self.model_of(request)?;
                self.with_slot(key, found)
            }
        }
    }

    fn judge_message(&self, task: &Task) -> Result<(), Failure> {
        if task.boot.as_ref().is_some_and(|boot| *boot != self.identity.boot) {
            let message = "the task was meant for an earlier start of this agent";
            return Err(Failure::elsewhere(Code::WrongBoot, message));
        }
        if matches!(task.request, Request::Unknown) {
            let message = "this node's agent does not know this kind of request";
            return Err(Failure::elsewhere(Code::BadRequest, message));
        }
        if task.remaining_ms == 0 {
            return Err(Failure::give_up(Code::Expired, "the task's time was over before it began"));
        }
        Ok(())
    }

    /// An attempt runs once, and not beside or after a higher one.
    fn judge_attempt(&mut self, key: AttemptId, now: Instant) -> Result<(), Failure> {
        if self.holdings.contains(key) {
            // Nobody may conclude that it can be run elsewhere.
            return Err(Failure::wait(Code::Unclear, "this attempt is held by this node already"));
        }
        let higher = self.holdings.highest(key.task).is_some_and(|held| held > key.attempt);
        if higher || self.fence.bars(key, now) {
            return Err(Failure::give_up(Code::Cancelled, "this attempt was ended before it came"));
        }
        self.holdings.drop_up_to(key);
        Ok(())
    }

    fn allowed(&self) -> Result<(), Failure> {
        let message = match (self.identity.model_management, self.identity.kind) {
            (true, Kind::Ollama) => return Ok(()),
            (true, Kind::Openai) => "the engine of this node has no API for pulls and deletes",
            (false, _) => "this node does not let the mesh pull or delete models (--allow-model-management)",
        };
        Err(Failure::elsewhere(Code::NotAllowed, message))
    }

    fn offered(&self, model: &str) -> Result<(), Failure> {
        if self.catalog.offers(model) {
            return Ok(());
        }
        let message =
            format!("the owner of this node does not offer the model {model:?} to others (--models)");
        Err(Failure::elsewhere(Code::NotAllowed, message))
    }

    fn model_of(&self, request: &Request) -> Result<(String, String, bool), Failure> {
        self.model(request.model())
    }

    fn model(&self, name: Option<&str>) -> Result<(String, String, bool), Failure> {
        let found = match name {
            Some(name) => self.catalog.find(name),
            None => self.catalog.only_one(),
        };
        if let Some(found) = found {
            return Ok((found.model.name.clone(), found.engine_name.clone(), found.model.loaded));
        }
        name.map_or(Ok(()), |name| self.offered(name))?;
        // Where the engine was never heard, that is the reason, and not the model.
        self.engine_is_up()?;
        let served = self.catalog.names();
        let mut failure = match name {
            Some(name) => {
                Failure::elsewhere(Code::ModelMissing, format!("this node does not have the model {name:?}"))
            }
            None => Failure::give_up(Code::BadRequest, "name a model: this node has more than one, or none"),
        };
        failure.served = served;
        Err(failure)
    }

    fn aside(&self, (model, engine_name, loaded): (String, String, bool)) -> Result<Admitted, Failure> {
        self.engine_is_up()?;
        if self.holdings.aside() >= ASIDE {
            return Err(Failure::elsewhere(Code::Full, "this node has enough to do with its models"));
        }
        Ok(Admitted { model, engine_name, loaded, slot: None })
    }

    fn engine_is_up(&self) -> Result<(), Failure> {
        self.health.down().map_or(Ok(()), |reason| Err(Failure::elsewhere(Code::Unavailable, reason)))
    }

    fn with_slot(
        &mut self,
        key: AttemptId,
        (model, engine_name, loaded): (String, String, bool),
    ) -> Result<Admitted, Failure> {
        self.engine_is_up()?;
        if let Some(reason) = self.health.closed(&model) {
            return Err(Failure::elsewhere(Code::Unavailable, format!("{model} is {reason}")));
        }
        let Some(slot) = self.slots.take(key) else {
            let message = format!("all {} slots of this node are taken", self.slots.limit());
            return Err(Failure::elsewhere(Code::Full, message));
        };
        Ok(Admitted { model, engine_name, loaded, slot: Some(slot) })
    }

    fn accept(
        &mut self,
        mut task: Task,
        admitted: Admitted,
        inbox: Inbox,
        reply: Option<Inbox>,
        now: Instant,
    ) {
        let key = task.id();
        self.forget_wishes(&mut task.request, &admitted.model);
        if admitted.slot.is_some() {
            self.calibration.make_way();
        }
        let start = self.start(&task, &admitted, now);
        let replay = Arc::new(Mutex::new(ReplayBuffer::new(task.edge.is_some())));
        let halt = Arc::new(Halt::default());
        let (confirm, confirmed) = if self.gap.settled() {
            (None, None)
        } else {
            let (confirm, confirmed) = oneshot::channel();
            (Some(confirm), Some(confirmed))
        };
        if let Some(edge) = &task.edge {
            self.edges.meet(edge, confirmed.is_some(), now);
        }
        self.holdings.insert(
            key,
            Holding {
                edge: task.edge.clone(),
                inbox: inbox.clone(),
                replay: replay.clone(),
                halt: halt.clone(),
                confirm,
                has_slot: admitted.slot.is_some(),
                model: admitted.model.clone(),
                ended: None,
            },
        );
        self.schedule.changed(false, now);
        let answer = Dispatch::Accepted { boot: self.identity.boot.clone(), heartbeat: self.number };
        let limits = self.limits(&task);
        self.out.push(Action::Run(Box::new(Attempt {
            key,
            order: Order { request: task.request, model: admitted.engine_name, so_far: task.so_far },
            model: admitted.model,
            loaded: start.ready,
            loads: start.loads,
            limits,
            received: now,
            remaining: Duration::from_millis(task.remaining_ms),
            waited_ms: task.waited_ms,
            chosen: task.chosen,
            why: task.why,
            traceparent: task.traceparent,
            joins_end: task.joins_end,
            takes_several: task.takes_several,
            inbox,
            reply,
            answer,
            slot: admitted.slot,
            replay,
            halt,
            confirmed,
        })));
    }

    /// Where thinking is only wished for, a model that cannot is not told to: Ollama would refuse the request.
    fn forget_wishes(&self, request: &mut Request, model: &str) {
        let Some(settings) = request.settings_mut().filter(|settings| settings.think_if_able) else { return };
        let thinks = self.catalog.find(model).is_some_and(|found| found.model.can(&Capability::Thinking));
        // Not to think is no wish that a model may refuse, and one whose abilities are not known may think.
        let is_calm = settings.think == Some(false.into());
        if self.identity.kind == Kind::Ollama && !thinks && !is_calm {
            settings.think = None;
        }
    }

    /// What the task finds in the engine's memory, and leaves there. Only Ollama loads by what a request says.
    fn start(&mut self, task: &Task, admitted: &Admitted, now: Instant) -> Start {
        let options = task.request.load_options().filter(|_| self.identity.kind == Kind::Ollama);
        let Some(options) = options else { return Start { ready: admitted.loaded, loads: false } };
        let alone = !self.holdings.use_model(&admitted.model);
        let (start, news) = self.catalog.starts(&admitted.model, &options, alone, now);
        self.told.models_changed |= news;
        start
    }

    fn limits(&self, task: &Task) -> Limits {
        let load = self.identity.load_timeout;
        let first = Duration::from_millis(task.first_token_ms);
        let between = Duration::from_millis(task.token_ms);
        match task.request {
            // A pull says nothing while it checks what it has fetched.
            Request::Pull(_) => Limits { load, first: first.max(load), between: between.max(load) },
            _ => Limits { load, first, between },
        }
    }
}
