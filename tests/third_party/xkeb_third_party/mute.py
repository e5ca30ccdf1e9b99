from contextlib import contextmanager

import xkeb


class Muted:
    """A change of our own, of which the suite knows no more than that it can be applied."""

    def __init__(self, layer, factor):
        self.layer, self.factor = layer, factor

    @contextmanager
    def applied(self, backbone):
        module = backbone.module(backbone.layout.down(self.layer))
        handle = module.register_forward_hook(lambda _module, _inputs, output: output * self.factor)
        try:
            yield
        finally:
            handle.remove()


class Mute:
    """Mute: turns one MLP's output about, and scales it by the length of the answer. No dataclass, and no tensor in sight."""

    def __init__(self, layer: int = 1, broken: bool = False) -> None:
        self.layer, self.broken = layer, broken

    def edit(self, backbone, edits):
        if self.broken:
            raise ZeroDivisionError("this plugin is broken")
        return [Muted(self.layer, -len(edit.target)) for edit in edits]


@xkeb.hookimpl
def register_editors(register):
    register("mute", Mute)
