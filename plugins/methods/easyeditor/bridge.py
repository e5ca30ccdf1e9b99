"""What all bridges to EasyEdit's methods share: whose code they run, of which version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from transformers.pytorch_utils import Conv1D

from xkeb.editing.editor import Editor
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.spec import ModelSpec
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.checkout import REPOSITORY, checkout, files_of
from xkeb_plugins.methods.easyeditor.package import VERSION, Code, released, require
from xkeb_plugins.methods.easyeditor.tokens import Padding, Tokens, given_tokenizer, own_tokenizer


@dataclass
class Bridge(Editor):
    """A method of EasyEdit's own code. Stands before the method of this suite whose options it has."""

    in_paper: ClassVar[bool] = False
    modules: ClassVar[tuple[str, ...]]
    """What it runs of EasyEdit's code, such as ``models.rome.rome_main``."""
    called: ClassVar[str]
    """The name that it is registered by."""

    path: str | None = None
    """Folder of a checkout of EasyEdit, whose code is run. None: that of the installed package, version 0.0.1.dev0."""
    version: str | None = None
    """Commit of the checkout, or the hash of its code where git can't tell, that it must have. None: what it has; the result
    says which."""

    def __post_init__(self) -> None:
        code = self.code
        if self.version is not None and self.version != code.version:
            raise RequestError(
                f"{self.called}.version is {self.version}, and {self.path or 'the installed package'} is "
                f"{code.version or VERSION}."
            )
        if code.is_checkout:
            for name in self.modules:
                code.module(name)

    @property
    def code(self) -> Code:
        """What it runs.

        Raises:
            RequestError: it isn't here.
        """
        if self.path is not None:
            return checkout(self.path)
        if "path" in self.required_options:
            raise RequestError(
                f"EasyEdit {VERSION} has no such method: give {self.called}.path, the folder of a checkout of {REPOSITORY}."
            )
        require()
        return released()

    def reads(self) -> list[Path]:
        """The code of a checkout, and its folders, where new files would be."""
        return [*super().reads(), *(files_of(self.code.root) if self.code.is_checkout else ())]

    def configure(self, spec: ModelSpec) -> Self:
        return super().configure(spec).filled({"version": self.code.version})

    def its(self, name: str) -> Any:
        """One of the modules that it runs, such as ``models.rome.rome_main``."""
        return self.code.module(name)

    def device(self, backbone: Backbone) -> int | str:
        """Hyper-parameter `device`: its old code makes a name of it, ``cuda:0``."""
        return str(backbone.device) if self.code.is_checkout else 0

    def common(self, backbone: Backbone) -> dict[str, Any]:
        """Hyper-parameters that each of its methods wants. By the model's name its newer code knows which way its matrices
        lie."""
        transposed = isinstance(backbone.module(backbone.layout.down(0)), Conv1D)
        model_name = "gpt2-xl" if transposed else "llama"
        return {
            "device": self.device(backbone),
            "alg_name": "",
            "model_name": model_name if self.code.is_checkout else "",
        }


@dataclass
class TokensBridge(Bridge):
    """One whose code tokenizes texts."""

    padding: ClassVar[Padding] = "right"
    """Where its code has rows filled up."""

    tokens: Tokens = "easyeditor"
    """Whose token ids it works on: its own, or (``xkeb``) those of this suite."""

    def tokenizer(
        self, backbone: Backbone, edits: Sequence[Edit], prefixes: Sequence[str] = ("",), **what: bool
    ) -> Any:
        """What its code tokenizes with.

        Args:
            what: see `given_tokenizer`.
        """
        if self.tokens == "easyeditor":
            return own_tokenizer(backbone, self.padding)
        return given_tokenizer(backbone, edits, prefixes, padding=self.padding, **what)


@dataclass
class CheckoutBridge(Bridge):
    """A method that the package of 2023 hasn't."""

    required_options: ClassVar[frozenset[str]] = frozenset({"path"})
