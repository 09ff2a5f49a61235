"""``prime-rl-check``: blocks a commit with a prime-rl config that would cost hours.

Every commit of every user waits for this module, so a clean run loads nothing but what the check
needs: options are parsed only where there are any, reports are loaded only for findings.
"""

from __future__ import annotations

import sys

PROGRAM = "prime-rl-check"

# Type checkers take a variable of this name for true; importing it from typing would cost time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pytest_prime_train.checker import FileReport, Options
    from pytest_prime_train.findings import Severity

DEFAULT_FAIL_ON: Severity = "error"


class Extras:
    """What is asked for besides a check.

    Attributes:
        infos: Whether infos are shown.
        fix: Whether fixes are made.
        unsafe: Whether those that may change what is meant are made as well.
        diff: Whether they are only shown.
    """

    def __init__(
        self, infos: bool = False, fix: bool = False, unsafe: bool = False, diff: bool = False
    ) -> None:
        self.infos = infos
        self.fix = fix
        self.unsafe = unsafe
        self.diff = diff


def main(argv: list[str] | None = None) -> int:
    """Check the files named in ``argv``; without it, those named on the command line.

    Returns:
        0 without a finding at or above the threshold, 1 with one, 2 for wrong use or for a path
        that cannot be opened. Prints errors and warnings, and nothing where there are none.
    """
    if argv is None:
        import gc

        # What a check makes goes with its file or stays to the end: there is nothing to collect.
        gc.set_threshold(100_000)
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except (Exception, KeyboardInterrupt) as error:
        from pytest_prime_train.report.console import explain_exception

        return explain_exception(PROGRAM, error)


def _run(arguments: list[str]) -> int:
    from pytest_prime_train.checker import Options, check
    from pytest_prime_train.findings import UsageError

    paths, options, fail_on, extras = arguments, Options(), DEFAULT_FAIL_ON, Extras()
    if any(argument.startswith("-") for argument in arguments):
        paths, options, fail_on, extras = _parse(arguments)
    if extras.fix or extras.diff:
        return _fix(paths, options, fail_on, extras)
    if not extras.infos:
        options = _without_infos(options)
    complaints: list[str] = []
    try:
        reports = check(paths, options)
    except UsageError:
        reports, complaints = _check_one_by_one(paths, options)
    code = 0
    if any(report.findings for report in reports):
        code = _show(reports, fail_on)
    for complaint in complaints:
        from pytest_prime_train.report.console import complain

        complain(PROGRAM, complaint)
        code = 2
    return code


def _without_infos(options: Options) -> Options:
    """The same without infos: they are not shown, and looking for them would double the time."""
    from pytest_prime_train.config.settings import SettingsError, load

    ignore = options.ignore
    if not ignore:  # what the project ignores counts, and would not beside anything else
        try:
            ignore = load(".").ignore
        except SettingsError:  # the check says so
            return options
    return options._replace(ignore=(*ignore, "info"))


def _check_one_by_one(paths: list[str], options: Options) -> tuple[list[FileReport], list[str]]:
    """Judge what can be opened, with one sentence for each path that cannot."""
    from pytest_prime_train.checker import check
    from pytest_prime_train.findings import UsageError

    reports: list[FileReport] = []
    complaints: list[str] = []
    for path in paths:
        try:
            reports += check([path], options)
        except UsageError as error:
            complaints.append(str(error))
    return reports, complaints


def _show(reports: list[FileReport], fail_on: Severity) -> int:
    from pytest_prime_train.findings import at_least
    from pytest_prime_train.report.console import use_color, write
    from pytest_prime_train.report.text import render_finding

    color = use_color(sys.stdout)
    code = 0
    for report in reports:
        for finding in report.findings:
            if at_least(finding.severity, fail_on):
                code = 1
            text = report.text_of(finding)
            write(sys.stdout, render_finding(finding, text, color=color) + "\n")
    return code


def _fix(paths: list[str], options: Options, fail_on: Severity, extras: Extras) -> int:
    """Fix what can be fixed, and show what is left; a file that was changed fails the hook, as
    with every hook that changes files."""
    from pytest_prime_train.checker import Checker
    from pytest_prime_train.findings import at_least
    from pytest_prime_train.fixing.files import fix_files
    from pytest_prime_train.fixing.show import render_diff, render_outcomes
    from pytest_prime_train.report.console import write

    infos = extras.infos
    checker = Checker(options if infos else _without_infos(options))
    outcomes = fix_files(checker, paths, unsafe=extras.unsafe, infos=infos, write=not extras.diff)
    if extras.diff:
        write(sys.stdout, "".join(render_diff(one.fixed) for one in outcomes))
        write(sys.stdout, render_outcomes(outcomes, is_diff=True))
        found = [finding for one in outcomes for finding in one.fixed.report.findings]
        code = int(any(at_least(finding.severity, fail_on) for finding in found))
    else:
        code = _show([one.fixed.report for one in outcomes], fail_on)
        write(sys.stdout, render_outcomes(outcomes, is_diff=False))
    return 1 if any(one.fixed.changed or one.failure for one in outcomes) else code


def _parse(arguments: list[str]) -> tuple[list[str], Options, Severity, Extras]:
    """Paths, how to judge, the threshold, and what else is asked for."""
    import argparse

    from pytest_prime_train.checker import Options
    from pytest_prime_train.declarations import about_selected, require_known
    from pytest_prime_train.findings import SEVERITIES, UsageError

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(f"{message} (try {PROGRAM} --help)")

    parser = Parser(
        prog=PROGRAM,
        description="Check prime-rl configs; print what is wrong, or nothing.",
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="TOML file or directory")
    parser.add_argument(
        "--fail-on",
        choices=SEVERITIES,
        default=DEFAULT_FAIL_ON,
        help="mildest severity that blocks (default: %(default)s)",
    )
    parser.add_argument("--root", help="program that reads the files, such as rl or sft")
    parser.add_argument(
        "--prime-rl-version", metavar="VERSION", help="version of prime-rl that judges"
    )
    for name, verb in (("--select", "report only"), ("--ignore", "do not report")):
        parser.add_argument(
            name,
            action="append",
            default=[],
            metavar="IDS",
            help=f"{verb} these ids, categories or severities, separated by commas",
        )
    parser.add_argument("--baseline", metavar="FILE", help="let pass what this baseline allows")
    parser.add_argument("--preview", action="store_true", help="look for findings in preview too")
    parser.add_argument("--show-infos", action="store_true", help="show infos as well")
    parser.add_argument("--fix", action="store_true", help="fix what can be fixed safely")
    parser.add_argument(
        "--unsafe-fixes", action="store_true", help="fix also what may change what is meant"
    )
    parser.add_argument("--diff", action="store_true", help="show fixes, write nothing")
    found = parser.parse_args(arguments)
    if found.unsafe_fixes and not (found.fix or found.diff):
        raise UsageError("--unsafe-fixes says how to fix: add --fix, or --diff to look first")
    options = Options(
        root=found.root,
        version=found.prime_rl_version,
        select=require_known(found.select),
        ignore=require_known(found.ignore),
        baseline=found.baseline,
        preview=found.preview,
    )
    for sentence in about_selected(options.select, preview=options.preview):
        from pytest_prime_train.report.console import complain

        complain(PROGRAM, sentence)
    infos = found.show_infos or found.fail_on == "info"
    extras = Extras(infos, found.fix, found.unsafe_fixes, found.diff)
    return found.paths, options, found.fail_on, extras
