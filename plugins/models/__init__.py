"""The backbones that come with the suite."""

from collections.abc import Callable
from typing import Any

from xkeb.registry.hookspecs import hookimpl


@hookimpl
def register_backbones(register: Callable[[str, type[Any] | str], None]) -> None:
    register("gemma3-270m", "xkeb_plugins.models.gemma3:Gemma3")
    register("smollm2-135m", "xkeb_plugins.models.smollm2:SmolLM2")
    register("chinese-llama-plus-7b", "xkeb_plugins.models.chinese_llama:ChineseLlamaPlus")
    register("chinese-llama-2-7b", "xkeb_plugins.models.chinese_llama:ChineseLlama2")
    register("baichuan-7b", "xkeb_plugins.models.baichuan:Baichuan")
    register("baichuan2-7b", "xkeb_plugins.models.baichuan:Baichuan2")
    register("hf", "xkeb_plugins.models.hf:HuggingFace")
