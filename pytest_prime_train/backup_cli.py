"""``prime-train backup``: which checkpoints are complete, and their copies in a store."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, ParamSpec

import typer

from pytest_prime_train.findings import EXIT_CLEAN, UsageError
from pytest_prime_train.report.console import clean, complain, write

if TYPE_CHECKING:
    from types import FrameType

    from pytest_prime_train.resilience.checkpoint import Foreign, LocalStep
    from pytest_prime_train.resilience.layout import Layout
    from pytest_prime_train.resilience.place import RemoteStep
    from pytest_prime_train.resilience.stores import Store

PROGRAM = "prime-train backup"
P = ParamSpec("P")

backup = typer.Typer(
    name="backup",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Tell which checkpoints are complete, and keep copies of them that can be trusted.",
)

# ---------------------------------------------------------------- options that commands share

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="TOML file of the run")]
Backup = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Place of the run's backups: s3://BUCKET/PREFIX, file:///DIR, or a configured name",
    ),
]
Endpoint = Annotated[
    str,
    typer.Option("--endpoint-url", "--endpoint", metavar="URL", help="S3 service that is not AWS"),
]
Region = Annotated[str, typer.Option(metavar="NAME", help="Region of the S3 service")]
Profile = Annotated[str, typer.Option(metavar="NAME", help="Profile of the AWS configuration")]
Addressing = Annotated[
    str, typer.Option(metavar="auto|path|virtual", help="Where the bucket stands in an address")
]
Timeout = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0.1, help="Silence after which a connection is given up"),
]
Tries = Annotated[int, typer.Option(metavar="N", min=1, help="How often a request is tried")]
Limit = Annotated[
    str, typer.Option(metavar="RATE", help="Most that is sent and received, such as 50MB/s")
]
Run = Annotated[str, typer.Option(metavar="ID", help="Id of the run, in place of the config's")]
RunDir = Annotated[
    str, typer.Option(metavar="DIR", help="Directory of the run, in place of the config's")
]
Root = Annotated[str, typer.Option(metavar="ROOT", help="Program that reads the config")]
Version = Annotated[
    str, typer.Option("--prime-rl-version", metavar="VERSION", help="prime-rl that is installed")
]
Adopt = Annotated[
    bool, typer.Option("--adopt", help="Use the place though it belongs to another run")
]
Step = Annotated[int | None, typer.Option(metavar="N", min=0, help="Only this step")]
Deep = Annotated[
    bool, typer.Option("--deep", help="Read whole checkpoints and compare their checksums")
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="auto|text|json",
        help="auto is text on a terminal, and one JSON document elsewhere",
    ),
]


class _Settings(NamedTuple):
    """Options that say which run and which store are meant."""

    config: str
    backup: str
    endpoint_url: str
    region: str
    profile: str
    addressing: str
    timeout_s: float
    tries: int
    limit: str
    run: str
    run_dir: str
    root: str
    version: str

    def layout(self) -> Layout:
        from pytest_prime_train.resilience.layout import layout_of

        return layout_of(
            self.config,
            run=self.run or None,
            run_dir=self.run_dir or None,
            root=self.root or None,
            version=self.version or None,
        )

    def store(self, layout: Layout) -> Store:
        from pytest_prime_train.resilience.configured import find_store
        from pytest_prime_train.resilience.stores import StoreSettings, open_store

        given = StoreSettings(
            endpoint_url=self.endpoint_url,
            region=self.region,
            profile=self.profile,
            addressing=self.addressing,
            timeout_s=self.timeout_s,
            tries=self.tries,
        )
        found = find_store(self.backup, layout.run, given, self.limit)
        return open_store(found.url, found.settings)


# ---------------------------------------------------------------- how a command ends


def _guarded(command: Callable[P, int]) -> Callable[P, int]:
    """Turn what ends a command into one sentence and its exit code."""

    @wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> int:
        from pytest_prime_train.report.secrets import mask_known
        from pytest_prime_train.resilience.outcomes import BackupError, local_error

        output = options.get("output", "auto")
        if output not in ("auto", "text", "json"):
            raise UsageError(f"--format: {output!r} is none of auto, text and json")
        signal.signal(signal.SIGTERM, _terminate)
        try:
            return command(*arguments, **options)
        except (BackupError, OSError) as error:
            told = error if isinstance(error, BackupError) else local_error(error, "working")
            sentence = mask_known(str(told))
            complain(PROGRAM, sentence)
            if _is_json(str(output)):
                error_facts = {"code": told.code, "message": sentence}
                _print_json({"version": 1, "error": error_facts})
            return told.code

    return run


def _terminate(number: int, frame: FrameType | None) -> None:
    from pytest_prime_train.resilience.outcomes import EXIT_TERMINATED

    raise SystemExit(EXIT_TERMINATED)


def _is_json(output: str) -> bool:
    if output == "auto":
        return sys.stdout is not None and not sys.stdout.isatty()
    return output == "json"


def _print_json(document: dict[str, Any]) -> None:
    write(sys.stdout, json.dumps(document, indent=2) + "\n")


def _print_lines(lines: list[str]) -> None:
    write(sys.stdout, "".join(clean(line) + "\n" for line in lines))


@backup.callback(invoke_without_command=True)
def _program(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        raise UsageError(f"no command given (try {PROGRAM} --help)")


# ---------------------------------------------------------------- commands


@backup.command()
@_guarded
def configure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the store")],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Its address; {run} stands for the id of a run")
    ],
    endpoint_url: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    addressing: Addressing = "",
    limit: Limit = "",
    output: Format = "auto",
) -> int:
    """Give a store a name, in your own configuration and never in a repository.

    Credentials are not kept here: each store's own tools have their place for them.
    """
    from pytest_prime_train.resilience.configured import save_store

    facts = {
        "url": url,
        "endpoint_url": endpoint_url,
        "region": region,
        "profile": profile,
        "addressing": addressing,
        "limit": limit,
    }
    path = save_store(name, facts)
    if _is_json(output):
        kept = {key: value for key, value in facts.items() if value}
        _print_json({"version": 1, "name": name, "path": str(path), **kept})
    else:
        _print_lines([f"{name} is saved in {path}; use it with --backup {name}"])
    return EXIT_CLEAN


@backup.command()
@_guarded
def status(
    config: Config,
    backup: Backup = "",
    step: Step = None,
    deep: Deep = False,
    endpoint_url: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    addressing: Addressing = "",
    timeout: Timeout = 60.0,
    tries: Tries = 5,
    limit: Limit = "",
    run: Run = "",
    run_dir: RunDir = "",
    root: Root = "",
    version: Version = "",
    adopt: Adopt = False,
    output: Format = "auto",
) -> int:
    """Say of each step, on this machine and in the store, what it is and why."""
    from pytest_prime_train.resilience.checkpoint import foreign_names, inspect, local_steps
    from pytest_prime_train.resilience.outcomes import local_files
    from pytest_prime_train.resilience.place import survey

    settings = _Settings(
        config, backup, endpoint_url, region, profile, addressing, timeout, tries, limit,
        run, run_dir, root, version,
    )  # fmt: skip
    layout = settings.layout()
    with local_files("looking at the checkpoints"):
        numbers = [one for one in local_steps(layout) if step is None or one == step]
        local = [inspect(layout, number, deep=deep) for number in numbers]
        foreign = foreign_names(layout)
    remote: list[RemoteStep] = []
    strangers: tuple[str, ...] = ()
    url = ""
    if backup or _has_only_store():
        store = settings.store(layout)
        url = store.url
        found = survey(store, layout, adopt=adopt)
        remote = [one for one in found.steps if step is None or one.step == step]
        strangers = found.strangers
    if _is_json(output):
        _print_json(
            {
                **_listing(layout, url, remote),
                "prime_rl_version": layout.version,
                "run_dir": str(layout.run_dir),
                "local": [_local_facts(one, remote) for one in local],
                "foreign": [{"path": str(one.path), "why": one.why} for one in foreign],
                "strangers": list(strangers),
            }
        )
    else:
        _print_lines(_local_lines(layout, local, foreign))
        if url:
            _print_lines(["", *_remote_lines(layout, url, remote, strangers)])
    return EXIT_CLEAN


@backup.command(name="list")
@_guarded
def list_steps(
    config: Config,
    backup: Backup = "",
    endpoint_url: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    addressing: Addressing = "",
    timeout: Timeout = 60.0,
    tries: Tries = 5,
    limit: Limit = "",
    run: Run = "",
    run_dir: RunDir = "",
    root: Root = "",
    version: Version = "",
    adopt: Adopt = False,
    output: Format = "auto",
) -> int:
    """List the steps that are in the store."""
    from pytest_prime_train.resilience.place import survey

    settings = _Settings(
        config, backup, endpoint_url, region, profile, addressing, timeout, tries, limit,
        run, run_dir, root, version,
    )  # fmt: skip
    layout = settings.layout()
    store = settings.store(layout)
    found = survey(store, layout, adopt=adopt)
    if _is_json(output):
        _print_json(_listing(layout, store.url, list(found.steps)))
    else:
        _print_lines(_remote_lines(layout, store.url, list(found.steps), found.strangers))
    return EXIT_CLEAN


@backup.command()
@_guarded
def push(
    config: Config,
    backup: Backup = "",
    step: Step = None,
    deep: Deep = False,
    keep_last: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Then remove all but the newest N from the store"),
    ] = None,
    endpoint_url: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    addressing: Addressing = "",
    timeout: Timeout = 60.0,
    tries: Tries = 5,
    limit: Limit = "",
    run: Run = "",
    run_dir: RunDir = "",
    root: Root = "",
    version: Version = "",
    adopt: Adopt = False,
    output: Format = "auto",
) -> int:
    """Back up every complete step that is not in the store yet, the newest first."""
    from pytest_prime_train.resilience.backup import push as push_steps
    from pytest_prime_train.resilience.backup import require_pushed
    from pytest_prime_train.resilience.outcomes import EXIT_NOT_COMPLETE
    from pytest_prime_train.resilience.retention import prune as prune_steps
    from pytest_prime_train.resilience.transfer import progress_on_terminal, show_bytes

    settings = _Settings(
        config, backup, endpoint_url, region, profile, addressing, timeout, tries, limit,
        run, run_dir, root, version,
    )  # fmt: skip
    layout = settings.layout()
    store = settings.store(layout)
    report = push_steps(
        layout, store, step=step, adopt=adopt, deep=deep, progress=progress_on_terminal()
    )
    if step is not None:
        require_pushed(report, step)
    deleted: tuple[int, ...] = ()
    if keep_last is not None:
        deleted = prune_steps(layout, store, keep_last=keep_last).deleted
    for note in report.notes:
        complain(PROGRAM, note)
    if _is_json(output):
        _print_json(
            {
                "version": 1,
                "run": layout.run,
                "url": store.url,
                "pushed": [one._asdict() for one in report.pushed],
                "already": list(report.already),
                "pruned": list(report.pruned),
                "dropped": [{"step": number, "why": why} for number, why in report.dropped],
                "incomplete": [{"step": number, "why": why} for number, why in report.incomplete],
                "deleted": list(deleted),
            }
        )
    else:
        lines = [
            f"step {one.step}: backed up, {show_bytes(one.bytes)} in {one.seconds:.1f} s"
            for one in report.pushed
        ]
        lines += [f"step {number}: was backed up before" for number in report.already]
        lines += [f"step {number}: was pruned before, left out" for number in report.pruned]
        lines += [f"step {number}: given up, {why}" for number, why in report.dropped]
        lines += [f"step {number}: not complete: {why}" for number, why in report.incomplete]
        lines += [f"step {number}: removed from the store" for number in deleted]
        _print_lines(lines or [f"there are no checkpoints of {layout.run} in {layout.run_dir}"])
    is_safe = report.pushed or report.already or report.pruned
    return EXIT_CLEAN if is_safe else EXIT_NOT_COMPLETE


@backup.command()
@_guarded
def verify(
    config: Config,
    backup: Backup = "",
    step: Step = None,
    endpoint_url: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    addressing: Addressing = "",
    timeout: Timeout = 60.0,
    tries: Tries = 5,
    limit: Limit = "",
    run: Run = "",
    run_dir: RunDir = "",
    root: Root = "",
    version: Version = "",
    adopt: Adopt = False,
    output: Format = "auto",
) -> int:
    """Read backed up steps back and compare every byte; 1 if something is damaged."""
    from pytest_prime_train.resilience.outcomes import EXIT_NOT_COMPLETE
    from pytest_prime_train.resilience.transfer import progress_on_terminal
    from pytest_prime_train.resilience.verify import verify as verify_steps

    settings = _Settings(
        config, backup, endpoint_url, region, profile, addressing, timeout, tries, limit,
        run, run_dir, root, version,
    )  # fmt: skip
    layout = settings.layout()
    store = settings.store(layout)
    report = verify_steps(layout, store, step=step, adopt=adopt, progress=progress_on_terminal())
    if _is_json(output):
        document = _listing(layout, store.url, list(report.steps))
        _print_json({**document, "strangers": list(report.strangers)})
    else:
        _print_lines(_remote_lines(layout, store.url, list(report.steps), report.strangers))
    if report.is_clean:
        return EXIT_CLEAN
    damaged = [one for one in report.steps if one.state == "damaged"]
    if damaged:
        complain(PROGRAM, f"step {damaged[0].step} is damaged: {damaged[0].why}")
    else:
        complain(PROGRAM, f"no backup has written {report.strangers[0][:120]!r}, which is there")
    return EXIT_NOT_COMPLETE


@backup.command()
@_guarded
def restore(
    config: Config,
    backup: Backup = "",
    step: Step = None,
    to: Annotated[
        str,
        typer.Option(metavar="DIR", help="Run directory to restore to, in place of the config's"),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Move another step of that number aside")
    ] = False,
    endpoint_url: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    addressing: Addressing = "",
    timeout: Timeout = 60.0,
    tries: Tries = 5,
    limit: Limit = "",
    run: Run = "",
    run_dir: RunDir = "",
    root: Root = "",
    version: Version = "",
    adopt: Adopt = False,
    output: Format = "auto",
) -> int:
    """Bring a step to this machine, whole or not at all; the newest if none is named."""
    import os
    from pathlib import Path

    from pytest_prime_train.resilience.restore import restore as restore_step
    from pytest_prime_train.resilience.transfer import progress_on_terminal, show_bytes

    settings = _Settings(
        config, backup, endpoint_url, region, profile, addressing, timeout, tries, limit,
        run, run_dir or to, root, version,
    )  # fmt: skip
    layout = settings.layout()
    if to:
        layout = layout.moved_to(Path(os.path.abspath(to)))
    store = settings.store(layout)
    done = restore_step(
        layout, store, step=step, replace=replace, adopt=adopt, progress=progress_on_terminal()
    )
    if _is_json(output):
        _print_json(
            {
                "version": 1,
                "run": layout.run,
                "url": store.url,
                "step": done.step,
                "path": str(done.run_dir),
                "bytes": done.bytes,
                "was_there": done.was_there,
                "resume": done.resume,
            }
        )
    else:
        how = "is there already, byte for byte" if done.was_there else "is restored and verified"
        _print_lines(
            [
                f"step {done.step} {how} ({show_bytes(done.bytes)} in {done.run_dir})",
                f"resume from it with {done.resume}",
            ]
        )
    return EXIT_CLEAN


@backup.command()
@_guarded
def prune(
    config: Config,
    backup: Backup = "",
    keep_last: Annotated[
        int,
        typer.Option(
            "--keep-last", "--keep", metavar="N", help="Newest steps that stay, 2 or more"
        ),
    ] = 2,
    keep_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Steps that N divides stay as well")
    ] = 0,
    abandoned_hours: Annotated[
        float,
        typer.Option(metavar="HOURS", min=0.0, help="Age at which a cut upload is removed"),
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go")] = False,
    endpoint_url: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
    addressing: Addressing = "",
    timeout: Timeout = 60.0,
    tries: Tries = 5,
    limit: Limit = "",
    run: Run = "",
    run_dir: RunDir = "",
    root: Root = "",
    version: Version = "",
    adopt: Adopt = False,
    output: Format = "auto",
) -> int:
    """Remove old steps from the store, never one of the two newest complete ones."""
    from pytest_prime_train.resilience.retention import prune as prune_steps
    from pytest_prime_train.resilience.transfer import show_bytes

    settings = _Settings(
        config, backup, endpoint_url, region, profile, addressing, timeout, tries, limit,
        run, run_dir, root, version,
    )  # fmt: skip
    layout = settings.layout()
    store = settings.store(layout)
    report = prune_steps(
        layout,
        store,
        keep_last=keep_last,
        keep_every=keep_every,
        abandoned_hours=abandoned_hours,
        adopt=adopt,
        dry_run=dry_run,
    )
    if _is_json(output):
        _print_json(
            {
                "version": 1,
                "run": layout.run,
                "url": store.url,
                "dry_run": dry_run,
                "kept": list(report.kept),
                "deleted": list(report.deleted),
                "orphans": report.orphans,
                "bytes_freed": report.bytes_freed,
            }
        )
    else:
        verb = "would go" if dry_run else "removed"
        lines = [f"step {number}: {verb}" for number in report.deleted]
        if report.orphans:
            lines.append(f"{report.orphans} cut uploads: {verb}")
        lines.append(
            f"{show_bytes(report.bytes_freed)} {verb}; steps that stay: "
            f"{', '.join(map(str, report.kept)) or 'none'}"
        )
        _print_lines(lines)
    return EXIT_CLEAN


# ---------------------------------------------------------------- how steps are shown


def _has_only_store() -> bool:
    from pytest_prime_train.resilience.configured import known_stores

    return len(known_stores()) == 1


def _listing(layout: Layout, url: str, steps: list[RemoteStep]) -> dict[str, Any]:
    return {
        "version": 1,
        "run": layout.run,
        "url": url,
        "checkpoints": [
            {
                "step": one.step,
                "state": one.state,
                "why": one.why,
                "bytes": one.bytes,
                "verified_at": one.verified_at,
                "created": one.manifest.created if one.manifest is not None else None,
            }
            for one in steps
        ],
    }


def _local_facts(step: LocalStep, remote: list[RemoteStep]) -> dict[str, Any]:
    return {
        "step": step.step,
        "state": "complete" if step.complete else "incomplete",
        "why": list(step.faults),
        "notes": list(step.notes),
        "bytes": step.bytes,
        "backed_up": _is_backed_up(step, remote),
    }


def _is_backed_up(step: LocalStep, remote: list[RemoteStep]) -> bool:
    from pytest_prime_train.resilience.place import is_copy

    return any(is_copy(step, one) for one in remote)


def _local_lines(layout: Layout, steps: list[LocalStep], foreign: list[Foreign]) -> list[str]:
    from pytest_prime_train.resilience.transfer import show_bytes

    lines = [f"run {layout.run} in {layout.run_dir} (prime-rl {layout.version})"]
    for step in steps:
        state = "complete" if step.complete else "not complete"
        lines.append(f"  step {step.step:>6}  {state:<13} {show_bytes(step.bytes):>10}")
        lines += [f"      {text}" for text in (*step.faults, *step.notes)]
    if not steps:
        lines.append("  no checkpoints")
    for one in foreign:
        lines.append(f"  {one.path.name}: {one.why}")
    return lines


def _remote_lines(
    layout: Layout, url: str, steps: list[RemoteStep], strangers: tuple[str, ...]
) -> list[str]:
    from pytest_prime_train.resilience.transfer import show_bytes

    lines = [f"run {layout.run} in {url}"]
    for step in steps:
        verified = f"verified {step.verified_at}" if step.verified_at else ""
        size = show_bytes(step.bytes)
        lines.append(f"  step {step.step:>6}  {step.state:<13} {size:>10}  {verified}".rstrip())
        if step.why:
            lines.append(f"      {step.why}")
    if not steps:
        lines.append("  no backups")
    lines += [f"  {key}: no backup has written this" for key in strangers]
    return lines
