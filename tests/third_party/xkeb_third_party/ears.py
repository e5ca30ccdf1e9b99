from dataclasses import dataclass
from pathlib import Path

import xkeb


@dataclass(frozen=True)
class Ears:
    """Ears: a model that takes every text in small letters. A backbone of our own, from the model to its tokenizer."""

    path: str
    """A folder in the Hugging Face format."""

    def load(self, device, dtype):
        from tokenizers import normalizers
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from xkeb.models.hf.checkpoint import find_checkpoint, model_hash
        from xkeb.utils.hashing import digest

        tokenizer = AutoTokenizer.from_pretrained(self.path)
        inner = tokenizer.backend_tokenizer
        inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), inner.normalizer])
        model = AutoModelForCausalLM.from_pretrained(self.path, dtype=dtype).to(device)
        inner_hash = model_hash(find_checkpoint(Path(self.path)))
        return xkeb.Backbone("ears", model, tokenizer, sha256=digest(["small letters", inner_hash]))


@xkeb.hookimpl
def register_backbones(register):
    register("ears", Ears)
