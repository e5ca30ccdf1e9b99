"""One file a command; `xkeb.cli` imports it when it is asked for."""
