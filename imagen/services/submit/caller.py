"""The caller of a request: found in the environment of the submitting shell, kept with the job."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Mapping


def resolve_caller(env: Mapping[str, str]) -> str:
    """MAI_FROM_ID, else the name that this tmux pane carries, else the user of this machine."""
    return env.get("MAI_FROM_ID", "").strip() or _pane_name(env) or _user_name()


def _pane_name(env: Mapping[str, str]) -> str:
    """The pane's ``@mai-name`` option, or "" outside tmux or where it is not set."""
    pane = env.get("TMUX_PANE", "")
    if not pane or not env.get("TMUX"):
        return ""
    try:
        answer = subprocess.run(
            ["tmux", "show-options", "-pqv", "-t", pane, "@mai-name"],
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a uid that has no name.
        return "unknown"
