"""``imagen doctor``: examines everything a drawing needs, and says what to mend."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from imagen.cli.options.standard import config_option, json_option
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable_line
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from imagen.services.report.diagnose import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "broken": "red"}
#: The exit code when something is broken.
_EXIT_BROKEN = 5


@click.command(short_help="Look at everything, and say what to mend.")
@json_option
@config_option
@click.pass_obj
def doctor(shell: Shell, config: str | None) -> None:
    """Look at configuration, ledger, broker, workers, backends, output folder and Supabase.

    Draws nothing and costs nothing. Exits with 5 when the default way to draw is broken.
    """
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.report.diagnose import examine_config
    from imagen.wiring.diagnosis import diagnose
    from imagen.wiring.process import make_process

    set_up_logging(shell)
    settings, findings = examine_config(config, shell.env)
    findings += diagnose(make_process(settings, shell.env))
    facts = {"findings": [asdict(each) for each in findings]}
    if not shell.wants_json:
        for each in findings:
            shell.screen.answer(_line(shell, each))
    if any(each.state == "broken" for each in findings):
        error = ImagenError("something is broken", "mend what is marked broken")
        raise Failed(error, facts, exit_code=_EXIT_BROKEN)
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})


def _line(shell: Shell, finding: Finding) -> str:
    state = shell.screen.paint_answer(f"{finding.state:<8}", _COLOURS[finding.state])
    hint = f" ({printable_line(finding.hint)})" if finding.hint else ""
    return f"{state} {finding.what}: {printable_line(finding.text)}{hint}"
