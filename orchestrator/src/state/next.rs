//! Who is next at a node: who waited longest, except that a loaded model is not thrown out while it is right for others.

use std::collections::BTreeMap;
use std::time::Duration;

use echo_broker::id::TaskId;
use echo_broker::message::LoadKey;

use super::State;
use crate::holding::{Holding, Phase};
use crate::model_name::ModelName;
use crate::need::Line;
use crate::pace::Outlook;
use crate::queue::Place;
use crate::registry::Key;
use crate::reload::{Case, Home, Verdict};
use crate::scheduler::{self, Choice, Fit};

/// So many in a line that need the model otherwise are looked at for one who does not.
const LOOKED_AT: usize = 64;

/// Who is next.
#[derive(Debug)]
pub(super) struct Next {
    pub task: Option<TaskId>,
    pub fit: Fit,
    /// The model is right for it, and others have waited longer.
    pub overtakes: bool,
    /// Somebody could have this slot and waits for a better one.
    pub held_back: bool,
    place: Option<Place>,
}

impl Next {
    const NOBODY: Self =
        Self { task: None, fit: Fit::Otherwise, overtakes: false, held_back: false, place: None };
}

/// Those in a line who need the model in one way.
struct Kind {
    load: LoadKey,
    /// How many of them were seen so far.
    ahead: u32,
    home: HomeOf,
}

/// Where their model is as they need it.
struct HomeOf {
    exists: bool,
    outlook: Option<Outlook>,
}

impl State {
    /// The best free node for it now; `None` also if it does better to wait for one that has its model as it needs it.
    pub(super) fn choice_for(&mut self, holding: &Holding) -> Option<Choice> {
        if !self.connected {
            return None;
        }
        let choice = scheduler::choose(&self.registry, &holding.need, &holding.bars())?;
        let waits = matches!(holding.phase, Phase::Waiting { .. });
        let can_wait = !self.draining && (waits || self.queue.has_room(holding.bytes));
        if choice.fit == Fit::Otherwise && can_wait {
            let ahead = self.of_its_kind(holding);
            let home = self.home_of(holding);
            if self.judge_reload(holding, choice.key, &home, ahead) == Verdict::Waits {
                self.held_back = true;
                return None;
            }
        }
        Some(choice)
    }

    /// Who is next at this node, over all lines.
    pub(super) fn next_at(&self, key: Key) -> Next {
        let mut next = Next::NOBODY;
        for (line, waiting) in self.queue.lines() {
            if matches!(line, Line::Model(name) if self.registry.model_at(key, name).is_none()) {
                continue;
            }
            let of_line = self.next_in(waiting, key, next.place);
            let held_back = next.held_back || of_line.held_back;
            if of_line.task.is_some() {
                next = of_line;
            }
            next.held_back = held_back;
        }
        next
    }

    /// Who is next in one line, if that one waited longer than `before`.
    fn next_in(&self, waiting: &BTreeMap<Place, TaskId>, key: Key, before: Option<Place>) -> Next {
        let mut next = Next::NOBODY;
        let (mut kinds, mut looked_at): (Vec<Kind>, usize) = (Vec::new(), 0);
        for (&place, &task) in waiting {
            let is_later = before.is_some_and(|before| before < place);
            if (is_later && next.task.is_none()) || looked_at == LOOKED_AT {
                break;
            }
            let Some(holding) = self.held.get(&task) else { continue };
            if self.is_planned(holding) {
                continue;
            }
            if !scheduler::can_take(&self.registry, &holding.need, &holding.bars(), key) {
                continue;
            }
            let fit = scheduler::fit_at(&self.registry, &holding.need, key);
            if fit != Fit::Otherwise {
                (next.overtakes, next.fit) = (next.task.is_some(), fit);
                (next.task, next.place) = (Some(task), next.place.or(Some(place)));
                break;
            }
            looked_at += 1;
            let kind = self.kind_of(holding, &mut kinds);
            if next.task.is_some() {
                continue;
            }
            match self.judge_reload(holding, key, &kind.home, kind.ahead) {
                Verdict::Waits => next.held_back = true,
                verdict => {
                    (next.task, next.place) = (Some(task), Some(place));
                    if verdict == Verdict::Overdue {
                        break;
                    }
                }
            }
            kind.ahead += 1;
        }
        next
    }

    fn kind_of<'a>(&self, holding: &Holding, kinds: &'a mut Vec<Kind>) -> &'a mut Kind {
        let load = holding.need.load.unwrap_or_default();
        let index = kinds.iter().position(|kind| kind.load == load).unwrap_or_else(|| {
            kinds.push(Kind { load, ahead: 0, home: self.home_of(holding) });
            kinds.len() - 1
        });
        &mut kinds[index]
    }

    /// How many wait before a newcomer for the same model in the same way; no more are counted than matter.
    fn of_its_kind(&self, holding: &Holding) -> u32 {
        let waiting = self.queue.line(&holding.need.line).take(LOOKED_AT);
        let same =
            waiting.filter_map(|task| self.held.get(&task)).filter(|it| it.need.load == holding.need.load);
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }

    fn judge_reload(&self, holding: &Holding, key: Key, home: &HomeOf, ahead: u32) -> Verdict {
        let Some(name) = holding.need.model() else { return Verdict::May };
        let home = match &home.outlook {
            Some(outlook) => Home::In(outlook.wait(ahead + 1)),
            None if home.exists => Home::Somewhere,
            None => Home::Nowhere,
        };
        let waited = self.now.at.saturating_duration_since(holding.arrived);
        let in_use = self.registry.node(key).runs(name);
        let (load, patience) = (self.load_time(name, key), self.limits.queue_wait);
        Case { waited, load, patience, in_use, home }.judge()
    }

    fn home_of(&self, holding: &Holding) -> HomeOf {
        let bars = holding.bars();
        let homes = || scheduler::homes(&self.registry, &holding.need, &bars);
        let Some(name) = holding.need.model() else { return HomeOf { exists: false, outlook: None } };
        HomeOf { exists: homes().next().is_some(), outlook: self.outlook_at(name, homes()) }
    }

    /// How long this node takes to load the model, or else another one.
    fn load_time(&self, name: &ModelName, key: Key) -> Option<Duration> {
        let here = self.registry.model_at(key, name).and_then(|seen| seen.model().load_ms);
        let somewhere = || self.registry.serving(name).find_map(|(_, _, seen)| seen.model().load_ms);
        here.or_else(somewhere).map(Duration::from_millis)
    }
}
