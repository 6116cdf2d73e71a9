//! `up` without `--nodes`: a node for each engine that answers on this machine, else one that is started.

use echo_bus::process::BadConfig;

use super::facts::{
    Choice, EMBEDDED_MODEL, Found, Machine, Missing, Mode, Seat, USUAL_MODEL, Wish, how_to_usual, joined,
    listed, serves,
};
use super::started;
use crate::typed::Typed;
use crate::up::address::shown;
use crate::up::plan::{Api, Engine, From};

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Addresses that the user has named; else the well-known ones.
    pub seats: Vec<Seat>,
    pub named: bool,
    /// Where an Ollama, or the embedded engine, is started if nothing answers.
    pub for_ollama: Seat,
    pub for_embedded: Seat,
}

/// Chooses.
///
/// # Errors
/// The sentence that says what is in the way.
pub fn choose(looked: &Looked, wish: &Wish, machine: &Machine, typed: &Typed) -> Result<Choice, BadConfig> {
    let chooser = Chooser { looked, wish, machine, typed };
    let asks = format!("{} asks for it", wish.mode_said);
    match wish.mode {
        Mode::Embedded => return chooser.embedded(&asks),
        // Named addresses where an Ollama is to be.
        Mode::Ollama if looked.named => return chooser.ollama(&looked.seats, &asks),
        _ => {}
    }
    let engines = chooser.answering()?;
    if !engines.is_empty() {
        return chooser.found(&engines);
    }
    if wish.mode == Mode::Openai {
        let places = joined(&looked.seats.iter().map(|seat| shown(&seat.url).to_owned()).collect::<Vec<_>>());
        return Err(BadConfig(format!(
            "{}, but nothing at {places} answers GET /v1/models as an OpenAI API: start an engine first, or name its \
             address with --engine-url (without /v1).",
            wish.mode_said
        )));
    }
    let reason =
        if wish.mode == Mode::Ollama { asks } else { "it is installed and no engine answers".to_owned() };
    if machine.ollama || wish.mode == Mode::Ollama {
        return chooser.ollama(std::slice::from_ref(&looked.for_ollama), &reason);
    }
    wish.falls_back()?;
    chooser.embedded("no engine answers and the ollama command is not on the PATH")
}

struct Chooser<'a> {
    looked: &'a Looked,
    wish: &'a Wish,
    machine: &'a Machine,
    typed: &'a Typed,
}

impl Chooser<'_> {
    /// The engines of the wished kind.
    fn answering(&self) -> Result<Vec<&Seat>, BadConfig> {
        if self.looked.named {
            if let Some(seat) = self.looked.seats.iter().find(|seat| seat.found.engine().is_none()) {
                if seat.found == Found::Edge {
                    return Err(started::is_edge(seat));
                }
                return Err(BadConfig(format!(
                    "nothing at {}={} answers as Ollama or as an OpenAI API: start that engine first, or correct the URL \
                     (without /v1).",
                    seat.name,
                    shown(&seat.url)
                )));
            }
            return Ok(self.looked.seats.iter().collect());
        }
        let is_useful = |seat: &&Seat| match (&seat.found, self.wish.mode) {
            (Found::Ollama(_), _) => true,
            // Many a program answers GET /v1/models; one with no model is no use, and may be no engine.
            (Found::Openai(models), Mode::Auto | Mode::Openai) => !models.is_empty(),
            _ => false,
        };
        Ok(self.looked.seats.iter().filter(is_useful).collect())
    }

    fn found(&self, seats: &[&Seat]) -> Result<Choice, BadConfig> {
        let all: Vec<(&Seat, Api, &[String])> = seats
            .iter()
            .filter_map(|seat| seat.found.engine().map(|(api, models)| (*seat, api, models)))
            .collect();
        let pulled = self.pulled(&all)?;
        let words = |(seat, api, models): &(&Seat, Api, &[String])| {
            let name = if *api == Api::Ollama { "Ollama" } else { "an OpenAI API" };
            let models = if models.is_empty() { "no model yet".to_owned() } else { some_of(models) };
            format!("{name} at {} ({models})", shown(&seat.url))
        };
        let places = joined(&all.iter().map(words).collect::<Vec<_>>());
        let mut why = format!("Engines that already answer: {places}.");
        if pulled.is_none() && all.iter().all(|(_, _, models)| models.is_empty()) {
            why += &format!(
                " A model is needed before a task can be done: `ollama pull {USUAL_MODEL}`, for example."
            );
        }
        let model_of = |at: usize| pulled.as_ref().filter(|(to, _)| *to == at).map(|(_, it)| it.clone());
        let engine = |(at, (seat, api, _)): (usize, &(&Seat, Api, &[String]))| Engine {
            api: *api,
            url: seat.url.clone(),
            from: From::Found,
            model: model_of(at),
            key_file: None,
        };
        let engines: Vec<Engine> = all.iter().enumerate().map(engine).collect();
        let missing = pulled.map(|(at, model)| Missing {
            model,
            nodes: vec![all[at].0.node.clone()],
            at: None,
            there: all
                .iter()
                .map(|(seat, _, models)| format!("{}: {}", seat.node, listed(models)))
                .collect::<Vec<_>>()
                .join("; "),
        });
        Ok(self.choice(engines, self.wish.model.clone(), why, missing))
    }

    /// A model that an Ollama has to pull: which of the engines, and what.
    fn pulled(&self, all: &[(&Seat, Api, &[String])]) -> Result<Option<(usize, String)>, BadConfig> {
        let ollama = all.iter().position(|(_, api, _)| *api == Api::Ollama);
        match &self.wish.model {
            Some(model) if all.iter().any(|(_, _, models)| serves(model, models)) => Ok(None),
            Some(model) => ollama.map(|at| Some((at, model.clone()))).ok_or_else(|| {
                let has =
                    all.iter().map(|(seat, _, models)| format!("{}: {}", shown(&seat.url), listed(models)));
                BadConfig(format!(
                    "{} is served by no engine here ({}).",
                    self.wish.model_said,
                    has.collect::<Vec<_>>().join("; ")
                ))
            }),
            // An empty Ollama is a mesh that waits for its first model; only who says so beforehand gets it pulled.
            None if self.wish.pull == Some(true) && all.iter().all(|(_, _, models)| models.is_empty()) => {
                Ok(ollama.map(|at| (at, USUAL_MODEL.to_owned())))
            }
            None => Ok(None),
        }
    }

    /// An Ollama at each seat, the running one where there is one.
    fn ollama(&self, seats: &[Seat], reason: &str) -> Result<Choice, BadConfig> {
        let stores = &self.machine.stores;
        let wished = &self.wish.model;
        // The models that are there will do; else the usual one has to come.
        let needed = wished.clone().or_else(|| stores.stocked().is_none().then(|| USUAL_MODEL.to_owned()));
        let engine = |seat: &Seat| match &seat.found {
            Found::Ollama(_) => {
                let (url, model) = (seat.url.clone(), wished.clone());
                Ok(Engine { api: Api::Ollama, url, from: From::Found, model, key_file: None })
            }
            Found::Openai(_) => Err(started::not_ollama(seat)),
            _ => started::ollama(seat, self.machine, needed.as_deref()),
        };
        let engines = seats.iter().map(engine).collect::<Result<Vec<_>, _>>()?;
        let missing = needed.as_deref().and_then(|model| self.missing(seats, &engines, model));
        let model = needed.clone().unwrap_or_else(|| some_of(&stores.models()));
        let mut why =
            format!("Engine: Ollama with {model}, {}, because {reason}.", started::places(&engines));
        if let Some(note) = stores.note().filter(|_| stores.stocked().is_none()) {
            why = format!("{note}\n{why}");
        }
        Ok(self.choice(engines, wished.clone(), why, missing))
    }

    /// What has to be pulled for the Ollamas that need a model.
    fn missing(&self, seats: &[Seat], engines: &[Engine], model: &str) -> Option<Missing> {
        let stores = &self.machine.stores;
        let has = |(seat, engine): &(&Seat, &Engine)| match &seat.found {
            _ if engine.model.is_none() => true,
            Found::Ollama(models) => serves(model, models),
            _ => serves(model, &stores.with(model).models),
        };
        let lacking = seats.iter().zip(engines).filter(|it| !has(it));
        let nodes: Vec<String> = lacking.map(|(seat, _)| seat.node.clone()).collect();
        let there = seats.iter().map(|seat| match &seat.found {
            Found::Ollama(models) => format!("{}: {}", seat.node, listed(models)),
            _ => format!("{}: {}", seat.node, listed(&stores.models())),
        });
        (!nodes.is_empty()).then(|| Missing {
            model: model.to_owned(),
            nodes,
            at: started::store(engines),
            there: there.collect::<Vec<_>>().join("; "),
        })
    }

    fn embedded(&self, reason: &str) -> Result<Choice, BadConfig> {
        self.wish.takes_embedded()?;
        let seats = if self.looked.named {
            &self.looked.seats[..]
        } else {
            std::slice::from_ref(&self.looked.for_embedded)
        };
        let engines = seats.iter().map(started::embedded).collect::<Result<Vec<_>, _>>()?;
        let how = how_to_usual(EMBEDDED_MODEL, self.machine.ollama, self.typed);
        let why = format!(
            "Engine: the embedded llama.cpp server with SmolLM2-135M-Instruct (model {EMBEDDED_MODEL}), because {reason}.{how}"
        );
        Ok(self.choice(engines, self.wish.model.clone(), why, None))
    }

    fn choice(
        &self,
        engines: Vec<Engine>,
        model: Option<String>,
        why: String,
        missing: Option<Missing>,
    ) -> Choice {
        let slots = engines.iter().map(|engine| started::slots(engine, self.wish, self.machine)).collect();
        Choice { engines, model, slots, why, missing }
    }
}

/// The first few models, for a sentence.
fn some_of(models: &[String]) -> String {
    match models {
        [a, b, c, rest @ ..] if !rest.is_empty() => format!("{a}, {b}, {c} and {} more", rest.len()),
        models => models.join(", "),
    }
}

#[cfg(test)]
mod tests;
