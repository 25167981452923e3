"""Writes the files of a drain step by step over all images: name, write, sync, link, sync folder.

Each step may be killed and repeated. What the disk is asked to sync has been written before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.job import Claim
from imagen.errors import DeliveryError, ImagenError, LeaseLost
from imagen.output.write import move_into_place, sweep_temps, sync_files, sync_folder, write_temp
from imagen.services.deliver.finished_image import FinishedImage
from imagen.services.deliver.target_path import (
    LastNumbers,
    is_earlier_try,
    pick_target,
    sidecar_path,
)

#: How often another name is tried when the chosen one is taken between look and link.
_NAME_TRIES = 20


@dataclass
class FileWriter:
    """Writes the images of one drain; every method returns those that got so far.

    ``record`` commits the paths that claims are about to be written to, and says which claims
    still hold their jobs. ``fail`` is called for each image that cannot be written.
    """

    allowed_dirs: Sequence[Path] | None
    numbers: LastNumbers
    record: Callable[[list[tuple[Claim, str]]], list[bool]]
    fail: Callable[[Claim, ImagenError], None]
    taken: set[Path] = field(default_factory=set)

    def choose_paths(self, images: list[FinishedImage]) -> list[FinishedImage]:
        """Choose and commit each path before anything is written there."""
        chosen = self._each(images, self._choose_path)
        new = [each for each in chosen if str(each.target) != each.claim.job.output_path]
        held = self.record([(each.claim, str(each.target)) for each in new])
        lost = {id(each) for each, is_held in zip(new, held, strict=True) if not is_held}
        return [each for each in chosen if id(each) not in lost]

    def write(self, images: list[FinishedImage]) -> list[FinishedImage]:
        """Write image and sidecar under their names; on return they are on the disk."""
        written = self._each(images, self._write_temps)
        synced = self._each(written, lambda image: sync_files(image.temps))
        return self._sync_folders(self._each(synced, self._link))

    def _each(
        self, images: list[FinishedImage], step: Callable[[FinishedImage], None]
    ) -> list[FinishedImage]:
        return [image for image in images if self._succeeds(image, step)]

    def _succeeds(self, image: FinishedImage, step: Callable[[FinishedImage], None]) -> bool:
        try:
            step(image)
        except ImagenError as error:
            for temp in image.temps:
                temp.unlink(missing_ok=True)
            self.fail(image.claim, error)
            return False
        return True

    def _choose_path(self, image: FinishedImage, *, above: int = 0) -> None:
        image.target = pick_target(
            image, self.allowed_dirs, taken=self.taken, numbers=self.numbers, above=above
        )
        self.taken.add(image.target)

    def _write_temps(self, image: FinishedImage) -> None:
        folder, job = image.target.parent, image.claim.job
        if job.delivery_count > 1:
            # The process that tried before is dead, or has lost the job and finds its files gone.
            sweep_temps(folder, job.id.hex)
        image.image_temp = write_temp(folder, image.data, tag=job.id.hex)
        image.data = b""
        if job.output.sidecar:
            image.sidecar_temp = write_temp(folder, image.sidecar(), tag=job.id.hex)

    def _link(self, image: FinishedImage) -> None:
        """Link both files to their names; another name where this one was taken meanwhile."""
        replace = image.claim.job.output.replace
        for _ in range(_NAME_TRIES):
            assert image.image_temp is not None
            try:
                move_into_place(image.image_temp, image.target, replace=replace)
                break
            except FileExistsError:
                if is_earlier_try(image, image.target):
                    # An image that was drawn again has other bytes than the earlier try.
                    replace = True
                else:
                    self._rename(image)
        else:
            raise DeliveryError(f"no free name beside {image.target}", "clear the folder")
        if image.sidecar_temp is not None:
            # The name was free, or ours, when the image's was chosen.
            move_into_place(image.sidecar_temp, sidecar_path(image.target), replace=True)

    def _rename(self, image: FinishedImage) -> None:
        self._choose_path(image, above=image.number)
        if not all(self.record([(image.claim, str(image.target))])):
            raise LeaseLost(f"job {image.claim.job.id} is no longer held by this worker")
        if image.sidecar_temp is not None:
            # The sidecar names its image.
            image.sidecar_temp.unlink(missing_ok=True)
            tag = image.claim.job.id.hex
            image.sidecar_temp = write_temp(image.target.parent, image.sidecar(), tag=tag)
            sync_files([image.sidecar_temp])

    def _sync_folders(self, images: list[FinishedImage]) -> list[FinishedImage]:
        """Those whose names are on the disk; a folder that cannot be synced fails its own only."""
        synced = []
        for folder in {image.target.parent for image in images}:
            here = [image for image in images if image.target.parent == folder]
            try:
                sync_folder(folder)
                synced += here
            except DeliveryError as error:
                for image in here:
                    self.fail(image.claim, error)
        return synced
