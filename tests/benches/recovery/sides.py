"""The three sides with the same few verbs: train, strike a rank, see how they go on."""

import json
import re
import signal
import time
from dataclasses import dataclass

from harness import proc, sides
from harness.children import Child, Failed

# Until all ranks train: four processes that import PyTorch on two cores take their time.
START = 180.0
# What torchrun's restarts are limited to: more than any row kills.
RESTARTS = 100_000
# Our leader hears of steps with the heartbeats of worker and agent, 0.2 s each. A kill that comes sooner counts as one without
# progress, and three of those end a run.
HEARD = 0.6
# None within the longest run.
NEVER = "1000000000 steps"


class Stuck(Failed):
    """It did not go on in time."""


@dataclass(frozen=True)
class Step:
    """One that is done: when that was told, by how many ranks, and in which generation, restart or quorum."""

    at: float
    number: int
    life: int
    ranks: int
    loss: float


@dataclass(frozen=True)
class Recovered:
    """How a side went on after a fault."""

    some: float
    """Seconds until the next step of anybody."""
    all: float
    """Seconds until the next step of all ranks."""
    repeated: int
    """Steps that were done already and are done again."""
    thrown_away: int
    """Attempts that survivors computed to the end and threw away, where the side tells."""


class Side:
    """Mixed into a child process whose lines `parse` turns into steps."""

    # The variable that holds a process's rank.
    NAMED_BY = "RANK"

    def begin(self, ranks):
        self.world, self.history, self.furthest, self.lost = ranks, [], 0, {}

    def steps(self, seconds):
        for at, text in self.lines(time.monotonic() + seconds):
            if step := self.parse(at, text):
                self.history.append(step)
                yield step
                self.furthest = max(self.furthest, step.number)

    def trains(self, more, seconds=START):
        """Until all ranks have done so many steps that nobody had done before, and leaders had the time to hear of it."""
        least, since = self.furthest + more, time.monotonic()
        for step in self.steps(seconds):
            if step.ranks == self.world and step.number >= least and step.at >= since + HEARD:
                return step
        raise self.failure(f"step {least} was not done by {self.world} ranks within {seconds:.0f} s")

    def find(self, rank):
        """The process of that rank; none where it is just starting."""
        for pid in proc.descendants(self.pid):
            if proc.variable(pid, self.NAMED_BY) == str(rank):
                return pid
        return None

    def victim(self, rank):
        if (pid := self.find(rank)) is None:
            raise self.failure(f"there is no process of rank {rank}")
        return pid

    def strike(self, ranks, sent, seconds, by_all=True):
        """Sends the processes of these ranks a signal, and waits for the next step of all ranks, or of those that are left."""
        victims, life = [self.victim(rank) for rank in ranks], self.history[-1].life
        self.struck_at = time.monotonic()
        for victim in victims:
            proc.send(victim, sent)
        return self.recovered(life, seconds, by_all)

    def recovered(self, life, seconds, by_all=True):
        at, some = self.struck_at, None
        for step in self.steps(seconds):
            if step.life == life:
                continue
            if some is None:
                some, repeated = step.at - at, max(0, self.furthest + 1 - step.number)
            if step.ranks == self.world or not by_all:
                thrown = max((sum(t > at for t in times) for times in self.lost.values()), default=0)
                return Recovered(some, step.at - at, repeated, thrown)
        who = "anybody" if some is None else "all ranks"
        raise Stuck(str(self.failure(f"no step of {who} within {seconds:.0f} s after the fault")))


class Lockstep(Side, sides.Lockstep):
    """Checkpoints are off unless `sets` say otherwise: what goes on does so from memory."""

    def __init__(self, bench, net, ranks, run_dir=None, **sets):
        self.begin(ranks)
        self.generation = 0
        sets = {"nodes": ranks, "log_every": "1 steps", "checkpoint_every": NEVER} | net.sets | sets
        super().__init__(bench, f"models/{net.job}", sets, run_dir)

    def parse(self, at, text):
        if found := re.search(r"\bgeneration (\d+): ", text):
            self.generation = int(found[1])
        if found := re.match(r"^\s*step (\d+)/.*\bloss ([0-9.]+)", text):
            return Step(at, int(found[1]), self.generation, self.world, float(found[2]))
        return None

    def end(self, seconds=60.0):
        """Asks it to stop, so that all that it logged is kept."""
        proc.send(self.pid, signal.SIGINT)
        self.watch(seconds)


class Torchrun(Side, sides.Torchrun):
    """Rank 0 writes a checkpoint every so many steps, never for 0, and all go on from it."""

    def __init__(self, bench, net, ranks, every, **more):
        self.begin(ranks)
        words = [*net.words(more), "--checkpoint", bench.new_folder() / "state.pt", "--checkpoint-every", every]
        super().__init__(bench, "recovering.py", list(map(str, words)), RESTARTS, ranks)

    def parse(self, at, text):
        if not text.startswith('{"restart"'):
            return None
        told = json.loads(text)
        return Step(at, told["step"], told["restart"], self.world, told["loss"])


class Torchft(Side, Child):
    """A Lighthouse, and a replica group of one rank for each rank of the others, which is restarted at once where it dies."""

    NAMED_BY = "REPLICA_GROUP_ID"

    def __init__(self, bench, net, ranks, heartbeat=5.0, least=1, **more):
        self.begin(ranks)
        self.done = set()
        words = ["--heartbeat", heartbeat, "--groups", ranks, "--least", least, bench.peer("recovering.py"), *net.words(more)]
        super().__init__([bench.torchft, bench.peer("groups.py"), *map(str, words)])

    def parse(self, at, text):
        if not text.startswith('{"replica"'):
            return None
        told = json.loads(text)
        if not told["committed"]:
            # What a newcomer computes before it was ever in step is no loss.
            if told["survivor"]:
                self.lost.setdefault(told["replica"], []).append(at)
            return None
        # All groups tell of a step. It counts once.
        if (key := (told["step"], told["quorum"])) in self.done:
            return None
        self.done.add(key)
        return Step(at, told["step"], told["quorum"], told["ranks"], told["loss"])
