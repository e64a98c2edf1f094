"""The commands and their options. What they do is in the modules beside this one, imported when they run."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from wavelock._version import VERSION
from wavelock.cli.report import drop_output, report_error, report_interrupt, report_lost
from wavelock.core.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_USER, EnvironmentFailure, UserError, WavelockError

_log = logging.getLogger("wavelock.cli")
CommandT = TypeVar("CommandT", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing else.")
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY.PATH=VALUE", help="Override any key of the profile."
)
WORKS = ("ring", "random", "all-to-one", "broadcast", "compute")
AGAINST = ("floor", "pooled-floor", "wasmtime-py", "extism", "ray", "pykka", "autogen-core")
"""As `wavelock.bench` has them; importing it would cost every command the start of an engine's bindings."""
SECTIONS = ("agents", "waves", "logs", "faults", "state", "outputs", "inputs", "inference", "modules")


def choice_options(command: CommandT) -> CommandT:
    """The options that pick plugins, shared by the commands that assemble a run."""
    options = (
        click.option("--engine", metavar="NAME", help="WebAssembly engine."),
        click.option("--scheduler", metavar="NAME", help="Scheduler."),
        click.option("--transport", metavar="NAME", help="Transport."),
        click.option("--workers", metavar="NAME[:COUNT]", help="Kind of worker, and how many."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.pass_context
def app(context: click.Context) -> None:
    """Run many sandboxed WebAssembly agents in deterministic waves, and replay any run from one file."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(EXIT_USER)


@app.command("run")
@click.argument("profile", type=click.Path(path_type=Path))
@choice_options
@click.option("--seed", type=click.IntRange(min=0), help="Seed of every turn's entropy.")
@click.option("--waves", type=click.IntRange(min=1), help="Stop before this wave.")
@click.option("--record", type=click.Path(path_type=Path), help="Write the run file here; it must not exist.")
@click.option("--no-record", is_flag=True, help="Write no run file.")
@click.option("--fail-on-fault", is_flag=True, help="Exit with 5 where an agent faulted.")
@click.option("--profile-phases", is_flag=True, help="Show how much time each phase of the waves took.")
@set_option
@json_option
def run_profile(**options: Any) -> int:
    """Run PROFILE (a TOML file)."""
    from wavelock.cli.run import run

    return run(**options)


@app.command("check")
@click.argument("profile", type=click.Path(path_type=Path))
@choice_options
@set_option
@json_option
def check_profile(**options: Any) -> int:
    """Check PROFILE: assemble the run, modules and models included, without running it."""
    from wavelock.cli.run import check

    return check(**options)


@app.command("replay")
@click.argument("run_file", type=click.Path(path_type=Path))
@click.option("--engine", metavar="NAME", help="WebAssembly engine, where not the recorded one.")
@click.option("--workers", metavar="NAME[:COUNT]", help="Kind of worker, where not the recorded one.")
@json_option
def replay_run(**options: Any) -> int:
    """Replay RUN_FILE from itself alone and compare every wave; exits with 3 where one differs."""
    from wavelock.cli.compare import replay_file

    return replay_file(**options)


@app.command("diff")
@click.argument("run_file", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@json_option
def diff_runs(**options: Any) -> int:
    """Compare two run files wave by wave; exits with 3 where they differ."""
    from wavelock.cli.compare import diff_files

    return diff_files(**options)


@app.command("inspect")
@click.argument("run_file", type=click.Path(path_type=Path))
@click.argument("section", type=click.Choice(SECTIONS), required=False)
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Rows at most; 0: all.")
@click.option("--agent", metavar="NAME", help="Only rows of this agent.")
@json_option
def inspect_run(**options: Any) -> int:
    """Show what RUN_FILE holds: a summary, or one section of it."""
    from wavelock.cli.inspection import inspect

    return inspect(**options)


@app.group("module")
def module_group() -> None:
    """Look at a module, or write its deterministic form: what engines run in its place."""


memory_option = click.option("--memory", default="4 GiB", show_default=True, help="limits.memory to write into it.")
stack_option = click.option("--stack", default="256 KiB", show_default=True, help="limits.stack to write into it.")
feature_option = click.option("--feature", multiple=True, metavar="NAME", help="As engine.features: tail-call.")


@module_group.command("inspect")
@click.argument("module", type=click.Path(path_type=Path))
@memory_option
@stack_option
@feature_option
@json_option
def inspect_module(**options: Any) -> int:
    """Show what MODULE has and needs, and all for which it would be refused; exits with 2 where it would."""
    from wavelock.cli.modules import inspect

    return inspect(**options)


@module_group.command("rewrite")
@click.argument("module", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Where to write it.")
@click.option("--any", "any_exports", is_flag=True, help="Also a module without an agent's exports.")
@memory_option
@stack_option
@feature_option
@json_option
def rewrite_module(**options: Any) -> int:
    """Write the deterministic form of MODULE."""
    from wavelock.cli.modules import rewrite

    return rewrite(**options)


@app.command("conformance")
@click.option("--engine", multiple=True, metavar="NAME", help="Only this engine. This and the next may be repeated.")
@click.option("--scheduler", multiple=True, metavar="NAME", help="Only this scheduler.")
@click.option("--transport", multiple=True, metavar="NAME", help="Only this transport.")
@click.option("--workers", multiple=True, metavar="NAME[:COUNT]", help="Only this kind of worker.")
@click.option("--backend", multiple=True, metavar="NAME", help="Only this inference backend.")
@click.option("--workload", multiple=True, metavar="NAME", help="Only this workload.")
@click.option("--quick", is_flag=True, help="Fewer workloads, and two workers where there can be several.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the report as a page, too.")
@click.option(
    "--compare", "compare_with", type=click.Path(path_type=Path), metavar="REPORT",
    help="Compare with the --json of another machine, Python or engine.",
)  # fmt: skip
@json_option
def check_conformance(**options: Any) -> int:
    """Run the conformance suite over all plugins; exits with 3 where a run differs, with 4 where one fails."""
    from wavelock.cli.conformance import conformance

    return conformance(**options)


@app.command("bench")
@click.option("--work", metavar="NAME", default="ring", show_default=True, help=f"What agents do: {', '.join(WORKS)}.")
@click.option("--agents", type=int, default=1000, show_default=True, help="2 to 1,000,000 of them.")
@click.option(
    "--bytes", "message_bytes", type=int, default=16, show_default=True,
    help="Of a message: a multiple of 8 from 16 to 4096.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 4096), default=1, show_default=True, help="Threads of Wavelock's.")
@click.option("--record", is_flag=True, help="With a run file, which is removed in the end.")
@click.option("--engine", metavar="NAME", default="wasmtime", show_default=True, help="WebAssembly engine.")
@click.option(
    "--against", multiple=True, metavar="NAME", default=("floor",), show_default=True,
    help=f"What else is measured; may be repeated. {', '.join(AGAINST)}. Peers are installed on first use.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(1, 1000), default=7, show_default=True, help="All are measured in each.")
@json_option
def run_bench(**options: Any) -> int:
    """Measure what a turn and its message cost, against a plain C loop and other frameworks."""
    from wavelock.cli.bench import bench

    return bench(**options)


@app.command("plugins")
@json_option
def list_plugins(as_json: bool) -> int:
    """List all plugins, those that cannot be used with the reason."""
    from wavelock.cli.about import plugins

    return plugins(as_json)


@app.command("doctor")
@json_option
def run_doctor(as_json: bool) -> int:
    """Say what this machine has, what is missing and how to get it."""
    from wavelock.cli.about import doctor

    return doctor(as_json)


@app.command("schema")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it to a file.")
@json_option
def show_schema(output: Path | None, as_json: bool) -> int:
    """Print the JSON schema of profiles, for editors (it is JSON with and without --json)."""
    from wavelock.cli.about import schema

    return schema(output, as_json)


@app.command("version")
@json_option
def show_version(as_json: bool) -> int:
    """Print the version."""
    from wavelock.cli.report import emit

    emit({"version": VERSION}, as_json, lambda: click.echo(f"wavelock {VERSION}"))
    return 0


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line. Answers the exit code; never raises for what a user or the machine did wrong."""
    as_json = "--json" in arguments
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    if as_json:
        logging.disable(logging.WARNING)
    try:
        code = app.main(list(arguments), prog_name="wavelock", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if not as_json and isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        return report_error(UserError(error.format_message()), as_json, EXIT_USER)
    except (KeyboardInterrupt, click.Abort):
        return report_interrupt(as_json)
    except SystemExit:
        # Only click's own way out where the reader of our output left (`| head`): nothing to report.
        drop_output()
        return EXIT_DONE
    except WavelockError as error:
        return report_error(error, as_json, error.exit_code)
    except OSError as error:
        return report_lost(error, as_json)
    except Exception as error:
        # A defect of ours, or of a plugin: no traceback for it, but enough to report it by.
        _log.debug("internal error", exc_info=True)
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        return report_error(EnvironmentFailure(f"internal error, please report it: {what}"), as_json, EXIT_ENVIRONMENT)
