"""Checks, before an image is drawn, that it can be written to its folder.

Over the queue the results worker of the submitting host writes it, which may run as another user
with another configuration; so it reports its folders in the workers table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.job import Output
from imagen.errors import RequestError
from imagen.ledger.jobs.worker_rows import live_workers
from imagen.ledger.store.engine import Ledger
from imagen.output.paths import check_length, check_target
from imagen.services.leases.process_lock import dead_among


@dataclass
class DeliveryFolders:
    """The folders of each process that may deliver here; without any rule every path is allowed.

    ``whose`` begins the message of a refusal; "" for the rules of this process.
    """

    rules: Sequence[tuple[Path, ...]]
    whose: str = ""
    _passed: set[Path] = field(default_factory=set)

    def require(self, output: Output) -> None:
        """Return when the image of a job with this output may be written.

        Raises:
            RequestError: its path is outside the folders; says which they are.
        """
        path = Path(output.folder, output.name.replace("{ext}", "png"))
        # A batch of 100,000 lines has few folders, and replaces no file.
        if path.parent in self._passed and not output.replace and not path.name.startswith("."):
            return
        for allowed_dirs in self.rules:
            try:
                check_target(path, allowed_dirs=allowed_dirs)
            except RequestError as error:
                raise RequestError(self.whose + error.message, error.hint) from error
        self._passed.add(path.parent)


def delivery_folders(
    ledger: Ledger,
    *,
    host: str,
    own: Sequence[Path] | None,
    within_s: float,
    lock_folder: Path,
) -> DeliveryFolders:
    """The folders that the live results workers of ``host`` report; ``own`` where none does.

    ``own`` is from the configuration of this process, None where every path is allowed.
    """
    workers = [
        worker
        for worker in live_workers(ledger, within_s=within_s)
        if worker.host == host and worker.role == "results" and worker.allowed_dirs is not None
    ]
    gone = dead_among(lock_folder, [worker.owner for worker in workers])
    reported = {
        tuple(Path(folder) for folder in worker.allowed_dirs or ())
        for worker in workers
        if worker.owner not in gone
    }
    if reported:
        return DeliveryFolders(sorted(reported), f"the results worker of {host!r} refuses it: ")
    return own_folders(own)


def own_folders(own: Sequence[Path] | None) -> DeliveryFolders:
    """The rules for images that this process writes; None allows every path."""
    return DeliveryFolders([] if own is None else [tuple(own)])


def require_writable(folder: Path) -> None:
    """Return when this process may create files in the folder, or create the folder itself.

    Called before an image is drawn and paid for. Creates nothing.

    Raises:
        RequestError: a file stands there, or the user may not write there.
    """
    check_length(folder / "image.png", sidecar=True)
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise RequestError(
            f"cannot write to {folder}: {nearest} is a file", "choose another output folder"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(
            f"cannot write to {folder}: no permission in {nearest}",
            "make it writable, or choose another output folder",
        )
