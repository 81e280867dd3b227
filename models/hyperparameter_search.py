"""Search for hyper-parameters by TPE: recorded on disk, continued after a kill, within a budget.

The record is an Optuna journal. What a trial proposes follows from the seed, the number of finished trials and their
values alone, so a search that was killed goes on with the proposals of one that never was. The first trial is the
configuration in force: the best of a search is never worse than it on what was measured.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from models.errors import ConfigurationError, DataError, LakeLockedError
from models.search_space import Dimension, Value

RANDOM_TRIALS = 8
"""Trials at random before TPE takes over."""
WORST = 0.0
"""Value of a trial that could not be trained; NDCG has no lower one."""
_SECONDS, _PROBLEM = "seconds", "problem"

Objective = Callable[[int, Mapping[str, Value]], float]
"""Number of the trial (1-based) and its settings by name, to the value to be raised."""


@dataclass(frozen=True)
class SearchBudget:
    """When a search ends."""

    trials: int = 20
    """Finished trials that the study has at the end, those of earlier calls included."""
    seconds: float = 0.0
    """No trial begins later than this after the call; 0 for no limit. The last one is let finish."""

    def __post_init__(self) -> None:
        if self.trials < 1 or self.seconds < 0:
            raise ConfigurationError(
                f"a search needs at least one trial and no negative seconds, not {self.trials} and {self.seconds:g}"
            )


@dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    """1-based, among the finished."""
    settings: dict[str, Value]
    value: float
    seconds: float
    problem: str = ""
    """Why it could not be trained; empty when it was."""


@dataclass(frozen=True)
class SearchResult:
    """All finished trials of a study, in the order in which they ended; the first is the configuration in force."""

    trials: tuple[Trial, ...]

    @property
    def start(self) -> Trial:
        """The configuration in force.

        Raises:
            DataError: no trial has finished.
        """
        if not self.trials:
            raise DataError("the search has no finished trial; give it more seconds")
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The trial with the highest value, the earliest of equals.

        Raises:
            DataError: no trial has finished.
        """
        return max([self.start, *self.trials[1:]], key=lambda trial: trial.value)


def search(
    objective: Objective,
    space: Mapping[str, Dimension],
    start: Mapping[str, Value],
    budget: SearchBudget,
    *,
    storage: Path,
    seed: int,
) -> SearchResult:
    """Raise `objective` over `space`, going on from what `storage` records.

    Args:
        objective: Trains and measures one configuration. A `DataError` makes it the worst; other errors end the
            search, and a later call tries that trial again.
        space: What may be set, by dotted name.
        start: The configuration in force, one value for each name of `space`; ranges are widened to hold it.
        budget: When to end.
        storage: File of the study, made when absent. One search at a time may use it.
        seed: Of the proposals.

    Raises:
        LakeLockedError: another search uses the file.
        ConfigurationError: the space is empty, or `start` lacks a name.
    """
    if not space or set(space) - set(start):
        raise ConfigurationError(f"nothing to search, or no value in force for {sorted(set(space) - set(start))}")
    dimensions = {name: dimension.containing(start[name]) for name, dimension in space.items()}
    start = {name: start[name] for name in space}
    begun = time.monotonic()
    with _only_one(storage):
        study = _open(storage)
        while len(finished := _finished(study)) < budget.trials:
            if budget.seconds and time.monotonic() - begun >= budget.seconds:
                break
            _run_trial(study, objective, dimensions, start, number=len(finished) + 1, seed=seed)
        return SearchResult(tuple(_record(number, one) for number, one in enumerate(_finished(study), start=1)))


def _run_trial(
    study: optuna.Study,
    objective: Objective,
    dimensions: Mapping[str, Dimension],
    start: Mapping[str, Value],
    *,
    number: int,
    seed: int,
) -> None:
    # A sampler of its own for each trial: one that lives on would continue its stream only within this process.
    study.sampler = TPESampler(seed=(seed * 1_000_003 + number) % 2**32, n_startup_trials=RANDOM_TRIALS)
    if number == 1 and not study.get_trials(states=(TrialState.WAITING,)):
        study.enqueue_trial(dict(start))
    trial = study.ask(fixed_distributions={name: _distribution(one) for name, one in dimensions.items()})
    settings = {name: _rounded(trial.params[name]) for name in dimensions} if number > 1 else dict(start)
    begun = time.monotonic()
    try:
        value = objective(number, settings)
    except DataError as error:
        value = WORST
        trial.set_user_attr(_PROBLEM, str(error))
    trial.set_user_attr("settings", settings)
    trial.set_user_attr(_SECONDS, time.monotonic() - begun)
    study.tell(trial, value)


def _open(storage: Path) -> optuna.Study:
    """The study of a file; trials that a killed process left open are closed as failed and will be proposed again."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(storage))
    study = optuna.create_study(
        storage=JournalStorage(backend), study_name="study", direction="maximize", load_if_exists=True
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _record(number: int, trial: FrozenTrial) -> Trial:
    noted = trial.user_attrs
    return Trial(number, noted["settings"], float(trial.value or 0.0), noted[_SECONDS], noted.get(_PROBLEM, ""))


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.is_integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)


def _rounded(value: Value) -> Value:
    """Three digits: more are noise, and a person has to commit them."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


@contextmanager
def _only_one(storage: Path) -> Iterator[None]:
    storage.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(storage.with_suffix(".searching"), timeout=0):  # Optuna locks the journal itself by `.lock`
            yield
    except Timeout as error:
        raise LakeLockedError(f"another search is at work on {storage}; let it end") from error
