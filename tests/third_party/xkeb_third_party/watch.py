import xkeb
from xkeb.evaluation.executors.local import run_jobs


def backwards(jobs, config, observer):
    """The jobs of the plan, the last one first."""
    return run_jobs(list(reversed(jobs)), config, observer)


class Count(xkeb.RunObserver):
    """Count: says at the end how many cases were edited."""

    def __init__(self, unit: str = "cases") -> None:
        self.unit, self.edited = unit, 0

    def case_done(self, case_id, record, protocol):
        self.edited += record is not None

    def run_ended(self, results, failed):
        print(f"{self.edited} {self.unit} edited")


@xkeb.hookimpl
def register_executors(register):
    register("backwards", backwards)


@xkeb.hookimpl
def register_observers(register):
    register("count", Count)
