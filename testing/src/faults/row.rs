//! One row of the table: a fault, the promise that is checked, and how the fault is made.

use std::{rc::Rc, time::Duration};

use futures::{FutureExt, future::LocalBoxFuture};

use super::{
    fixture::{Fixture, Promised},
    setting::Setting,
};

/// The mesh is whole again within this time after the last part's return.
pub const BACK: Duration = Duration::from_secs(3);

type Play = Rc<dyn for<'a> Fn(&'a Fixture) -> LocalBoxFuture<'a, ()>>;

/// What is promised of the longest time between two tokens.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    pub median: Option<Duration>,
    pub most: Duration,
}

#[derive(Clone)]
pub struct Row {
    pub name: &'static str,
    pub fault: &'static str,
    pub promise: &'static str,
    pub setting: Setting,
    pub gap: Option<Gap>,
    /// A row that measures gaps has the machine to itself.
    pub alone: bool,
    pub whole: Option<Duration>,
    /// The fault may hit between a dispatch and its acceptance. The edge then runs the task elsewhere, and the first engine
    /// may finish it as well, although its answer reaches no client.
    pub unclear: bool,
    /// In place of the number of runs that the command asks for.
    pub runs: Option<u64>,
    /// A run takes many seconds: it is played once where others are played a few times.
    pub costly: bool,
    pub play: Play,
}

impl Row {
    /// A row whose mesh must be whole again in time.
    pub fn new(name: &'static str, setting: Setting, play: impl AsyncFn(&Fixture) + 'static) -> Self {
        let play = Rc::new(play);
        let play: Play = Rc::new(move |fixture| {
            let play = play.clone();
            async move { play(fixture).await }.boxed_local()
        });
        let (fault, promise, whole) = ("", "", Some(BACK));
        Self {
            name,
            fault,
            promise,
            setting,
            gap: None,
            alone: false,
            whole,
            unclear: false,
            runs: None,
            costly: false,
            play,
        }
    }

    /// The table's first two columns: what happens, and what the user must see.
    #[must_use]
    pub fn says(mut self, fault: &'static str, promise: &'static str) -> Self {
        (self.fault, self.promise) = (fault, promise);
        self
    }

    #[must_use]
    pub fn gap(mut self, most: Duration) -> Self {
        self.gap = Some(Gap { median: None, most });
        self.alone()
    }

    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    #[must_use]
    pub fn median(mut self, median: Duration) -> Self {
        if let Some(gap) = &mut self.gap {
            gap.median = Some(median);
        }
        self
    }

    /// Another limit than [`BACK`]; `None`: measured, and nothing is promised.
    #[must_use]
    pub fn whole(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.whole = limit.into();
        self
    }

    #[must_use]
    pub fn unclear(mut self) -> Self {
        self.unclear = true;
        self
    }

    /// What must hold in every run.
    pub fn promised(&self) -> Promised {
        Promised { gap: self.gap.map(|gap| gap.most), whole: self.whole, unclear: self.unclear }
    }

    /// A row whose limits leave room for others at work.
    #[must_use]
    pub fn beside(mut self) -> Self {
        self.alone = false;
        self
    }

    #[must_use]
    pub fn costly(mut self) -> Self {
        self.costly = true;
        self
    }

    #[must_use]
    pub fn runs(mut self, runs: u64) -> Self {
        self.runs = Some(runs);
        self
    }
}
