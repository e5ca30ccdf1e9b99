"""Plugins: the hooks, the registries that they fill, and the options of what is registered."""

from xkeb.registry.hookspecs import hookimpl

__all__ = ["hookimpl"]
