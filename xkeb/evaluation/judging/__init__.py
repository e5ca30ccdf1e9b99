"""A language model as a judge of free answers, behind any endpoint with OpenAI's interface."""

from xkeb.evaluation.judging.asking import Asked, ask_all
from xkeb.evaluation.judging.cache import VerdictCache
from xkeb.evaluation.judging.endpoint import Endpoint
from xkeb.evaluation.judging.judge import Judge
from xkeb.evaluation.judging.plan import JudgingPlan, plan_judging, write_judged

__all__ = [
    "Asked", "Endpoint", "Judge", "JudgingPlan", "VerdictCache", "ask_all", "plan_judging", "write_judged",
]  # fmt: skip
