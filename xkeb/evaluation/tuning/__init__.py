"""Choosing a method's settings without the test set: a grid, facts that nothing is learned from, a table, a choice."""

from xkeb.evaluation.tuning.points import PointRecord
from xkeb.evaluation.tuning.search import Tuning, tune

__all__ = ["PointRecord", "Tuning", "tune"]
