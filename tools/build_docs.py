"""Write the pages of ``docs/findings/`` from the declarations, and check what docs refer to.

``--check`` writes nothing and fails if a page is not what the declarations say, if a link in a
document leads nowhere or if a hook is missing in the README.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pytest_prime_train.declarations import Declaration, all_declarations
from pytest_prime_train.report.pages import render_page

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "docs" / "findings"
FIXTURES = ROOT / "gotcha_fixtures"

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HOOK_ID = re.compile(r"^- id: (\S+)$", re.MULTILINE)


def pages() -> dict[Path, str]:
    """The text of every generated page."""
    declared = all_declarations()
    texts = {FINDINGS / "index.md": _index(declared)}
    for kind in declared:
        texts[FINDINGS / f"{kind.id}.md"] = render_page(
            kind, bad=_fixture(kind.id, "bad"), good=_fixture(kind.id, "good")
        )
    return texts


def _index(declared: tuple[Declaration, ...]) -> str:
    rows = [
        f"| [{kind.id}]({kind.id}.md) | {kind.severity} | {kind.category} | {kind.name} |"
        for kind in declared
    ]
    return "\n".join(
        [
            "# Every finding",
            "",
            "| id | severity | category | what it is |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _fixture(id: str, name: str) -> str:
    path = FIXTURES / id / f"{name}.toml"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def outdated(texts: dict[Path, str]) -> Iterator[str]:
    """One sentence for every page that is not as it should be."""
    for path, text in texts.items():
        if not path.is_file():
            yield f"{path.relative_to(ROOT)} is missing"
        elif path.read_text(encoding="utf-8") != text:
            yield f"{path.relative_to(ROOT)} is out of date"
    for path in sorted(FINDINGS.glob("*.md")):
        if path not in texts:
            yield f"{path.relative_to(ROOT)} is about no finding"


def broken_links() -> Iterator[str]:
    """One sentence for every relative link that leads nowhere."""
    for document in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]:
        text = document.read_text(encoding="utf-8")
        for target in _LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            file = target.partition("#")[0]
            if file and "://" not in file and not (document.parent / file).exists():
                yield f"{document.relative_to(ROOT)} links to {target}, which does not exist"


def unmentioned_hooks() -> Iterator[str]:
    """One sentence for every hook that the README does not mention."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for hook in _HOOK_ID.findall((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")):
        if f"`{hook}`" not in readme:
            yield f"README.md does not mention the hook {hook}"


def main(argv: list[str]) -> int:
    """Write the pages, or check with ``--check``; 1 if something is wrong."""
    if argv not in ([], ["--check"]):
        print("usage: build_docs.py [--check]", file=sys.stderr)
        return 2
    texts = pages()
    if not argv:
        FINDINGS.mkdir(parents=True, exist_ok=True)
        for path in FINDINGS.glob("*.md"):
            if path not in texts:
                path.unlink()
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    problems = [*outdated(texts), *broken_links(), *unmentioned_hooks()]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems and argv:
        print("python tools/build_docs.py writes the pages anew", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
