"""What a run looks for and what it reports: ids, categories and severities, also by file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_prime_train.findings import Finding
from pytest_prime_train.reports import Options

if TYPE_CHECKING:
    from typing import Self

    from pytest_prime_train.config.resolve import Config
    from pytest_prime_train.config.settings import Settings
    from pytest_prime_train.gotchas.registry import Gotcha
    from pytest_prime_train.schema.rules.registry import Rule


# Sets of keys, whose names are some KiB each, that are kept for the files to come.
_MOST_KEPT = 500


class Choice:
    """What is chosen by options and settings.

    Attributes:
        settings: What the project has settled.
        select: Ids, categories and severities to report; empty reports all.
        ignore: Ids, categories and severities to leave out.
        preview: Whether gotchas in preview are looked for.
        shows_infos: Whether infos are looked for.
    """

    def __init__(self, options: Options, settings: Settings) -> None:
        self.settings = settings
        self.select = frozenset(options.select or settings.select)
        self.ignore = frozenset(options.ignore or settings.ignore)
        self.preview = options.preview or settings.preview
        # Working out a place takes longer than the whole check of a file without findings.
        self.shows_infos = "info" not in self.ignore
        # What is looked for, by kind, root, version and keys; the same for file after file.
        self._chosen: dict[tuple[Any, ...], Any] = {}

    def rules_for(self, root: str, version: str) -> tuple[Rule, ...]:
        """The rules that are asked of a config of a root, judged by a version."""
        key = ("rules", root, version)
        chosen: tuple[Rule, ...] | None = self._chosen.get(key)
        if chosen is None:
            from pytest_prime_train.schema.rules.registry import applicable

            known = applicable(root, version)
            chosen = self._chosen[key] = tuple(filter(self._looks_for, known))
        return chosen

    def rules_in(self, config: Config) -> tuple[Rule, ...]:
        """Those of the rules that the keys of a config can break."""
        return self._by_names("rules-in", config, self.rules_for(config.root, config.version))

    def gotchas_in(self, config: Config) -> tuple[Gotcha, ...]:
        """Those of the gotchas that a config with its keys can have."""
        return self._by_names("gotchas-in", config, self.gotchas_for(config.root, config.version))

    def _by_names(self, kind: str, config: Config, chosen: tuple[Any, ...]) -> tuple[Any, ...]:
        """What has to be asked of a config with these keys; files of a project have few sets."""
        names = config.names
        key = (kind, config.root, config.version, names)
        found: tuple[Any, ...] | None = self._chosen.get(key)
        if found is None:
            found = tuple(one for one in chosen if not one.needs or not names.isdisjoint(one.needs))
            if len(self._chosen) < _MOST_KEPT:
                self._chosen[key] = found
        return found

    def gotchas_for(self, root: str | None, version: str) -> tuple[Gotcha, ...]:
        """The gotchas that are looked for in a config of a root, judged by a version."""
        key = ("gotchas", root or "", version)
        chosen: tuple[Gotcha, ...] | None = self._chosen.get(key)
        if chosen is None:
            from pytest_prime_train.gotchas.registry import applicable

            known = applicable(root, version)
            chosen = self._chosen[key] = tuple(
                one
                for one in known
                if self._looks_for(one)
                and (
                    one.status == "stable"
                    or (self.preview and one.status == "preview")
                    or (one.status == "deprecated" and one.id in self.select)
                )
            )
        return chosen

    def _looks_for(self, gotcha: Gotcha | Rule) -> bool:
        """Whether a gotcha or rule could have a finding that is wanted."""
        return self.ignore.isdisjoint((gotcha.id, gotcha.category, gotcha.severity))

    def ignored_in(self, path: str) -> frozenset[str]:
        """What pyproject.toml leaves out in one file: ids, categories and severities."""
        if not self.settings.per_file_ignores:
            return frozenset()
        from fnmatch import fnmatch

        relative = os.path.relpath(path, self.settings.folder).replace(os.sep, "/")
        fitting = (ids for glob, ids in self.settings.per_file_ignores if fnmatch(relative, glob))
        return frozenset(id for ids in fitting for id in ids)

    def with_infos(self) -> Self:
        """The same, looking for infos as well."""
        from copy import copy

        other = copy(self)
        other.ignore = self.ignore - {"info"}
        other.shows_infos = True
        other._chosen = {}
        return other

    def wants(self, finding: Finding) -> bool:
        """Whether a finding is to be reported."""
        return self.wants_names(finding.id, finding.category, finding.severity)

    def wants_names(self, *names: str) -> bool:
        """Whether a finding of this id, category and severity is to be reported."""
        selected = not self.select or not self.select.isdisjoint(names)
        return selected and self.ignore.isdisjoint(names)
