"""`corral`: finds the command, turns faults into sentences and exit codes.

Nothing else is imported here: `corral --help` and completion must answer as fast as the interpreter starts."""

import importlib
import os
import sys

import click

from corral import __version__, errors

COMMANDS = {
    "up": ("corral.cli.up:up", "Start a server on this machine."),
    "new": ("corral.cli.new:new", "Make a folder with a function that works."),
    "dev": ("corral.cli.dev.main:dev", "Serve what you write, anew at each save."),
    "deploy": ("corral.cli.deploy:deploy", "Deploy a function from a file, folder or archive."),
    "invoke": ("corral.cli.invoke:invoke", "Call a function and print its answer."),
    "list": ("corral.cli.listing:list_functions", "List the functions."),
    "describe": ("corral.cli.functions:describe", "Show a function: settings, instances and why that many."),
    "revisions": ("corral.cli.revisions:revisions", "List what was deployed of a function, and is kept."),
    "traffic": ("corral.cli.revisions:traffic", "Show or change which revisions a function's calls go to."),
    "rollback": ("corral.cli.revisions:rollback", "Send a function's calls to an earlier revision."),
    "scaling": ("corral.cli.scaling:scaling", "Show or change how a function is scaled, while it serves."),
    "namespace": ("corral.cli.scaling:namespace_command", "Show or change what holds for a namespace's functions."),
    "demand": ("corral.cli.demand:demand", "Show how often a function was called on the last days."),
    "record": ("corral.cli.record:record", "Record calls and decisions, to be raced or replayed."),
    "replay": ("corral.cli.record:replay", "See whether a recording leads to the same decisions again."),
    "advise": ("corral.cli.advise:advise_command", "Say which scaling rule would have cost each function least."),
    "logs": ("corral.cli.logs:logs", "Show what a function printed."),
    "delete": ("corral.cli.functions:delete", "Remove a function."),
    "token": ("corral.cli.token:token", "Make, list and revoke tokens."),
    "doctor": ("corral.cli.doctor:doctor", "Say what this machine allows and what it does not."),
    "race": ("corral.cli.race:race", "Race the scaling rules on a trace of calls, and say who wins on what."),
    "bench": ("corral.bench.main:command", "Measure a server on this machine."),
    "version": ("corral.cli.main:version", "Print the version."),
}
"""Name -> (where it is, its line in the help). The line stands here so that the help need not import the command."""

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE, UNAUTHORISED = range(6)
EXIT_CODE_BY_FAULT: dict[type[errors.CorralError], int] = {
    errors.Invalid: USAGE,
    errors.BadRequest: USAGE,
    errors.BadConfiguration: USAGE,
    errors.BodyTooLarge: USAGE,
    errors.Conflict: USAGE,
    errors.DataFolderBusy: USAGE,
    errors.StoreTooNew: USAGE,
    errors.NotFound: NOT_FOUND,
    errors.Unavailable: UNREACHABLE,
    errors.Unauthenticated: UNAUTHORISED,
    errors.Forbidden: UNAUTHORISED,
}
"""Every other fault is FAILED."""
EXIT_CODES_HELP = """\b
Exit codes: 0 done; 1 it failed (a function's error, code that does not load); 2 wrong input; 3 not found;
4 the server cannot be reached; 5 not authorised. Servers are found by --url or CORRAL_URL, tokens in
CORRAL_TOKEN or where `corral up` left them."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    help="A private serverless engine on one machine.",
    epilog=EXIT_CODES_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="corral %(version)s")
def cli() -> None:
    pass


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the version."""
    click.echo(f'{{"version": "{__version__}"}}' if as_json else f"corral {__version__}")


def exit_code(fault: errors.CorralError) -> int:
    for kind in type(fault).__mro__:
        if kind in EXIT_CODE_BY_FAULT:
            return EXIT_CODE_BY_FAULT[kind]
    return FAILED


def main() -> None:
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except errors.CorralError as fault:
        from corral.cli.faults import lines_of

        for line in lines_of(fault):
            click.echo(line, err=True)
        sys.exit(exit_code(fault))
    except BrokenPipeError:
        # `corral logs | head`: nobody reads on. Without this the interpreter complains while it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OK)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else OK)


if __name__ == "__main__":
    main()
