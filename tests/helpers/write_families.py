"""Writes the table of families of docs/backbones.md: `make families`."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import transformers
from family_walk import walk
from tiny_families import FAMILIES

from xkeb.testing.small import small_tokenizer

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tokenizer = small_tokenizer()
    table = {"transformers": transformers.__version__, "families": {one: walk(one, tokenizer) for one in FAMILIES}}
    Path(sys.argv[1]).write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
