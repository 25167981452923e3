"""The outcome of a batch: its counts, its exit code, and its failures by line."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagen.domain.style import Style
from imagen.errors import BackendRejected
from imagen.services.report.batch_outcome import BatchOutcome
from imagen.services.submit.prompt_file import open_prompts
from imagen.services.submit.resolve import RequestInput, SubmitContext
from imagen.services.submit.submit_batch import BatchIdentity, BatchRun

IDENTITY = BatchIdentity("name:foxes", "foxes")


def outcome(studio: Any, text: str, *, draws: int = 0) -> BatchOutcome:
    """What a run of these prompts came to after so many claims."""
    context = SubmitContext(
        default_backend="mock",
        style_of=Style,
        output_folder=Path.cwd() / "out",
        naming="{slug}.{ext}",
        format="png",
        sidecar=False,
        metadata="full",
        caller="tests",
        delivery_host="here",
    )
    run = BatchRun(
        studio.desk.ledger,
        context,
        studio.backends,
        RequestInput("", size="64x64"),
        datetime.now(UTC),
    )
    with open_prompts("-", io.BytesIO(text.encode())) as prompts:
        submitted = run.submit(prompts.lines(), IDENTITY)
        for _ in range(draws):
            studio.draw()
            studio.deliver()
        return BatchOutcome.of(
            studio.desk.ledger,
            submitted,
            prompts,
            name=IDENTITY.name,
            output_folder=context.output_folder,
            seconds=1.0,
        )


def test_a_batch_ends_with_6_while_rows_are_left_and_with_0_when_all_are_drawn(studio: Any) -> None:
    begun = outcome(studio, "a red fox\n\na blue fox\n", draws=1)
    through = outcome(studio, "a red fox\n\na blue fox\n", draws=1)

    assert (begun.drawn, begun.left, begun.exit_code) == (1, 1, 6)
    assert (through.total, through.drawn, through.done_before) == (2, 1, 1)
    assert (through.left, through.exit_code) == (0, 0)


def test_a_batch_with_a_failed_row_ends_with_4_and_names_its_line(sqlite_studio: Any) -> None:
    sqlite_studio.backend.script = [BackendRejected("no such fox")]
    failed = outcome(sqlite_studio, "# two\na red fox\na blue fox\n", draws=2)
    again = outcome(sqlite_studio, "a blue fox\n\n\na red fox\n")

    assert (failed.drawn, failed.failed, failed.exit_code) == (1, 1, 4)
    [row] = failed.to_json()["failures"]
    assert (row["line"], row["state"], row["error"]["message"]) == (2, "failed", "no such fox")
    assert (again.failed, again.failed_before, again.without_image) == (0, 1, 1)
    assert (again.exit_code, again.failures[0].line) == (4, 4)
