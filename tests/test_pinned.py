"""Which prime-rl a project pins, and what that means for the verdict."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pytest_prime_train.checker import Checker, FileReport, Options
from pytest_prime_train.config.pinned import find_pin, identify, other_packages, search
from pytest_prime_train.schema.versions import NEWEST

V6 = "38494ccb4140897b1c9e7a9ba8da59dcd8940d47"
URL = "https://github.com/PrimeIntellect-ai/prime-rl"
LOCKED = (
    '[[package]]\nname = "prime-rl"\nversion = "0.8.0"\n'
    f'source = {{ git = "{URL}?rev=main#{V6}" }}\n'
)


@pytest.mark.parametrize(
    ("line", "pinned"),
    [
        (f'  "prime-rl @ git+{URL}.git@v0.6.0",', "v0.6.0"),
        (f'  "prime-rl @ git+{URL}@{V6}#subdirectory=packages/x",', V6),
        (f'prime-rl = {{ git = "{URL}", rev = "{V6[:9]}" }}', V6[:9]),
        (f'prime-rl = {{ tag = "v0.5.0", git = "{URL}" }}', "v0.5.0"),
        (f'source = {{ git = "{URL}?rev=v0.7.0#{V6}" }}', V6),
        (f'source = {{ git = "{URL}.git?subdirectory=packages%2Fx&rev=main#{V6}" }}', V6),
        ('prime-rl = { git = "ssh://git@example.org/me/prime-rl.git", tag = "v0.7.0" }', "v0.7.0"),
        # A branch moves, a release's file says nothing, nor does a comment or a version.
        (f'prime-rl = {{ git = "{URL}", branch = "main" }}', None),
        (f'  "prime-rl @ git+{URL}@main",', None),
        (f'source = {{ url = "{URL}/releases/download/v0.5.0/deep_ep-1.1.0-cp312.whl" }}', None),
        (f'# "prime-rl @ git+{URL}@v0.6.0"', None),
        ('  "prime-rl==0.8.0",', None),
        ('name = "prime-rl"', None),
    ],
)
def test_what_a_line_pins(line: str, pinned: str | None) -> None:
    content = f"[project]\nname = 'x'\n{line}\n[other]\n".encode()
    assert search(content) == pinned


@pytest.mark.parametrize(
    ("name", "version", "before", "known"),
    [
        ("v0.6.0", "v0.6.0", None, True),
        ("0.8.0", "v0.8.0", None, True),
        (V6, "v0.6.0", None, True),
        (V6[:7], "v0.6.0", None, True),
        ("559b44772e471d1538537b8805cc77f3824a5e64", NEWEST, None, True),
        ("2441fd514", NEWEST, "v0.8.0", True),
        ("v0.5.1.dev12", "v0.6.0", "v0.5.0", True),
        ("v0.8.1.dev67", NEWEST, None, True),
        ("v0.8.1.dev68", NEWEST, None, False),
        ("v0.9.0", NEWEST, None, False),
        ("0" * 40, NEWEST, None, False),
        ("v0.1", "v0.2", None, True),
    ],
)
def test_which_version_judges_for_a_pin(
    name: str, version: str, before: str | None, known: bool
) -> None:
    pin = identify(name)
    assert (pin.version, pin.before, pin.known) == (version, before, known)


def _project(tmp_path: Path, pyproject: str = "", lock: str = "") -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "1"\n{pyproject}\n')
    if lock:
        (tmp_path / "uv.lock").write_text(lock)
    return tmp_path


def _report(folder: Path, text: str, version: str | None = None) -> FileReport:
    path = folder / "rl.toml"
    path.write_text(text)
    return Checker(Options(version=version), folder=str(folder)).check_file(str(path))


V6_FILE = "[trainer]\n[orchestrator]\ntraining_mode = 'rl'\n"


def test_the_lock_file_decides(tmp_path: Path) -> None:
    report = _report(_project(tmp_path, lock=LOCKED), V6_FILE)
    assert report.version == "v0.6.0"
    assert report.version_reason == f"uv.lock pins prime-rl to {V6}"
    assert [f.id for f in report.findings if f.category == "schema"] == []


def test_pyproject_decides_before_the_lock_file(tmp_path: Path) -> None:
    pin = f'[tool.uv.sources]\nprime-rl = {{ git = "{URL}", tag = "v0.7.0" }}'
    assert _report(_project(tmp_path, pin, LOCKED), V6_FILE).version == "v0.7.0"


def test_a_setting_and_an_option_decide_before_a_pin(tmp_path: Path) -> None:
    setting = '[tool.pytest-prime-train]\nprime-rl-version = "0.8"'
    folder = _project(tmp_path, setting, LOCKED)
    assert _report(folder, V6_FILE).version == "v0.8.0"
    assert _report(folder, V6_FILE, version="0.5").version == "v0.5.0"


def test_a_project_that_pins_nothing_is_judged_by_the_newest(tmp_path: Path) -> None:
    report = _report(_project(tmp_path), V6_FILE)
    assert (report.version, report.version_reason) == (NEWEST, "")


def test_a_pin_above_the_repository_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(LOCKED)
    inner = tmp_path / "inner"
    inner.mkdir()
    assert find_pin(str(_project(inner))).version == NEWEST


def test_a_pin_of_the_workspace_counts(tmp_path: Path) -> None:
    _project(tmp_path, lock=LOCKED)
    member = tmp_path / "packages" / "member"
    member.mkdir(parents=True)
    (member / "pyproject.toml").write_text('[project]\nname = "member"\n')
    assert find_pin(str(member)).version == "v0.6.0"


def test_unknown_keys_of_an_unknown_commit_are_warnings(tmp_path: Path) -> None:
    lock = LOCKED.replace(V6, "0" * 40)
    text = "brand_new = 1\n[trainer]\n[orchestrator]\n"
    findings = _report(_project(tmp_path, lock=lock), text).findings
    (unknown,) = [finding for finding in findings if finding.id == "unknown-key"]
    assert unknown.severity == "warning"
    assert "unknown up to 2026-08-21" in unknown.message


def test_wrong_values_of_an_unknown_commit_stay_errors(tmp_path: Path) -> None:
    lock = LOCKED.replace(V6, "0" * 40)
    text = "max_steps = 'many'\n[trainer]\n[orchestrator]\n"
    findings = _report(_project(tmp_path, lock=lock), text).findings
    assert [f.severity for f in findings if f.id == "wrong-type"] == ["error"]


def test_a_commit_between_two_versions_takes_the_keys_of_either(tmp_path: Path) -> None:
    pin = f'[tool.uv.sources]\nprime-rl = {{ git = "{URL}", rev = "v0.6.1.dev40" }}'
    folder = _project(tmp_path, pin)
    assert [f for f in _report(folder, V6_FILE).findings if f.severity == "error"] == []
    newer = "[trainer]\n[orchestrator.algo]\ntype = 'grpo'\n"
    assert [f for f in _report(folder, newer).findings if f.severity == "error"] == []


def test_reports_say_what_the_schema_was_taken_from(tmp_path: Path) -> None:
    report = _report(_project(tmp_path), "[trainer]\n[orchestrator]\n")
    assert report.taken_from["commit"].startswith("559b44772")
    assert "a60a606" in report.taken_from["verifiers"]
    assert "0.1.10" in report.taken_from["renderers"]


VERIFIERS = '[[package]]\nname = "verifiers"\nversion = "{}"\nsource = {{ {} }}\n'


@pytest.mark.parametrize(
    ("package", "other"),
    [
        (VERIFIERS.format("0.4.0", 'registry = "x"'), True),
        (VERIFIERS.format("0.4.1", 'git = "https://x/verifiers?rev=1#a60a606ec123"'), False),
        (VERIFIERS.format("0.4.1", 'git = "https://x/verifiers?rev=1#b60a606ec123"'), True),
        ('[[package]]\nname = "renderers"\nversion = "0.1.10"\n', False),
        ('[[package]]\nname = "renderers"\nversion = "0.1.12"\n', True),
        ('dependencies = [\n  { name = "verifiers" },\n]\n', False),
        ('[[package]]\nname = "verifiers"\nsource = { editable = "deps/verifiers" }\n', False),
    ],
)
def test_other_versions_of_verifiers_and_renderers(
    tmp_path: Path, package: str, other: bool
) -> None:
    folder = _project(tmp_path, lock=f"version = 1\n\n{package}")
    report = _report(folder, "[trainer]\n[orchestrator]\n")
    infos = [finding for finding in report.findings if finding.id == "other-packages"]
    assert bool(infos) is other
    assert all(finding.severity == "info" for finding in infos)


def test_a_large_lock_file_is_only_searched() -> None:
    """Half a megabyte takes about a millisecond, a twentieth of what parsing it takes."""
    package = '[[package]]\nname = "package-{0}"\nversion = "1.0"\nsource = {{ registry = "x" }}\n'
    content = "".join(package.format(number) for number in range(7000)).encode()
    assert len(content) > 500_000
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert search(content) is None
        assert other_packages(content, {"verifiers": "verifiers 1", "renderers": "r 1"}) == []
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02
