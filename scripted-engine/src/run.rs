//! The way of a request that makes tokens or vectors: model, slot, first token, answer.

use std::{future::pending, sync::Arc};

use axum::response::Response;
use tokio::time::{Instant, sleep};

use super::{
    answer::Answer,
    ask::{Ask, Refusal, Totals},
    core::Core,
    counted::Run,
    models::{Load, Loan},
    plan::Plan,
    script::{Fault, FaultKind, Model, Script},
    seat::{Rig, Seat, Took, words},
    wire::Link,
};

/// What Ollama says where a model cannot be loaded.
const UNLOADABLE: &str = "llama-server process has terminated: scripted fault";

/// Answers; dropped with its connection, except where the route's engine would run on.
pub async fn answer(core: Arc<Core>, link: Link, ask: Ask) -> Response {
    if ask.stream || !(ask.voice.runs_on() && core.script().openai_runs_on) {
        return go(core, link, ask).await;
    }
    let task = tokio::spawn(go(core, link, ask));
    // The only error is a panic in the task; the connection's own task passes it on.
    task.await.expect("an answer that runs on does not panic")
}

async fn go(core: Arc<Core>, link: Link, ask: Ask) -> Response {
    let mut run = Run::begin(&core.tally);
    let script = core.script();
    let plan = Plan::new(&script, &ask, core.take_fault());
    run.is_of(plan.task);
    if ask.prompt.is_begun() {
        core.tally.resumed(ask.prompt.fits(ask.prompt.next_token()));
    }
    let ready = match core.rig.clone() {
        Some(rig) => seated(&core, &rig, &ask, &plan, run).await,
        None => delayed(&core, &script, &ask, &plan, run).await,
    };
    let (run, totals, seat) = match ready {
        Ok(ready) => ready,
        Err(refusal) => return ask.voice.refuse(&refusal),
    };
    let stream = ask.stream;
    let answer = Answer::new(core, link, run, ask.voice, plan, totals, ask.prompt.so_far);
    match answer.seated(seat).fail_first().await {
        Ok(answer) if stream => answer.stream(),
        Ok(answer) => answer.whole().await,
        Err(response) => response,
    }
}

type Ready = Result<(Run, Totals, Option<Seat>), Refusal>;

/// Until the first token, by the script's delays.
async fn delayed(core: &Core, script: &Script, ask: &Ask, plan: &Plan, run: Run) -> Ready {
    let began = Instant::now();
    let run = prepare(core, script, ask, plan, run).await?;
    let load = began.elapsed();
    // Even the shortest sleep takes a millisecond.
    if !plan.first.is_zero() {
        sleep(plan.first).await;
    }
    let prompt = began.elapsed() - load;
    Ok((run, Totals { prompt_tokens: ask.prompt.tokens(), load, prompt, ..Totals::default() }, None))
}

/// Until the first token, on a machine.
async fn seated(core: &Core, rig: &Arc<Rig>, ask: &Ask, plan: &Plan, mut run: Run) -> Ready {
    let fault = plan.fault.map(|(kind, _)| kind);
    let prompt = words(&ask.prompt.rendered);
    let prompt_tokens = prompt.len() as u64;
    let model = early(fault, &ask.model, plan.words.as_deref()).and_then(|()| able(core, ask));
    let seat = model.and_then(|model| {
        rig.enter(&model.name, prompt, plan.words()).ok_or_else(|| Refusal::missing(&model.name))
    });
    let seat = match seat {
        Ok(seat) => seat,
        Err(refusal) => {
            run.refuse();
            return Err(refusal);
        }
    };
    seat.slotted().await;
    run.works();
    let Took { load, prompt, cached, .. } = seat.first().await;
    Ok((run, Totals { prompt_tokens, cached, load, prompt, ..Totals::default() }, Some(seat)))
}

/// A running run, or the reason why not.
async fn prepare(core: &Core, script: &Script, ask: &Ask, plan: &Plan, mut run: Run) -> Result<Run, Refusal> {
    let want = Load {
        options: ask.load_options.clone(),
        keep: ask.keep,
        delay: script.load_delay,
        queue_limit: script.queue_limit,
    };
    let fault = plan.fault.map(|(kind, _)| kind);
    let loan = match early(fault, &ask.model, plan.words.as_deref()).and_then(|()| able(core, ask)) {
        Ok(model) => core.models.lend(&model.name, want).await,
        Err(refusal) => Err(refusal),
    };
    match loan {
        Ok(loan) => {
            take_slot(core, &mut run, loan).await?;
            Ok(run)
        }
        Err(refusal) => {
            run.refuse();
            Err(refusal)
        }
    }
}

async fn take_slot(core: &Core, run: &mut Run, loan: Loan) -> Result<(), Refusal> {
    let slot = core.slots.clone().acquire_owned().await;
    run.runs(slot.map_err(|_| Refusal::broken("the engine has no slots"))?, Some(loan));
    Ok(())
}

/// The faults that come before anything else.
fn early(fault: Option<FaultKind>, model: &str, words: Option<&str>) -> Result<(), Refusal> {
    match fault {
        Some(FaultKind::Busy) => Err(Refusal::busy()),
        Some(FaultKind::Fail) => Err(Refusal::broken(words.unwrap_or(UNLOADABLE))),
        Some(FaultKind::Missing) => Err(Refusal::missing(model)),
        _ => Ok(()),
    }
}

fn able(core: &Core, ask: &Ask) -> Result<Model, Refusal> {
    let model = core.models.find(&ask.model).ok_or_else(|| Refusal::missing(&ask.model))?;
    match ask.needs.iter().find(|need| !model.can(need)) {
        Some(&"completion") => Err(Refusal::bad(format!("{:?} does not support generate", ask.model))),
        Some(need) => Err(Refusal::bad(format!("{:?} does not support {need}", ask.model))),
        None if model.broken => Err(Refusal::broken(UNLOADABLE)),
        None => Ok(model),
    }
}

/// The way of an embedding: a slot, the first token's delay, and only faults that precede an answer.
pub async fn embed(core: &Arc<Core>, link: &Link, model: &str, want: Load) -> Result<(Run, Model), Refusal> {
    let mut run = Run::begin(&core.tally);
    let script = core.script();
    let fault = core.take_fault();
    let found = core.models.find(model).ok_or_else(|| Refusal::missing(model));
    let ready = match early(fault.as_ref().map(|fault| fault.kind), model, None).and(found) {
        Ok(model) => core.models.lend(&model.name, want).await.map(|loan| (model, loan)),
        Err(refusal) => Err(refusal),
    };
    let (model, loan) = match ready {
        Ok(ready) => ready,
        Err(refusal) => {
            run.refuse();
            return Err(refusal);
        }
    };
    take_slot(core, &mut run, loan).await?;
    sleep(script.first_token_delay).await;
    meet(core, link, fault, run).await.map(|run| (run, model))
}

async fn meet(core: &Core, link: &Link, fault: Option<Fault>, run: Run) -> Result<Run, Refusal> {
    match fault.map(|fault| fault.kind) {
        None => return Ok(run),
        Some(FaultKind::Stall) => pending().await,
        Some(FaultKind::Die) => core.die(),
        Some(FaultKind::Cut | FaultKind::End | FaultKind::Garbage) => link.close(),
        Some(_) => {
            run.fail();
            return Err(Refusal::broken("an error was encountered while running the model: scripted fault"));
        }
    }
    run.fail();
    pending().await
}
