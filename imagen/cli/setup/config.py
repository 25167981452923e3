"""``imagen config``: the sample, the check, and which file is read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from imagen.cli.options.standard import config_option, json_option
from imagen.cli.shell import Shell
from imagen.errors import ConfigError


@click.group()
def config() -> None:
    """Make, check and find the configuration."""


@config.command(short_help="Print or write a commented sample.")
@click.argument("path", required=False, type=click.Path())
@click.option("--write", is_flag=True, help="Write it to where it is looked for.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_obj
def init(shell: Shell, path: str | None, write: bool, force: bool) -> None:
    """Print a commented sample of the configuration, or write it.

    \b
    imagen config init                  # print it
    imagen config init --write          # to ~/.config/imagen.yaml
    imagen config init ./imagen.yaml    # to a file
    """
    from imagen.config.load import default_config_path, sample_text

    sample = sample_text()
    if path is None and not write:
        shell.screen.answer(sample.rstrip("\n"))
        return
    target = Path(path).expanduser().absolute() if path else default_config_path(shell.env)
    _write(target, sample, force=force)
    shell.screen.answer(str(target))
    shell.screen.say("change it as you like, then: imagen config validate")


def _write(target: Path, text: str, *, force: bool) -> None:
    """Put the text there in one step; an existing file only with ``force``."""
    if target.is_dir():
        raise ConfigError(f"{target} is a folder", f"name a file in it: {target / 'imagen.yaml'}")
    if target.exists() and not force:
        raise ConfigError(f"{target} exists", "replace it with --force")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # An address in it may hold a password.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConfigError(
            f"cannot write {target}: {error.strerror}", "choose another place for it"
        ) from error


@config.command(short_help="Check everything in it; every problem with file and line.")
@click.argument("file", required=False, type=click.Path())
@json_option
@config_option
@click.pass_obj
def validate(shell: Shell, file: str | None, config: str | None) -> None:
    """Check the configuration, backends included; asks no server.

    Without FILE, the one that would be read.
    """
    from imagen.backends.installed import InstalledAdapters
    from imagen.config.load import find_config, load_config, shown_path
    from imagen.services.report.check_config import require_valid

    path = find_config(file or config, shell.env)
    settings = load_config(path, shell.env)
    require_valid(settings, InstalledAdapters())
    name = shown_path(path, shell.env) if path else "the built-in configuration"
    if shell.wants_json:
        shell.screen.answer_json({"path": str(path) if path else None, "error": None})
        return
    shell.screen.answer(f"{name} is valid")


@config.command(short_help="Print which file is read.")
@config_option
@click.pass_obj
def path(shell: Shell, config: str | None) -> None:
    """Print the path of the configuration that is read, or would be."""
    from imagen.config.load import default_config_path, find_config

    found = find_config(config, shell.env)
    shell.screen.answer(str((found or default_config_path(shell.env)).absolute()))
    if found is None:
        shell.screen.say("it does not exist: the built-in values hold (imagen config init --write)")
