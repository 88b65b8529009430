"""The command line: `python -m bot` runs the bot, `python -m bot playground` tries it offline."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bot import __version__
from bot.errors import BotError, ConfigurationError

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.inference.protocol import WorkerOptions

COMMAND = "fluxbot"
"""What the package installs."""

EX_CONFIG = 78
"""The exit code of a wrong setting, as sysexits.h has it: to start again does not help."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    # as it was called: by the installed command, or by Python
    name = COMMAND if Path(sys.argv[0]).stem == COMMAND else "python -m bot"
    parser = argparse.ArgumentParser(
        prog=name, description="A self-hosted Discord bot for the FLUX.1 image tools."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="connect to Discord and serve (this is the default)")
    playground = commands.add_parser(
        "playground", help="try the bot on a simulated Discord, with the built-in tiny models"
    )
    playground.add_argument("--port", type=int, default=8765, help="of the page (default: 8765)")
    playground.add_argument(
        "--no-browser", action="store_true", help="print the link without opening it"
    )
    playground.add_argument(
        "--once",
        metavar="COMMAND",
        help='run one slash command, as "/generate prompt:a red circle"',
    )
    playground.add_argument(
        "--save", type=Path, metavar="DIR", help="with --once: where to save the pictures"
    )
    preparing = commands.add_parser(
        "prepare", help="download and quantise the models ahead of time, and try that they load"
    )
    preparing.add_argument(
        "tools", nargs="*", metavar="TOOL", help="schnell, dev, krea, fill, ... (default: all)"
    )
    preparing.add_argument(
        "--keep-originals",
        action="store_true",
        help="keep the weights in full precision, which `quantization: None` needs",
    )
    preparing.add_argument(
        "--dry-run",
        action="store_true",
        help="say what is there, what is to come and whether the disks have room; change nothing",
    )
    preparing.add_argument(
        "--verify",
        action="store_true",
        help="compare all that is there with its checksums again; what is damaged comes anew",
    )
    backup = commands.add_parser(
        "backup", help="write database and pictures into one file, also while the bot runs"
    )
    backup.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="default: one with the date in its name, in DATA_DIR/backups",
    )
    backup.add_argument(
        "--no-pictures", action="store_true", help="without those that are delivered already"
    )
    restoring = commands.add_parser("restore", help="put a backup into DATA_DIR; no bot may run")
    restoring.add_argument("file", type=Path, metavar="FILE", help="as `backup` has written it")
    restoring.add_argument(
        "--force", action="store_true", help="set aside the data that is there already"
    )
    doctor = commands.add_parser(
        "doctor", help="check everything that the bot needs, and say what mends what is amiss"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON instead of lines")
    benchmark = commands.add_parser(
        "benchmark", help="measure each tool on this machine, in full precision and at 8 bits"
    )
    benchmark.add_argument("--tools", nargs="+", default=[], metavar="TOOL", help="default: all")
    benchmark.add_argument(
        "--sizes", nargs="+", default=["square"], metavar="SIZE", help="of /generate (square)"
    )
    benchmark.add_argument("--steps", type=int, help="default: those of the tool")
    benchmark.add_argument("--runs", type=int, default=3, help="pictures of each (default: 3)")
    benchmark.add_argument(
        "--random-weights",
        action="store_true",
        help="build the full-size models without download: real speed and memory, no pictures",
    )
    benchmark.add_argument(
        "--compare",
        action="store_true",
        help="measure a step of the first tool in other forms too: bfloat16 compiled, quanto's own,"
        " SDNQ and torchao if they are installed",
    )
    benchmark.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write table, JSON and pictures"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "playground" and options.save and options.once is None:
        parser.error("--save goes with --once")
    try:
        return _dispatch(options)
    except BotError as error:
        from bot.logs import redact  # as below

        print(redact(str(error)), file=sys.stderr)
        return EX_CONFIG if isinstance(error, ConfigurationError) else 1
    except KeyboardInterrupt:
        return 130


def _dispatch(options: argparse.Namespace) -> int:
    # imported here: the help must not wait for discord.py
    from bot.config import load_settings
    from bot.logs import configure_logging, report_crashes

    if options.command == "doctor":
        configure_logging("CRITICAL", "text")  # what is wrong is said below, once
        return asyncio.run(_doctor(as_json=options.json))
    settings = load_settings()
    if options.command == "playground":
        return _playground(settings, options)
    if options.command == "prepare":
        return _prepare(settings, options)
    if options.command == "backup":
        return _back_up(settings, options)
    if options.command == "restore":
        return _restore(settings, options)
    if options.command == "benchmark":
        return _benchmark(settings, options)
    configure_logging(settings.log_level, settings.log_format, settings.secrets)
    report_crashes()
    from bot.serving import serve

    asyncio.run(serve(settings))
    return 0


def _quiet_worker_options(settings: Settings) -> WorkerOptions:
    """Return what a worker would be given, for work on the models in this very process."""
    from bot.application import worker_options
    from bot.inference.devices import quiet_libraries
    from bot.logs import configure_logging

    configure_logging("WARNING", settings.log_format, settings.secrets)
    quiet_libraries()  # before their import: it is then that they give advice
    return worker_options(settings)


def _check_tools(settings: Settings, names: list[str]) -> None:
    """Raise RequestError for a tool that there is not, before the libraries take their seconds."""
    from bot.inference.requests import choose_tool
    from bot.inference.tools import FAMILIES

    for name in names:
        choose_tool(FAMILIES[settings.flux_models], name)


def _prepare(settings: Settings, options: argparse.Namespace) -> int:
    _check_tools(settings, options.tools)
    try:
        worker_options = _quiet_worker_options(settings)
        how = {"keep_originals": options.keep_originals, "verify": options.verify}
        if options.dry_run:
            from bot.inference.rehearsal import rehearse

            return 0 if rehearse(worker_options, options.tools, **how) else 1
        from bot.inference.prepare import prepare

        prepare(worker_options, options.tools, **how)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # or it breaks off this sentence as well
        print("Stopped. The same command goes on where it was.", file=sys.stderr)
        return 130
    return 0


def _back_up(settings: Settings, options: argparse.Namespace) -> int:
    from bot.backup import back_up, default_file

    file = options.file or default_file(settings.data_dir)
    contents = back_up(settings.data_dir, file, pictures=not options.no_pictures)
    print(f"{file}: {contents}")
    return 0


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    from bot.backup import restore

    contents, aside = restore(settings.data_dir, options.file, force=options.force)
    print(f"{settings.data_dir}: {contents}")
    if aside is not None:
        print(f"{aside}: what was there before")
    return 0


def _playground(settings: Settings, options: argparse.Namespace) -> int:
    from bot.logs import configure_logging

    configure_logging("WARNING", settings.log_format, settings.secrets)
    settings = replace(settings, flux_models="tiny", log_level="WARNING")
    if options.once is not None:
        from bot.playground.once import run_once

        return asyncio.run(run_once(settings, options.once, options.save))
    from bot.playground.browser import serve

    asyncio.run(serve(settings, port=options.port, open_browser=not options.no_browser))
    return 0


async def _doctor(*, as_json: bool) -> int:
    """Print what the doctor finds, as soon as it is known, and return 1 if there is a fault."""
    from bot.doctor import examine

    findings = []
    async for finding in examine():
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)
    healthy = not any(finding.state == "fault" for finding in findings)
    if as_json:
        report = {"healthy": healthy, "checks": [asdict(finding) for finding in findings]}
        print(json.dumps(report, indent=1, ensure_ascii=False))
    return 0 if healthy else 1


def _benchmark(settings: Settings, options: argparse.Namespace) -> int:
    _check_tools(settings, options.tools)
    worker_options = _quiet_worker_options(settings)
    from bot.inference.benchmark import Plan, benchmark

    plan = Plan(
        tools=options.tools,
        sizes=options.sizes,
        steps=options.steps,
        runs=max(1, options.runs),
        random_weights=options.random_weights,
        compare=options.compare,
    )
    benchmark(worker_options, plan, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
