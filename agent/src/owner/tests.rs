use std::time::Duration;

use jiff::civil::date;
use proptest::prelude::*;

use super::busy::Patience;
use super::hours::Hours;
use super::*;

/// Central Europe's, by its rule.
fn zone() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn unix(local: DateTime) -> u64 {
    u64::try_from(local.to_zoned(zone()).unwrap().timestamp().as_millisecond()).unwrap()
}

fn at(day: i8, hour: i8, minute: i8) -> u64 {
    unix(date(2026, 11, day).at(hour, minute, 0, 0))
}

fn rules(hours: &str) -> Rules {
    let windows: Vec<_> = hours.split(',').map(|it| it.parse().unwrap()).collect();
    Rules { hours: Hours::of(&windows).unwrap(), ..Rules::default() }
}

fn owner(hours: &str, unix_ms: u64) -> Owner {
    Owner::new(rules(hours), zone(), unix_ms)
}

impl Owner {
    fn word(&mut self, unix_ms: u64) -> Option<Paused> {
        self.look(unix_ms);
        self.paused().map(|(word, _)| word)
    }

    fn ordered(&mut self, drain: bool, unix_ms: u64) {
        self.look(unix_ms);
        self.order(drain);
    }
}

#[test]
fn a_node_works_in_its_hours_by_the_clock_on_the_wall() {
    let mut owner = owner("22:00-07:00", at(3, 12, 0));
    let (word, why) = owner.paused().unwrap();
    assert_eq!((word, &*why), (Paused::Hours, "outside of its hours (22:00-07:00), again at 22:00"));
    assert_eq!(owner.word(at(3, 21, 59)), Some(Paused::Hours));
    assert_eq!(owner.word(at(3, 22, 0)), None);
    // The same hour on the wall in summer is another one in universal time.
    let summer = unix(date(2026, 7, 3).at(22, 0, 0, 0));
    assert_eq!((owner.word(summer - 1), owner.word(summer)), (Some(Paused::Hours), None));
}

#[test]
fn an_order_holds_until_the_hours_change() {
    let mut node = owner("22:00-07:00", at(3, 12, 0));
    node.ordered(false, at(3, 12, 0));
    assert_eq!(node.word(at(3, 21, 0)), None, "the owner lets it work");
    assert_eq!((node.word(at(3, 23, 0)), node.word(at(4, 7, 0))), (None, Some(Paused::Hours)));
    node.ordered(true, at(4, 23, 0));
    assert_eq!((node.word(at(5, 6, 59)), node.word(at(5, 7, 0))), (Some(Paused::Owner), Some(Paused::Hours)));
    assert_eq!(node.word(at(5, 22, 0)), None, "the next night it works again");
    let mut always = Owner::new(Rules::default(), zone(), 0);
    always.ordered(true, 0);
    assert_eq!(always.word(u64::MAX), Some(Paused::Owner), "without hours it holds until it is taken back");
    always.ordered(false, 0);
    assert_eq!(always.word(0), None);
}

#[test]
fn a_resume_in_its_hours_is_no_order_for_later() {
    let mut node = owner("22:00-07:00", at(3, 23, 0));
    node.ordered(true, at(3, 23, 0));
    node.ordered(false, at(3, 23, 30));
    assert_eq!((node.word(at(4, 6, 0)), node.word(at(4, 8, 0))), (None, Some(Paused::Hours)));
}

#[test]
fn an_order_is_over_after_a_night_that_the_machine_has_slept_through() {
    let mut node = owner("22:00-07:00", at(3, 23, 0));
    node.ordered(true, at(3, 23, 0));
    assert_eq!(node.word(at(4, 23, 0)), None, "the hours have changed twice");
    node.ordered(true, at(20, 23, 0));
    assert_eq!(node.word(at(4, 12, 0)), Some(Paused::Hours), "and so after a clock that was put back");
    assert_eq!(node.word(at(4, 23, 0)), None);
}

#[test]
fn an_owner_who_resumes_is_obeyed_though_others_need_the_machine() {
    let patience = Patience { pause: Duration::ZERO, resume: Duration::ZERO };
    let busy = Some(("0.5".parse().unwrap(), patience));
    let mut node = Owner::new(Rules { busy, ..Rules::default() }, zone(), 0);
    let now = Instant::now();
    node.measured(Usage { processor: Some(0.9), ..Usage::default() }, now);
    assert_eq!(node.word(0), Some(Paused::Load));
    node.ordered(false, 0);
    assert_eq!(node.word(0), None);
}

#[test]
fn what_is_offered_is_told_in_sentences() {
    let offer = echo_bus::model_pattern::Patterns::of(&["llama3*".parse().unwrap()]).unwrap();
    let busy = Some(("0.5".parse().unwrap(), Patience { pause: Duration::ZERO, resume: Duration::ZERO }));
    let rules = Rules { max_slots: Some(2), offer, busy, ..rules("22:00-07:00") };
    let told = [
        "offers 2 of 4 slots",
        "offers only the models llama3*",
        "works for others at 22:00-07:00",
        "pauses while others use more than 0.5 of the processor or more than 0.5 of the GPU's memory",
    ];
    assert_eq!(rules.limits(4), told);
    assert_eq!((rules.limits(1).len(), rules.offered_slots(1)), (3, 1));
    assert!(Rules::default().limits(4).is_empty());
}

proptest! {
    /// Whatever was ordered, and however the clock runs, goes back or jumps: no order outlives its hours, and what holds
    /// follows from the clock of this moment and the last order alone.
    #[test]
    fn hours_hold_however_the_clock_runs(
        steps in prop::collection::vec((0u8..4, -5_000_000i64..90_000_000), 1..60),
    ) {
        let start = at(3, 12, 0);
        let (mut node, mut now) = (owner("22:00-07:00", start), start);
        let hours = rules("22:00-07:00").hours.unwrap();
        let mut order: Option<(bool, DateTime)> = None;
        for (what, ms) in steps {
            now = now.saturating_add_signed(ms);
            let local = zone().to_datetime(Timestamp::from_millisecond(i64::try_from(now).unwrap()).unwrap());
            let open = hours.open(local);
            order = order.filter(|(_, at)| hours.open(*at) == open && hours.next_change(*at).unwrap() > local);
            if what < 2 {
                node.ordered(what == 0, now);
                order = Some((what == 0, local));
            }
            let expected = match order {
                Some((true, _)) => Some(Paused::Owner),
                Some((false, _)) => None,
                None if open => None,
                None => Some(Paused::Hours),
            };
            prop_assert_eq!(node.word(now), expected);
        }
    }
}
