"""The parts of a queue that a command needs to submit."""

from __future__ import annotations

import subprocess
import sys


def test_a_command_that_only_submits_does_not_load_the_image_formats() -> None:
    code = "import sys, imagen.wiring.queue_parts; sys.exit('PIL' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
