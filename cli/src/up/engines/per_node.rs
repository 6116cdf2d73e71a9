//! `up --nodes N`: an engine at each of N addresses, all with one model.

use echo_bus::process::BadConfig;

use super::facts::{
    Choice, EMBEDDED_MODEL, Found, Machine, Missing, Mode, Seat, USUAL_MODEL, Wish, how_to_usual, joined,
    listed, serves, urls,
};
use super::started;
use crate::typed::Typed;
use crate::up::address::shown;
use crate::up::plan::{Api, Engine, From};

/// Chooses.
///
/// # Errors
/// The sentence that says what is in the way.
pub fn choose(seats: &[Seat], wish: &Wish, machine: &Machine, typed: &Typed) -> Result<Choice, BadConfig> {
    if let Some(seat) = seats.iter().find(|seat| seat.found == Found::Edge) {
        return Err(started::is_edge(seat));
    }
    let chooser = Chooser { seats, wish, machine, typed };
    match wish.mode {
        Mode::Embedded => chooser.embedded(&format!("{} asks for it", wish.mode_said)),
        Mode::Openai => chooser.openai(),
        Mode::Ollama => chooser.ollama(&format!("{} asks for it", wish.mode_said)),
        Mode::Auto => chooser.best(),
    }
}

struct Chooser<'a> {
    seats: &'a [Seat],
    wish: &'a Wish,
    machine: &'a Machine,
    typed: &'a Typed,
}

impl Chooser<'_> {
    fn best(&self) -> Result<Choice, BadConfig> {
        let answering: Vec<&Seat> = self.seats.iter().filter(|seat| seat.found.engine().is_some()).collect();
        let is_openai = |seat: &&Seat| matches!(seat.found.engine(), Some((Api::Openai, _)));
        let first = match answering.first() {
            Some(_) if answering.len() == self.seats.len() => return self.found(),
            Some(_) if answering.iter().any(is_openai) => return Err(self.too_few(&answering)),
            _ if self.machine.ollama => return self.ollama("it is installed"),
            first => first,
        };
        if let Some(seat) = first {
            let share = self.share(seat);
            return Err(BadConfig(format!(
                "Ollama answers at {}, but the ollama command is not on the PATH to start a second one: start one on \
                 another port, or let {} nodes share it ({share}), or take the small embedded model \
                 (ECHO_ENGINE_MODE=embedded and {} free ports as {}).",
                shown(&seat.url),
                self.both(),
                number(self.seats.len()),
                joined(&self.seats.iter().map(|seat| seat.name.clone()).collect::<Vec<_>>()),
            )));
        }
        self.wish.falls_back()?;
        self.embedded("no engine answers and the ollama command is not on the PATH")
    }

    fn too_few(&self, answering: &[&Seat]) -> BadConfig {
        let words = |seat: &&Seat| format!("{}: {}", seat.node, shown(&seat.url));
        let places: Vec<String> = answering.iter().map(words).collect();
        let count = number(answering.len());
        let engines = if answering.len() == 1 { "engine answers" } else { "engines answer" };
        let start = if self.seats.len() == answering.len() + 1 { "a further one" } else { "the others" };
        let start = if self.seats.len() == 2 { "a second one" } else { start };
        BadConfig(format!(
            "only {count} {engines} ({}), and the mesh has {} nodes: start {start}, or let {} nodes share it ({}), or \
             stop it and start again.",
            places.join("; "),
            number(self.seats.len()),
            self.both(),
            self.share(answering.first().unwrap_or(&&self.seats[0])),
        ))
    }

    /// The settings with which all nodes have one engine.
    fn share(&self, one: &Seat) -> String {
        let settings = self.seats.iter().map(|seat| format!("{}={}", seat.name, shown(&one.url)));
        settings.collect::<Vec<_>>().join(" ")
    }

    fn both(&self) -> &'static str {
        if self.seats.len() == 2 { "both" } else { "all" }
    }

    fn openai(&self) -> Result<Choice, BadConfig> {
        for seat in self.seats {
            if !matches!(seat.found.engine(), Some((Api::Openai, _))) {
                return Err(BadConfig(format!(
                    "{}, but nothing at {}={} answers GET /v1/models as an OpenAI API: start that engine first, or \
                     correct the URL (without /v1).",
                    self.wish.mode_said,
                    seat.name,
                    shown(&seat.url)
                )));
            }
        }
        self.found()
    }

    /// All seats answer.
    fn found(&self) -> Result<Choice, BadConfig> {
        let at = urls(self.seats);
        if self.seats.iter().all(|seat| seat.found.is_ollama()) {
            let model = self.usual_model();
            let servers = if self.seats.len() == 1 {
                "the Ollama server that already answers"
            } else {
                "the Ollama servers that already answer"
            };
            let why = format!("Engines: {servers} at {at}, with {model}.");
            let engines = self.seats.iter().filter_map(|seat| found(seat, &model)).collect();
            return Ok(self.choice(engines, model, why));
        }
        let model = self.common_model()?;
        let apis = self.seats.iter().filter_map(|seat| Some(seat.found.engine()?.0.as_str()));
        let apis = apis.collect::<Vec<_>>().join(", ");
        let those =
            if self.seats.len() == 1 { "that which already answers" } else { "those that already answer" };
        let how = how_to_usual(&model, self.machine.ollama, self.typed);
        let why = format!("Engines: {those} at {at} ({apis}), with {model}.{how}");
        let engines = self.seats.iter().filter_map(|seat| found(seat, &model)).collect();
        Ok(Choice { missing: None, ..self.choice(engines, model, why) })
    }

    /// The one that is wished for, else the first that all have.
    fn common_model(&self) -> Result<String, BadConfig> {
        let all = || self.seats.iter().filter_map(|seat| Some((seat, seat.found.engine()?.1)));
        if let Some(model) = &self.wish.model {
            return match all().find(|(_, models)| !serves(model, models)) {
                None => Ok(model.clone()),
                Some((seat, models)) => Err(BadConfig(format!(
                    "{} is not served at {}, which has: {}.",
                    self.wish.model_said,
                    shown(&seat.url),
                    listed(models)
                ))),
            };
        }
        let first = all().next().map_or(&[][..], |(_, models)| models);
        let common = first.iter().find(|model| all().all(|(_, models)| serves(model, models)));
        common.cloned().ok_or_else(|| {
            let has = all().map(|(seat, models)| format!("{}: {}", seat.node, listed(models)));
            BadConfig(format!(
                "the {} engines have no model in common ({}): load the same model in {}.",
                number(self.seats.len()),
                has.collect::<Vec<_>>().join("; "),
                self.both()
            ))
        })
    }

    fn ollama(&self, reason: &str) -> Result<Choice, BadConfig> {
        let model = self.usual_model();
        let engine = |seat: &Seat| match seat.found.engine() {
            Some((Api::Openai, _)) => Err(started::not_ollama(seat)),
            Some(_) => Ok(found(seat, &model)),
            None => started::ollama(seat, self.machine, Some(&model)).map(Some),
        };
        let engines: Vec<Option<Engine>> = self.seats.iter().map(engine).collect::<Result<_, _>>()?;
        let engines: Vec<Engine> = engines.into_iter().flatten().collect();
        let places = started::places(&engines);
        let mut why = format!("Engines: Ollama with {model}, {places}, because {reason}.");
        let own = &self.machine.stores.own.path;
        let starts_own = engines.iter().any(|it| it.from == From::Ollama { store: own.clone() });
        if let Some(note) = self.machine.stores.note().filter(|_| starts_own) {
            why = format!("{note}\n{why}");
        }
        Ok(self.choice(engines, model, why))
    }

    fn embedded(&self, reason: &str) -> Result<Choice, BadConfig> {
        self.wish.takes_embedded()?;
        let engines = self.seats.iter().map(started::embedded).collect::<Result<Vec<_>, _>>()?;
        let how = how_to_usual(EMBEDDED_MODEL, self.machine.ollama, self.typed);
        let why = format!(
            "Engines: the embedded llama.cpp server with SmolLM2-135M-Instruct (model {EMBEDDED_MODEL}), because {reason}.{how}"
        );
        Ok(Choice { missing: None, ..self.choice(engines, EMBEDDED_MODEL.to_owned(), why) })
    }

    fn usual_model(&self) -> String {
        self.wish.model.clone().unwrap_or_else(|| USUAL_MODEL.to_owned())
    }

    fn choice(&self, engines: Vec<Engine>, model: String, why: String) -> Choice {
        let slots = engines.iter().map(|engine| started::slots(engine, self.wish, self.machine)).collect();
        let missing = self.missing(&engines, &model);
        Choice { engines, model: Some(model), slots, why, missing }
    }

    fn missing(&self, engines: &[Engine], model: &str) -> Option<Missing> {
        let there = |(seat, engine): (&Seat, &Engine)| match (&engine.from, seat.found.engine()) {
            (From::Found, Some((_, models))) => (seat.node.clone(), models.to_vec(), serves(model, models)),
            _ => {
                let models = self.machine.stores.models();
                let has = serves(model, &self.machine.stores.with(model).models);
                (seat.node.clone(), models, has)
            }
        };
        let all: Vec<_> = self.seats.iter().zip(engines).map(there).collect();
        let nodes: Vec<String> =
            all.iter().filter(|(_, _, has)| !has).map(|(node, _, _)| node.clone()).collect();
        if nodes.is_empty() {
            return None;
        }
        let words = all.iter().map(|(node, models, _)| format!("{node}: {}", listed(models)));
        let at = started::store(engines);
        Some(Missing { model: model.to_owned(), nodes, at, there: words.collect::<Vec<_>>().join("; ") })
    }
}

/// The engine of a seat that answers.
fn found(seat: &Seat, model: &str) -> Option<Engine> {
    let (api, _) = seat.found.engine()?;
    Some(Engine {
        api,
        url: seat.url.clone(),
        from: From::Found,
        model: Some(model.to_owned()),
        key_file: None,
    })
}

fn number(count: usize) -> String {
    match count {
        1 => "one".to_owned(),
        2 => "two".to_owned(),
        3 => "three".to_owned(),
        more => more.to_string(),
    }
}

#[cfg(test)]
mod tests;
