"""What other packages may add, through one pluggy project for all hooks.

A package declares an entry point of the group ``prime_train`` for a module, and implements any of
the hooks below in it::

    from pytest_prime_train.hookspecs import hookimpl

    @hookimpl
    def prime_offer_sources():
        return {"mycloud": OfferSource(fetch)}

Installing the package is enough. What an added package raises never ends a run: it is named, and
everything else goes on without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pytest_prime_train.cost.added import OfferSource
    from pytest_prime_train.resilience.stores import Opener

GROUP = "prime_train"
"""The entry-point group, and the name of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Hooks:
    """The hooks; a new parameter of one is no break, as implementations name those they use."""

    @hookspec
    def prime_stores(self) -> dict[str, Opener]:
        """Stores of checkpoints, for packages that reach one more kind.

        Returns:
            Openers by the scheme of their addresses. ``opener(parts, settings)`` takes the split
            address and ``StoreSettings`` and returns a ``Store``; the conformance suite of the
            project, ``tests/test_stores.py``, says what one must do.
        """
        raise NotImplementedError

    @hookspec
    def prime_offer_sources(self) -> dict[str, OfferSource]:
        """Offers of hardware, for packages that know one more market.

        Returns:
            Sources by name. A source that needs the network is asked by ``--refresh`` alone and
            its answer is kept; any other is read at every search.
        """
        raise NotImplementedError


class Added:
    """The packages that are installed beside this one.

    Attributes:
        broken: Name of an entry point -> why it cannot be loaded, in one sentence.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(Hooks)
        self.broken: dict[str, str] = {}

    def load(self) -> None:
        """Load every package's entry point; one that cannot be loaded is remembered."""
        from importlib.metadata import entry_points

        for entry in entry_points(group=GROUP):
            try:
                plugin = entry.load()
                if not self.manager.is_registered(plugin):  # as by an installation seen twice
                    self.manager.register(plugin, f"{entry.name} ({entry.value})")
            except Exception as error:  # code of other packages, which can raise anything
                self.broken[entry.name] = f"{type(error).__name__}: {error}"

    def call(self, hook: str) -> dict[str, Any]:
        """What each package gives, by the name of its entry point; those that raise are broken."""
        given: dict[str, Any] = {}
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            try:
                given[implementation.plugin_name] = implementation.function()
            except Exception as error:  # as above
                self.broken[implementation.plugin_name] = f"{type(error).__name__}: {error}"
        return given


def added() -> Added:
    """The packages that are installed, loaded."""
    packages = Added()
    packages.load()
    return packages
