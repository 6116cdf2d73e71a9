//! Whether a task may make an engine load its model anew, because the model is in memory with other load-time options.
//! That costs a load, and another one for the next task that needs the model as it is now.

use std::time::Duration;

/// A load that nobody has measured.
const UNMEASURED: Duration = Duration::from_secs(3);
/// What was measured counts within these bounds.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// So many loads long others may be taken before a task because the model is loaded for them. With fewer, an engine
/// that two kinds of tasks want would do little but load; with more, one kind would wait for the other's pleasure.
const OVERTAKEN: u32 = 3;

/// A task, and a node with a free slot that has its model loaded otherwise.
#[derive(Debug)]
pub struct Case {
    /// How long the task has waited here.
    pub waited: Duration,
    /// How long a load takes; `None` if nobody has measured one.
    pub load: Option<Duration>,
    /// How long it may wait at all.
    pub patience: Duration,
    /// The model answers others there, who would have to end first.
    pub in_use: bool,
    pub home: Home,
}

/// Where the model is in memory as the task needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    Nowhere,
    /// A node has it so, and nobody knows when that has a slot.
    Somewhere,
    /// A node has it so, and will have a slot in this time.
    In(Duration),
}

/// What the task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has waited long enough and goes before others.
    Overdue,
    /// It may go if nobody is there for whom the model is right as it is.
    May,
    Waits,
}

impl Case {
    pub fn judge(&self) -> Verdict {
        let load = self.load.map_or(UNMEASURED, |load| load.clamp(SHORTEST, LONGEST));
        let home_is_worth_it = match self.home {
            Home::Nowhere => false,
            Home::Somewhere => self.waited < load,
            Home::In(time) => self.waited < load && time < load,
        };
        match () {
            () if self.waited >= (load * OVERTAKEN).min(self.patience / 2) => Verdict::Overdue,
            () if self.in_use || home_is_worth_it => Verdict::Waits,
            () => Verdict::May,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(waited: u64, in_use: bool, home: Home) -> Verdict {
        let load = Some(Duration::from_secs(2));
        let (waited, patience) = (Duration::from_millis(waited), Duration::from_secs(60));
        Case { waited, load, patience, in_use, home }.judge()
    }

    #[test]
    fn a_task_waits_for_its_home_if_that_is_sooner_than_a_load() {
        let home = |ms| Home::In(Duration::from_millis(ms));
        assert_eq!(judge(0, false, home(1_900)), Verdict::Waits);
        assert_eq!(judge(0, false, home(2_000)), Verdict::May);
        assert_eq!(judge(0, false, Home::Nowhere), Verdict::May);
        assert_eq!(judge(0, false, Home::Somewhere), Verdict::Waits);
        assert_eq!(judge(2_000, false, home(10)), Verdict::May, "it has waited for as long as a load");
    }

    #[test]
    fn a_task_waits_for_those_who_use_the_model_as_it_is_but_not_for_ever() {
        assert_eq!(judge(5_900, true, Home::Nowhere), Verdict::Waits);
        assert_eq!(judge(6_000, true, Home::Nowhere), Verdict::Overdue);
    }

    #[test]
    fn nobody_waits_for_others_until_its_own_time_in_the_queue_is_over() {
        let (waited, patience) = (Duration::from_secs(30), Duration::from_secs(60));
        let load = Some(Duration::from_secs(25));
        let case = Case { waited, load, patience, in_use: true, home: Home::Nowhere };
        assert_eq!(case.judge(), Verdict::Overdue);
    }

    fn home() -> impl Strategy<Value = Home> {
        let time = (0..u64::MAX).prop_map(|ms| Home::In(Duration::from_millis(ms)));
        prop_oneof![Just(Home::Nowhere), Just(Home::Somewhere), time]
    }

    proptest! {
        #[test]
        fn nobody_waits_for_longer_than_three_of_the_longest_loads(
            load in proptest::option::of(any::<u64>()), in_use: bool, home in home(),
        ) {
            let (waited, load) = (LONGEST * OVERTAKEN, load.map(Duration::from_millis));
            prop_assert_eq!(Case { waited, load, patience: Duration::MAX, in_use, home }.judge(), Verdict::Overdue);
        }
    }
}
