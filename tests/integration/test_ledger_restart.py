"""A command that draws by itself outlives a restart of the database that holds its ledger."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger
from tests.waiting import wait_until

LINES = 80
CONFIG = """
default_backend: mock
backends: {mock: {type: mock, latency_ms: 200}}
output: {preview: "off"}
workers: {lease_s: 3, heartbeat_s: 1}
"""


def test_a_batch_goes_on_after_its_database_was_restarted(own_postgres, tmp_path: Path) -> None:
    url = own_postgres.create_database()
    ledger = open_ledger(url, default_path=tmp_path / "unused")
    upgrade(ledger)
    ledger.close()
    (tmp_path / "imagen.yaml").write_text(CONFIG)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"a fox, number {number}\n" for number in range(LINES)))
    command = [sys.executable, "-m", "imagen", "batch", str(prompts), "--size", "64x64"]
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "IMAGEN_CONFIG": str(tmp_path / "imagen.yaml"),
        "IMAGEN_DATABASE_URL": url,
    }
    out = tmp_path / "out"
    out.mkdir()
    with subprocess.Popen(
        [*command, "--output-dir", str(out)], env=env, stderr=subprocess.PIPE, text=True
    ) as drawing:
        wait_until(
            lambda: len(list(out.glob("*.png"))) > 4 or drawing.poll() is not None,
            what="some are drawn",
            timeout_s=60,
        )
        own_postgres.kill()
        time.sleep(4)
        own_postgres.start()
        _, said = drawing.communicate(timeout=120)

    assert drawing.returncode == 0, said
    assert len(list(out.glob("*.png"))) == LINES
