//! What tells the reader of a connection that there is something to look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// The waker of one connection. The two halves of hyper's connection ring it for each other too, while both are being
/// looked at: that wakes nobody, since whoever looks has no waker here until it has seen all there is. And who looks
/// although nothing has rung is spared the look.
pub struct Bell {
    rung: Arc<Rung>,
    waker: Waker,
}

struct Rung {
    is_rung: AtomicBool,
    reader: AtomicWaker,
}

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        self.reader.wake();
    }
}

impl Bell {
    /// One that has rung: nobody has looked yet.
    pub fn new() -> Self {
        let rung = Arc::new(Rung { is_rung: AtomicBool::new(true), reader: AtomicWaker::new() });
        Self { waker: rung.clone().into(), rung }
    }

    /// There is something to look at.
    pub fn ring(&self) {
        self.waker.wake_by_ref();
    }

    /// Nobody reads any more.
    pub fn forget(&self) {
        drop(self.rung.reader.take());
    }

    /// Looks if it has rung since the last look that found nothing; the reader is woken when it rings next.
    pub fn look<T>(
        &self,
        reader: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let found = if self.rung.is_rung.swap(false, Ordering::Acquire) {
            look(&mut Context::from_waker(&self.waker))
        } else {
            Poll::Pending
        };
        if found.is_ready() {
            // There may be more behind it.
            self.rung.is_rung.store(true, Ordering::Release);
            return found;
        }
        self.rung.reader.register(reader.waker());
        if self.rung.is_rung.load(Ordering::Acquire) {
            // Not at once: the runtime may have refused the look, since others are to have a turn.
            reader.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Reader(AtomicUsize);

    impl Wake for Reader {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_rings_while_it_is_looked_at_wakes_nobody_and_what_rings_later_wakes_the_reader() {
        let (bell, reader) = (Bell::new(), Arc::<Reader>::default());
        let (waker, woken) = (reader.clone().into(), || reader.0.load(Ordering::SeqCst));
        let cx = &mut Context::from_waker(&waker);
        let mut ringing = None;
        let found = bell.look(cx, |cx| {
            cx.waker().wake_by_ref();
            ringing = Some(cx.waker().clone());
            Poll::Ready(())
        });
        assert!(found.is_ready() && woken() == 0);
        assert!(bell.look(cx, |_| Poll::<()>::Pending).is_pending());
        let unasked = bell.look(cx, |_| -> Poll<()> { panic!("nothing has rung") });
        assert!(unasked.is_pending() && woken() == 0);
        ringing.expect("it was looked at").wake();
        assert_eq!(woken(), 1);
        assert!(bell.look(cx, |_| Poll::Ready(())).is_ready());
    }

    #[test]
    fn a_look_that_was_refused_is_not_forgotten() {
        let (bell, reader) = (Bell::new(), Arc::<Reader>::default());
        let waker = reader.clone().into();
        let cx = &mut Context::from_waker(&waker);
        let refuse = |cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        };
        assert!(bell.look(cx, refuse).is_pending());
        assert_eq!(reader.0.load(Ordering::SeqCst), 1);
        assert!(bell.look(cx, |_| Poll::Ready(())).is_ready());
    }
}
