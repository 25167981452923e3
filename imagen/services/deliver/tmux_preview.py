"""Shows a new image in a tmux window beside the one that asked for it, in the background."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from imagen.errors import ImagenError
from imagen.output.naming import slugify

#: Tried in this order where the configuration names no viewer.
VIEWERS = ("tmux-img", "chafa", "viu", "timg")
_TMUX_TIMEOUT_S = 5.0

# A viewer that only prints ends at once, and its window closes with it. tmux runs these words as
# they are, without the user's shell.
_UNTIL_A_KEY = """
"$@" || printf '\\n%s ended with %s\\n' "$1" "$?"
printf '\\n[any key closes this window]'
stty -icanon -echo 2>/dev/null
dd bs=1 count=1 >/dev/null 2>&1
"""


def is_wanted(setting: str, *, command: str, env: Mapping[str, str], is_terminal: bool) -> bool:
    """Whether a preview is to be tried: ``on`` always; ``auto`` for a person inside tmux.

    With ``auto`` there is no preview where no viewer is installed.
    """
    if setting != "auto":
        return setting == "on"
    can_show = bool(command.strip()) or any(shutil.which(v, path=env.get("PATH")) for v in VIEWERS)
    return is_terminal and bool(env.get("TMUX")) and can_show


def require_preview(*, command: str, env: Mapping[str, str]) -> None:
    """Returns when a window could be opened here; opens none.

    Raises:
        ImagenError: there is no tmux around us, or no viewer.
    """
    _require_tmux(env)
    _viewer_words(Path("image.png"), command=command, env=env)


def _require_tmux(env: Mapping[str, str]) -> None:
    if not env.get("TMUX"):
        raise ImagenError("not inside tmux", "run it in tmux, or draw with --no-preview")


def open_preview(path: Path, *, title: str, command: str, env: Mapping[str, str]) -> None:
    """Open the window ``img:<title>``, not selected, that shows the image at ``path``.

    ``command`` is the configured viewer, or "" for the first one that is installed; ``{path}`` in
    it stands for the image, which otherwise comes last. Blocks for 10 ms to five seconds.

    Raises:
        ImagenError: there is no tmux around us, no viewer, or tmux refuses.
    """
    _require_tmux(env)
    words = _viewer_words(path, command=command, env=env)
    window = f"img:{slugify(title)}"
    new_window = ["tmux", "new-window", "-d", "-n", window, "--", *map(_tmux_word, words)]
    try:
        done = subprocess.run(
            new_window,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TMUX_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise ImagenError("tmux is not installed", "draw with --no-preview") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImagenError(f"tmux does not answer ({type(error).__name__})", "") from error
    if done.returncode:
        why = done.stderr.strip().partition("\n")[0] or f"it ended with {done.returncode}"
        raise ImagenError(f"tmux opened no window: {why}", "")


def _viewer_words(path: Path, *, command: str, env: Mapping[str, str]) -> list[str]:
    """The program and its arguments, as the tmux server is to run them."""
    words = _configured(command) if command.strip() else _installed(env)
    # The server's PATH need not be ours.
    program = shutil.which(words[0], path=env.get("PATH"))
    if program is None:
        raise ImagenError(
            f"the viewer {words[0]!r} is not installed", "set output.preview_command to another"
        )
    arguments = [word.replace("{path}", str(path)) for word in words[1:]]
    if arguments == words[1:]:
        arguments.append(str(path))
    if Path(program).name == "tmux-img":
        return [program, *arguments]
    return ["sh", "-c", _UNTIL_A_KEY, "imagen-preview", program, *arguments]


def _configured(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ImagenError(f"output.preview_command cannot be read: {error}", "") from None


def _installed(env: Mapping[str, str]) -> list[str]:
    for name in VIEWERS:
        if shutil.which(name, path=env.get("PATH")):
            return [name, "--hold"] if name == "tmux-img" else [name]
    raise ImagenError(
        f"no viewer is installed (looked for {', '.join(VIEWERS)})",
        "install one, or set output.preview_command",
    )


def _tmux_word(word: str) -> str:
    """Escapes a semicolon at the end of a word, which would end tmux's command."""
    return word[:-1] + "\\;" if word.endswith(";") else word
