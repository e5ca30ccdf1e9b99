"""Bi-ZsRE (Wang et al., ACL 2024, https://github.com/krystalan/Bi_ZsRE): ZsRE with its Chinese translation. MIT licence."""

from xkeb.datasets import Download, ParallelRecords

_TEST = "https://raw.githubusercontent.com/YukinoshitaKaren/X_KDE/d2ff78a666ba0c03bd1f95b2e21cbe67b482dc87/eval/data/bizsre_test.json"
_ARCHIVE = "https://drive.google.com/uc?id=1Dw2q-oIUWoV1CvUl5q3CBaD0JIV9jtn0"
"""The authors' own archive, which states no hashes."""

BIZSRE = ParallelRecords(
    name="bizsre",
    languages=("en", "zh"),
    test_file="bizsre_test.json",
    training_files={"en": "zsre_mend_train_10000.json", "zh": "zsre_mend_train_10000_chinese.json"},
    validation_files={"en": "zsre_mend_eval.json", "zh": "zsre_mend_eval_chinese.json"},
    downloads=(
        Download("bizsre_test.json", _TEST, "caa15a319e8fd3acaaca15923756efa48f8c2f3893351c165b61bbf246a09b6e"),
        *(
            Download(file, _ARCHIVE, member=file)
            for file in (
                "zsre_mend_train_10000.json",
                "zsre_mend_train_10000_chinese.json",
                "zsre_mend_eval.json",
                "zsre_mend_eval_chinese.json",
            )
        ),
    ),
)
