"""Where the values of secrets come from: the hub's environment, files that it names, plugins that its config names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from potato.errors import PotatoError

MAX_BYTES: Final = 64 * 1024
Vault = Callable[[str], str | None]


class Secrets:
    """Asked by name, each time anew: a rotated secret is in use at the next run."""

    def __init__(self, environ: Mapping[str, str], vaults: Sequence[Vault] = ()) -> None:
        self._environ = environ
        self._vaults = vaults

    def get(self, name: str) -> str | None:
        """The value: of the variable `NAME`, of the file that `NAME_FILE` names, or of the first plugin that knows it.

        Raises `PotatoError` (`secret-unreadable`) where a file or a plugin fails; nothing of a value is ever part of it.
        """
        value = self._environ.get(name)
        if value:
            return value
        path = self._environ.get(f"{name}_FILE")
        if path:
            return _from_file(name, path)
        for vault in self._vaults:
            try:
                value = vault(name)
            except Exception as error:  # noqa: BLE001 - a plugin's failure is this run's, not the hub's
                raise PotatoError("secret-unreadable", f"the plugin for {name} failed: {type(error).__name__}.") from None
            if value:
                return value
        return None


def _from_file(name: str, path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PotatoError("secret-unreadable", f"{name}_FILE cannot be read: {type(error).__name__}.") from None
    if len(data) > MAX_BYTES:
        raise PotatoError("secret-unreadable", f"{name}_FILE has more than {MAX_BYTES:,} bytes.")
    return text.rstrip("\r\n") or None
