use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn ids(queue: &Queue) -> Vec<TaskId> {
    queue.order().line(&Line::Default).map(|(_, task)| task).collect()
}

fn entry<'a>(client: &'a Client, bytes: usize) -> Entry<'a> {
    Entry { line: &Line::Default, client, bytes }
}

fn named(name: &str) -> Client {
    Some(name.parse().unwrap())
}

fn task(id: u128) -> TaskId {
    TaskId::from_u128(id)
}

#[test]
fn who_waited_longer_is_first() {
    let mut queue = Queue::new(9);
    let [a, b, c] = [1, 2, 3].map(task);
    let place = queue.join(entry(&None, 1), 5, a);
    queue.join(entry(&None, 1), -5, b);
    queue.join(entry(&None, 1), 5, c);
    assert_eq!(ids(&queue), [b, a, c]);
    assert_eq!(queue.order().position(&Line::Default, place), 2);
}

#[test]
fn the_queue_is_bounded_in_number_and_in_bytes() {
    let mut queue = Queue::new(2);
    let has_room = |queue: &Queue, bytes| queue.room_for(&None, bytes).is_ok();
    assert!(has_room(&queue, MAX_BYTES) && !has_room(&queue, MAX_BYTES + 1));
    let place = queue.join(entry(&None, MAX_BYTES), 0, task(1));
    assert!(!has_room(&queue, 1));
    queue.leave(entry(&None, MAX_BYTES), place);
    queue.leave(entry(&None, MAX_BYTES), place);
    assert!(has_room(&queue, MAX_BYTES) && queue.is_empty());
    queue.join(Entry { line: &Line::Pull, ..entry(&None, 1) }, 0, task(1));
    queue.join(entry(&None, 1), 0, task(2));
    assert_eq!(queue.room_for(&None, 1), Err(Full { own: 2, all: 2 }));
}

#[test]
fn a_flood_leaves_room_for_others_and_is_told_whose_limit_it_is() {
    let (mut queue, flood, polite) = (Queue::new(6), named("flood"), named("polite"));
    for id in 0..6 {
        assert!(queue.room_for(&flood, 1).is_ok(), "alone it may have all of the limit");
        queue.join(entry(&flood, 1), 0, task(id));
    }
    let full = queue.room_for(&flood, 1).unwrap_err();
    assert_eq!(full.words(&flood, "wait"), "the queue is full (6 waiting); wait");
    for id in 10..13 {
        assert!(queue.room_for(&polite, 1).is_ok(), "{id}");
        queue.join(entry(&polite, 1), 0, task(id));
    }
    let full = queue.room_for(&polite, 1).unwrap_err();
    assert_eq!(
        full.words(&polite, "wait"),
        "too many tasks of client polite wait (3 of 9 in the queue); wait"
    );
    assert!(queue.room_for(&None, 1).is_ok(), "and there is some for a third one");
    let mut heavy = Queue::new(6);
    heavy.join(entry(&flood, MAX_BYTES), 0, task(1));
    assert!(heavy.room_for(&flood, 1).is_err() && heavy.room_for(&polite, MAX_BYTES / 2).is_ok());
}

#[test]
fn the_client_with_the_fewest_tasks_at_work_is_next() {
    let (mut queue, a, b) = (Queue::new(9), named("a"), named("b"));
    let at_work = [&a, &a, &b].map(|client| queue.turn(client, &Line::Default));
    for id in 1..=3 {
        queue.join(entry(&a, 1), 0, task(id));
    }
    let place = queue.join(entry(&b, 1), 1, task(4));
    queue.join(entry(&b, 1), 1, task(5));
    assert_eq!(ids(&queue), [4, 1, 5, 2, 3].map(task), "b has one at work less");
    assert_eq!(queue.order().position(&Line::Default, place), 1);
    drop(at_work);
    assert_eq!(ids(&queue), [1, 4, 2, 5, 3].map(task), "and b had its turn last");
}

#[test]
fn between_equals_the_turn_goes_round() {
    let (mut queue, flood, polite) = (Queue::new(99), named("flood"), named("polite"));
    let places: Vec<_> = (0..9).map(|id| queue.join(entry(&flood, 1), 0, task(id))).collect();
    queue.leave(entry(&flood, 1), places[0]);
    // There is one slot, and nobody is at work when it becomes free.
    drop(queue.turn(&flood, &Line::Default));
    queue.join(entry(&polite, 1), 9, task(100));
    assert_eq!(ids(&queue)[..2], [100, 1].map(task));
    queue.forget_idle();
    assert_eq!(queue.clients(), 2);
}

#[test]
fn a_client_of_whom_nothing_is_known_any_more_is_forgotten() {
    let (mut queue, a) = (Queue::new(9), named("a"));
    let at_work = queue.turn(&a, &Line::Default);
    queue.forget_idle();
    assert_eq!(queue.clients(), 1);
    drop(at_work);
    queue.forget_idle();
    assert_eq!(queue.clients(), 0);
}

/// Something that happens to a queue. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Join {
        client: usize,
        line: usize,
        since: i64,
    },
    /// The first of a line has its turn, if a slot is free.
    Turn(usize),
    /// The task that has been at work for so many turns less than the longest ends.
    End(usize),
    Leave(usize),
}

fn steps(clients: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..clients, 0..2_usize, -50..50_i64).prop_map(|(client, line, since)| Step::Join { client, line, since }),
        4 => (0..2_usize).prop_map(Step::Turn),
        3 => (0..8_usize).prop_map(Step::End),
        1 => (0..50_usize).prop_map(Step::Leave),
    ];
    vec(step, 1..300)
}

/// A queue before some slots.
struct Bench {
    queue: Queue,
    lines: [Line; 2],
    clients: Vec<Client>,
    waiting: Vec<(usize, usize, Place, TaskId)>,
    at_work: Vec<(usize, AtWork)>,
    slots: usize,
    tasks: u128,
    /// Turns in a line since a client came into it, or had one there.
    passed: BTreeMap<(usize, usize), u64>,
}

impl Bench {
    fn new(clients: usize, slots: usize) -> Self {
        let lines = [Line::Default, Line::Pull];
        let clients = (0..clients).map(|client| named(&format!("c{client}"))).collect();
        let (queue, waiting, at_work, passed) =
            (Queue::new(usize::MAX / 4), Vec::new(), Vec::new(), BTreeMap::new());
        Self { queue, lines, clients, waiting, at_work, slots, tasks: 0, passed }
    }

    fn join(&mut self, client: usize, line: usize, since: i64) {
        self.tasks += 1;
        let entry = Entry { line: &self.lines[line], client: &self.clients[client], bytes: 1 };
        let place = self.queue.join(entry, since, task(self.tasks));
        self.waiting.push((client, line, place, task(self.tasks)));
        self.passed.entry((client, line)).or_default();
    }

    fn leave(&mut self, index: usize) -> (usize, usize) {
        let (client, line, place, _) = self.waiting.remove(index);
        let entry = Entry { line: &self.lines[line], client: &self.clients[client], bytes: 1 };
        self.queue.leave(entry, place);
        if !self.waiting.iter().any(|it| (it.0, it.1) == (client, line)) {
            self.passed.remove(&(client, line));
        }
        (client, line)
    }

    fn turn(&mut self, line: usize) -> Option<TaskId> {
        if self.at_work.len() == self.slots {
            return None;
        }
        let first = self.queue.order().line(&self.lines[line]).next()?.1;
        let index = self.waiting.iter().position(|it| it.3 == first).unwrap();
        let (client, line) = self.leave(index);
        self.at_work.push((client, self.queue.turn(&self.clients[client], &self.lines[line])));
        let others = self.passed.iter_mut().filter(|((_, its), _)| *its == line);
        others.for_each(|((its, _), passed)| *passed = if *its == client { 0 } else { *passed + 1 });
        Some(first)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Join { client, line, since } => self.join(client % self.clients.len(), *line, *since),
            Step::Turn(line) => _ = self.turn(*line),
            Step::End(index) if *index < self.at_work.len() => _ = self.at_work.remove(*index),
            Step::Leave(index) if *index < self.waiting.len() => _ = self.leave(*index),
            Step::End(_) | Step::Leave(_) => {}
        }
        if self.tasks.is_multiple_of(7) {
            self.queue.forget_idle();
        }
    }

    /// So many turns of others in its line no client has to bear.
    fn bound(&self) -> u64 {
        (8 * (self.slots + self.clients.len()) + self.clients.len()) as u64
    }
}

proptest! {
    #[test]
    fn with_one_client_the_order_is_that_of_time_waited(steps in steps(1), slots in 1..5_usize) {
        let mut bench = Bench::new(1, slots);
        for step in &steps {
            bench.step(step);
            for line in &bench.lines {
                let by_time: Vec<_> = bench.queue.line(line).collect();
                let in_order: Vec<_> = bench.queue.order().line(line).collect();
                prop_assert_eq!(&by_time, &in_order.iter().map(|(_, task)| *task).collect::<Vec<_>>());
                for ((_, task), at) in in_order.iter().zip(1..) {
                    let place = bench.waiting.iter().find(|it| it.3 == *task).unwrap().2;
                    prop_assert_eq!(bench.queue.order().position(line, place), at);
                }
            }
            // Over all lines, too: who is first is a matter of time alone.
            let all = bench.queue.order();
            let mut ranks: Vec<_> = all.lines().flat_map(|(_, line)| line).collect();
            ranks.sort_unstable();
            let mut places: Vec<_> = bench.waiting.iter().map(|it| (it.2, it.3)).collect();
            places.sort_unstable();
            prop_assert_eq!(ranks.iter().map(|it| it.1).collect::<Vec<_>>(), places.iter().map(|it| it.1).collect::<Vec<_>>());
        }
    }

    #[test]
    fn each_task_that_waits_has_one_place_in_the_order(steps in steps(4), slots in 1..5_usize) {
        let mut bench = Bench::new(4, slots);
        for step in &steps {
            bench.step(step);
            let order = bench.queue.order();
            for (line, tasks) in order.lines() {
                let tasks: Vec<_> = tasks.map(|(_, task)| task).collect();
                let (mut sorted, mut by_time) = (tasks.clone(), bench.queue.line(line).collect::<Vec<_>>());
                sorted.sort_unstable();
                by_time.sort_unstable();
                prop_assert_eq!(sorted, by_time);
                for (client, _, place, task) in &bench.waiting {
                    let Some(at) = tasks.iter().position(|it| it == task) else { continue };
                    prop_assert_eq!(order.position(line, *place) as usize, at + 1, "of client {}", client);
                }
            }
            prop_assert!(bench.queue.clients() <= bench.tasks as usize);
        }
    }

    #[test]
    fn nobody_starves_whatever_the_others_do(
        victim in 0..3_usize, long in 1..4_usize, slots in 1..5_usize, clients in 2..5_usize, others in vec((0..5_usize, 0..2_usize), 600),
    ) {
        // One client has long tasks at work and another one in the other line that waits; all others have short ones, one by one.
        let (mut bench, victim) = (Bench::new(clients, slots), victim % clients);
        for _ in 0..long.min(slots - 1) {
            bench.join(victim, 1, 0);
            bench.turn(1);
        }
        let long = bench.at_work.len();
        bench.join(victim, 0, 0);
        let waits = task(bench.tasks);
        let mut turns = 0;
        for (client, line) in others {
            let client = client % clients;
            if client == victim { continue; }
            bench.join(client, 0, -1_000);
            bench.join(client, line, 0);
            if bench.at_work.len() == bench.slots { bench.at_work.remove(long); }
            turns += 1;
            if bench.turn(0) == Some(waits) { break; }
            prop_assert!(turns <= bench.bound(), "it waits after {turns} turns of others");
        }
    }

    #[test]
    fn a_clients_wait_for_a_turn_is_bounded_by_slots_and_clients(steps in steps(4), slots in 1..5_usize) {
        let mut bench = Bench::new(4, slots);
        for step in &steps {
            bench.step(step);
            prop_assert!(bench.passed.values().all(|passed| *passed <= bench.bound()), "{:?}", bench.passed);
        }
    }
}
