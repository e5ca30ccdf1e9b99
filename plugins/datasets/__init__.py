"""The data sets that come with the suite, or that it knows how to fetch."""

from collections.abc import Callable

from xkeb.data.dataset import Dataset
from xkeb.registry.hookspecs import hookimpl


@hookimpl
def register_datasets(register: Callable[[str, Dataset | str], None]) -> None:
    register("bizsre", "xkeb_plugins.datasets.bizsre:BIZSRE")
    register("bizsre_mini", "xkeb_plugins.datasets.bizsre_mini:BIZSRE_MINI")
    register("bmike53_counterfact", "xkeb_plugins.datasets.bmike53:COUNTERFACT")
    register("bmike53_wikifactdiff", "xkeb_plugins.datasets.bmike53:WIKIFACTDIFF")
    register("bmike53_zsre", "xkeb_plugins.datasets.bmike53:ZSRE")
    register("clm_bench", "xkeb_plugins.datasets.clm_bench:CLM_BENCH")
    register("locft_counterfact", "xkeb_plugins.datasets.locft:COUNTERFACT")
    register("locft_wikibigedit", "xkeb_plugins.datasets.locft:WIKIBIGEDIT")
    register("locft_zsre", "xkeb_plugins.datasets.locft:ZSRE")
    register("mzsre", "xkeb_plugins.datasets.mzsre:MZSRE")
