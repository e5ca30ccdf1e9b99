"""bizsre_mini: a small bilingual data set written for this suite, in the upstream schema. See README.md beside it."""

from pathlib import Path

from xkeb.data.parallel import ParallelRecords

BIZSRE_MINI = ParallelRecords(
    name="bizsre_mini",
    languages=("en", "zh"),
    test_file="bizsre_mini_test.json",
    training_files={"en": "bizsre_mini_train.json", "zh": "bizsre_mini_train_chinese.json"},
    shipped=Path(__file__).parent,
)
