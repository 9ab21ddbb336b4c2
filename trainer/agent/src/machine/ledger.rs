//! What this node's time goes to, booked as it passes.

use super::Time;
use lockstep_run::link::Phase;
use lockstep_run::{Account, Report, Step, Use};
use std::time::Duration;

/// Nodes that aren't back after this are waited for; before, a generation forms.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a node does at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Doing {
    /// Its workers are in a generation.
    Working(Phase),
    /// It waits for the next generation; whether storage is what it waits for.
    Between { storage: bool },
    /// It has left.
    Nothing,
}

/// Books time on a run's account. Replicas go in step, so a node's own workers tell what all of them do.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    account: Account,
    /// Whether this node was in a generation of the run: else it knows nothing of the time before.
    took_part: bool,
    booked: Time,
    last: Option<Use>,
    /// Since when it has been between two generations.
    between: Option<Time>,
    /// Steps done, as was last heard in this generation, and what has been booked since.
    step: Option<Step>,
    since_step: Duration,
    /// The step of rank 0's last report.
    reported: Option<Step>,
}

impl Ledger {
    pub(super) fn new(now: Time) -> Self {
        Self { booked: now, ..Self::default() }
    }

    /// What is known of the run's time, where this node took part in it.
    pub(super) fn account(&self) -> Option<Account> {
        (self.took_part && self.account.highest > Step(0)).then_some(self.account)
    }

    /// Time has passed in which the node did this.
    pub(super) fn pass(&mut self, now: Time, doing: Doing) {
        let time = now.saturating_sub(self.booked);
        self.booked = now;
        if let Doing::Between { .. } = doing {
            self.between.get_or_insert(now);
        } else {
            self.between = None;
        }
        let Some(class) = self.class(now, doing) else { return };
        let trained = |class| matches!(class, Some(Use::Training | Use::Repeating));
        if let (true, Some(last), Doing::Between { .. }) = (trained(self.last), self.last, doing) {
            // A generation is lost; what came after its last step led to none.
            self.account.rebook(last, Use::Forming, self.since_step);
        }
        self.last = Some(class);
        self.account.add(class, time);
        if trained(Some(class)) {
            self.since_step += time;
        }
    }

    fn class(&self, now: Time, doing: Doing) -> Option<Use> {
        Some(match doing {
            Doing::Working(Phase::Starting) => Use::Forming,
            Doing::Working(Phase::Loading) => Use::Loading,
            Doing::Working(Phase::Evaluating) => Use::Evaluating,
            Doing::Working(Phase::Saving) => Use::Saving,
            Doing::Working(Phase::FirstStep | Phase::Training) => {
                match self.step.is_some_and(|step| step < self.account.highest) {
                    true => Use::Repeating,
                    false => Use::Training,
                }
            }
            Doing::Between { storage: true } => Use::WaitingForStorage,
            Doing::Between { storage: false } => {
                match self.between.is_some_and(|since| now > since + PATIENCE) {
                    true => Use::WaitingForNodes,
                    false => Use::Forming,
                }
            }
            Doing::Nothing => return None,
        })
    }

    /// A generation begins, whose record holds this.
    pub(super) fn begin(&mut self, recorded: Option<Account>) {
        if let Some(recorded) = recorded.filter(|recorded| recorded.total() > self.account.total()) {
            self.account = recorded;
        }
        self.took_part = true;
        (self.step, self.since_step, self.reported) = (None, Duration::ZERO, None);
    }

    /// A worker told how far it is.
    pub(super) fn beat(&mut self, step: Step, phase: Phase) {
        if phase.is_before_training() {
            return;
        }
        match self.step {
            Some(before) if step > before => {
                self.account.stepped(before, step);
                self.since_step = Duration::ZERO;
            }
            Some(_) => return,
            None => {}
        }
        self.step = Some(step);
    }

    /// Rank 0 told what the steps of an interval took.
    pub(super) fn report(&mut self, report: &Report) {
        let before = self.reported.replace(report.step).or(self.step);
        if let (Some(seconds), Some(before)) = (report.step_seconds, before) {
            let steps = report.step.0.saturating_sub(before.0) as f64;
            let waited = Duration::try_from_secs_f64(seconds.data * steps).unwrap_or_default();
            self.account.rebook(Use::Training, Use::WaitingForData, waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::StepSeconds;

    const BETWEEN: Doing = Doing::Between { storage: false };

    fn seconds(s: f64) -> Time {
        Time::from_secs_f64(s)
    }

    /// One that has trained from 0 s to 10 s, and has done ten steps.
    fn trained() -> Ledger {
        let mut ledger = Ledger::new(seconds(0.0));
        ledger.begin(None);
        ledger.beat(Step(0), Phase::FirstStep);
        ledger.beat(Step(1), Phase::Training);
        ledger.pass(seconds(10.0), Doing::Working(Phase::Training));
        ledger.beat(Step(10), Phase::Training);
        ledger
    }

    fn account(ledger: &Ledger) -> Account {
        ledger.account().unwrap()
    }

    #[test]
    fn every_second_is_booked_once() {
        let mut ledger = trained();
        for (until, doing) in [
            (11.0, Doing::Working(Phase::Evaluating)),
            (13.0, Doing::Working(Phase::Saving)),
            (13.1, BETWEEN),
            (14.0, BETWEEN),
            (15.0, BETWEEN),
            (18.0, Doing::Between { storage: true }),
            (18.5, Doing::Working(Phase::Starting)),
            (19.0, Doing::Working(Phase::Loading)),
            (20.0, Doing::Working(Phase::FirstStep)),
            (25.0, Doing::Nothing),
        ] {
            ledger.pass(seconds(until), doing);
        }
        let found = account(&ledger);
        let rounded = Use::ALL.map(|class| (found.get(class).as_secs_f64() * 10.0).round() / 10.0);
        assert_eq!(rounded, [11.0, 0.0, 1.5, 0.5, 2.0, 1.0, 1.0, 0.0, 3.0, 0.0]);
        assert_eq!(found.total(), seconds(20.0));
    }

    #[test]
    fn a_step_that_was_not_finished_was_no_training() {
        let mut ledger = trained();
        ledger.pass(seconds(13.0), Doing::Working(Phase::Training));
        assert_eq!(account(&ledger).training, seconds(13.0));
        ledger.pass(seconds(13.5), BETWEEN);
        let found = account(&ledger);
        assert_eq!(
            (found.training, found.forming),
            (seconds(10.0), seconds(3.5)),
            "3 s of silence, and then the forming"
        );
    }

    #[test]
    fn steps_that_were_done_before_are_repeated() {
        let mut ledger = trained();
        ledger.pass(seconds(11.0), BETWEEN);
        ledger.begin(None);
        ledger.beat(Step(6), Phase::FirstStep);
        ledger.pass(seconds(13.0), Doing::Working(Phase::Training));
        ledger.beat(Step(10), Phase::Training);
        ledger.pass(seconds(16.0), Doing::Working(Phase::Training));
        let found = account(&ledger);
        assert_eq!((found.repeating, found.training, found.repeated_steps), (seconds(2.0), seconds(13.0), 4));
    }

    #[test]
    fn who_took_no_part_knows_nothing_and_takes_over_what_is_recorded() {
        let mut ledger = Ledger::new(seconds(0.0));
        ledger.pass(seconds(3.0), BETWEEN);
        assert_eq!(ledger.account(), None);
        let recorded = Account { training: seconds(100.0), highest: Step(50), ..Account::default() };
        ledger.begin(Some(recorded));
        assert_eq!(ledger.account(), Some(recorded));
        ledger.begin(Some(Account { training: seconds(99.0), ..recorded }));
        assert_eq!(ledger.account(), Some(recorded), "what passed since the record was proposed stays");
    }

    #[test]
    fn reports_tell_how_long_data_was_waited_for() {
        let mut ledger = trained();
        let step_seconds = Some(StepSeconds { data: 0.5, ..StepSeconds::default() });
        let report = |step| Report { step: Step(step), step_seconds, ..Report::default() };
        ledger.report(&report(14));
        ledger.report(&report(20));
        let found = account(&ledger);
        assert_eq!((found.waiting_for_data, found.training), (seconds(5.0), seconds(5.0)), "4 steps and 6");
    }
}
