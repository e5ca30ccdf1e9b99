"""Data sets: records of files become cases, and how to get, check and describe the files."""

from xkeb.data.dataset import Dataset, Download, Split
from xkeb.data.parallel import ParallelRecords

__all__ = ["Dataset", "Download", "ParallelRecords", "Split"]
