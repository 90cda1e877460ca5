//! A machine: its clocks, and what happens to whatever leaves it.

use std::{panic, sync::Condvar, time::Duration};

use super::{
    super::server::Killed,
    faults::{Effect, Fault, When},
    store::View,
    world::{EPOCH_S, MOST_JOBS, State, World},
};
use crate::{
    clock::Clock,
    http::HttpClient,
    token::{Connect, SharedRecord},
};

/// A command on a machine.
pub(super) struct Job<'w> {
    pub(super) world: &'w World,
    pub(super) number: usize,
}

impl Job<'_> {
    fn turn(&self) -> &Condvar {
        &self.world.turns[self.number % MOST_JOBS]
    }

    /// Waits until it is this job's turn.
    pub(super) fn begin(&self) {
        let state = self.world.state();
        let not_yet = |state: &mut State| state.turn != Some(self.number);
        drop(
            self.turn()
                .wait_while(state, not_yet)
                .expect("no thread panicked"),
        );
    }

    /// Lets time go by, and other jobs go on.
    fn pass(&self, span: Duration) {
        let mut state = self.world.state();
        state.jobs[self.number].wakes_at = Some(state.now + span);
        self.world.go_on(&mut state);
        let not_yet = |state: &mut State| state.turn != Some(self.number);
        drop(
            self.turn()
                .wait_while(state, not_yet)
                .expect("no thread panicked"),
        );
    }

    pub(super) fn end(&self) {
        let mut state = self.world.state();
        state.jobs[self.number].wakes_at = None;
        self.world.go_on(&mut state);
    }

    /// Does something outside of this machine, and lets it meet its fault.
    pub(super) fn effect<T>(
        &self,
        effect: Effect,
        act: impl FnOnce(&mut State, Option<Fault>) -> T,
    ) -> T {
        let soon = Duration::from_millis(2);
        self.effect_within(effect, |_| (soon, soon), act)
    }

    /// The same, for something that takes its time.
    pub(super) fn effect_within<T>(
        &self,
        effect: Effect,
        travel: impl Fn(Option<Fault>) -> (Duration, Duration),
        act: impl FnOnce(&mut State, Option<Fault>) -> T,
    ) -> T {
        let fault = self.world.state().next_fault(self.number, effect);
        self.stand(fault, When::Before, effect);
        let (there, back) = travel(fault);
        self.pass(self.about(there));
        let result = {
            let mut state = self.world.state();
            let result = act(&mut state, fault);
            state.log(self.number, || format!("{effect:?} {fault:?}"));
            result
        };
        self.pass(self.about(back));
        self.stand(fault, When::After, effect);
        result
    }

    /// Gives a span that is up to half as long again.
    fn about(&self, span: Duration) -> Duration {
        let parts = self.world.state().chance.below(1_000);
        span.min(Duration::from_secs(1)) * u32::try_from(parts).expect("it is small") / 2_000 + span
    }

    /// Ends or stands still, if that is the fault.
    fn stand(&self, fault: Option<Fault>, now: When, effect: Effect) {
        match fault {
            Some(Fault::Kill(when)) if when == now => {
                let mut state = self.world.state();
                state.log(self.number, || format!("killed {now:?} {effect:?}"));
                drop(state);
                panic::resume_unwind(Box::new(Killed));
            }
            Some(Fault::Pause(when, seconds)) if when == now => {
                self.pass(Duration::from_secs(seconds));
            }
            Some(Fault::Sleep(when, seconds)) if when == now => {
                let span = Duration::from_secs(seconds);
                self.world.state().jobs[self.number].slept += span;
                self.pass(span);
            }
            _ => {}
        }
    }
}

impl Clock for Job<'_> {
    fn now_unix_s(&self) -> u64 {
        let state = self.world.state();
        let off_s = state.jobs[self.number].off_s;
        (EPOCH_S + state.now.as_secs()).saturating_add_signed(off_s)
    }

    fn monotonic(&self) -> Duration {
        let state = self.world.state();
        // Machines start at different times.
        Duration::from_secs(1_000 * (self.number as u64 + 1)) + state.now
            - state.jobs[self.number].slept
    }

    fn wait(&self, span: Duration) {
        self.wait_for(self.repeatable(span));
    }

    fn wait_between(&self, least: Duration, most: Duration) {
        let parts = self.world.state().chance.below(1_000);
        let parts = u32::try_from(parts).expect("it is small");
        self.wait_for(least + most.saturating_sub(least) * parts / 1_000);
    }
}

impl Job<'_> {
    /// Replaces a pause of the retry policy, which the real chance decided, by one that the seed decides.
    fn repeatable(&self, span: Duration) -> Duration {
        let parts = self.world.state().chance.below(1_000);
        let parts = u32::try_from(parts).expect("it is small");
        let step = Duration::from_secs(5);
        if span >= step * 2 {
            let steps = u32::try_from(span.as_secs() / step.as_secs()).expect("it is small");
            return step * steps + step * parts / 1_000;
        }
        let mut most = Duration::from_millis(250);
        while most < span {
            most *= 2;
        }
        most / 2 + most / 2 * parts / 1_000
    }

    fn wait_for(&self, span: Duration) {
        let fault = {
            let mut state = self.world.state();
            state.jobs[self.number].waits += 1;
            state.log(self.number, || format!("waits {span:?}"));
            state.next_fault(self.number, Effect::Wait)
        };
        self.stand(fault, When::Before, Effect::Wait);
        self.pass(span);
        self.stand(fault, When::After, Effect::Wait);
    }
}

impl Connect for Job<'_> {
    fn client(&self) -> anyhow::Result<&dyn HttpClient> {
        Ok(self)
    }

    fn record(&self) -> anyhow::Result<Box<dyn SharedRecord + '_>> {
        Ok(Box::new(View::new(self)))
    }

    fn token_record(&self) -> anyhow::Result<Option<Box<dyn SharedRecord + '_>>> {
        Ok(None)
    }
}
