"""What the plugin costs those who have it installed and do not use it: nothing."""

from __future__ import annotations

import re

import pytest

from conftest import ROOT

pytestmark = pytest.mark.usefixtures("quick_runs")

CONFTEST = """
import sys

def pytest_unconfigure(config):
    ours = sorted(name for name in sys.modules if name.startswith("pytest_prime_train"))
    print("ours:", *ours)
    print("tomllib:", "tomllib" in sys.modules)
    print("plugins:", sum("prime" in name for name, _ in config.pluginmanager.list_name_plugin()))
"""


@pytest.mark.parametrize(
    "arguments", [[], ["-v"], ["test_mine.py"], ["--collect-only"], ["--markers"], ["--help"]]
)
def test_no_module_but_the_entry_is_loaded(pytester: pytest.Pytester, arguments: list[str]) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_mine="def test_mine(): pass")
    (pytester.path / "bad.toml").write_text("x =\n", encoding="utf-8")
    result = pytester.runpytest_subprocess(*arguments)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*ours: pytest_prime_train pytest_prime_train.plugin", "plugins: 1"]
    )


def test_a_run_that_uses_it_loads_the_rest(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    example = ROOT / "examples" / "sft.toml"
    result = pytester.runpytest_subprocess(f"--prime-configs={example}")
    result.stdout.fnmatch_lines(["*ours: *pytest_prime_train.items*"])


def test_the_entry_imports_nothing_but_pytest_and_the_standard_library(
    pytester: pytest.Pytester,
) -> None:
    code = """
        import sys
        import pytest
        before = set(sys.modules)
        import pytest_prime_train.plugin
        print("new:", *sorted(set(sys.modules) - before))
    """
    pytester.makepyfile(look=code)
    result = pytester.runpython(pytester.path / "look.py")
    result.stdout.fnmatch_lines(["new: pytest_prime_train pytest_prime_train.plugin"])


def test_a_run_without_it_has_the_same_output(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(): pass")
    (pytester.path / "bad.toml").write_text("x =\n", encoding="utf-8")

    def output(*arguments: str) -> list[str]:
        lines = pytester.runpytest_subprocess(*arguments, "-p", "no:cacheprovider").outlines
        return [line for line in lines if not re.search(r"^plugins: | in [0-9.]+s", line)]

    assert output() == output("-p", "no:prime-train")
