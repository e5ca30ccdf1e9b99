"""MEMIT's options, and what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
from plain_memit import EDITS, memit
from transformers import LlamaConfig, LlamaForCausalLM

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.testing.small import small_tokenizer
from xkeb.types import Case
from xkeb_plugins.methods.memit import Memit

pytestmark = pytest.mark.usefixtures("fresh_cache")


def test_the_defaults_are_those_of_the_paper(llama: Backbone) -> None:
    config = LlamaConfig(
        vocab_size=900, hidden_size=16, intermediate_size=24, num_hidden_layers=32, num_attention_heads=2
    )
    deep = Backbone("deep", LlamaForCausalLM(config), small_tokenizer(), "0" * 64)
    editor = xkeb.load_editor("memit").configure(deep.spec)
    assert isinstance(editor, Memit)
    assert editor.layers == (4, 5, 6, 7, 8)
    assert (editor.mom2_update_weight, editor.contexts) == (15000, ((10, 5),))
    assert (editor.steps, editor.lr, editor.kl_factor, editor.weight_decay) == (25, 0.5, 0.0625, 1e-3)
    assert (editor.clamp, editor.stop_loss) == (4, 5e-2)
    shallow = xkeb.load_editor("memit").configure(llama.spec)
    assert isinstance(shallow, Memit) and shallow.layers == (1, 2)  # of six


@pytest.mark.parametrize("layers", [(), (-1, 2), (2, 2), (3, 1), (1, 6), (99,)])
def test_layers_that_are_not_there_or_do_not_rise_are_refused(llama: Backbone, layers: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=rf"memit\.layers is {re_list(layers)}; .* from 0 to 5") as refused:
        xkeb.load_editor("memit", layers=layers, mom2_corpus="task").edit(llama, EDITS[:1])
    assert "\n" not in str(refused.value)


def re_list(layers: tuple[int, ...]) -> str:
    return str(list(layers)).replace("[", r"\[").replace("]", r"\]")


def test_an_edit_whose_subject_is_not_in_its_prompt_is_refused(llama: Backbone, training: list[Case]) -> None:
    editor = memit(llama, training)
    for subject in ("", "France", "japan"):
        edit = dataclasses.replace(EDITS[0], subject=subject)
        assert (repr(subject) if subject else "it has no subject") in editor.unsupported(llama, edit)
        with pytest.raises(RequestError, match=r"does not stand in the prompt|it has no subject"):
            editor.edit(llama, [edit])
    assert editor.unsupported(llama, EDITS[0]) is None
