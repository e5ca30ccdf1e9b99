"""Choosing a method's settings without the test set: a grid, facts that nothing is learned from, a table, a choice."""

from xkeb.evaluation.tuning.points import PointRecord
from xkeb.evaluation.tuning.search import Tuning, tune
from xkeb.evaluation.tuning.settings_file import TunedSettings, read_settings

__all__ = ["PointRecord", "TunedSettings", "Tuning", "read_settings", "tune"]
