"""Chooses the path of a finished image: that of an earlier try, or the first free name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagen.domain.request import EXT_BY_FORMAT
from imagen.errors import DeliveryError
from imagen.output.file_of_job import is_file_of_job
from imagen.output.naming import numbered
from imagen.output.paths import check_target
from imagen.output.sidecar import sidecar_name
from imagen.services.deliver.finished_image import FinishedImage

#: How many names are tried beside each other before giving up.
_MAX_NUMBER = 1_000_000

#: The last number given to a name in a folder: a thousand images of one name need not look at a
#: thousand names each.
LastNumbers = dict[tuple[str, str], int]


def pick_target(
    image: FinishedImage,
    allowed_dirs: Sequence[Path] | None,
    *,
    taken: set[Path],
    numbers: LastNumbers,
    above: int = 0,
) -> Path:
    """Where to write: the committed path of an earlier try, or the first free name.

    The number of a free name is greater than ``above``; ``taken`` are the names of this drain.

    Raises:
        DeliveryError: the path is not allowed or cannot be looked at, or every name is taken.
    """
    output = image.claim.job.output
    if image.claim.job.output_path is not None and above == 0:
        earlier = Path(image.claim.job.output_path)
        if output.replace or _is_free(image, earlier, taken):
            return check_target(earlier, allowed_dirs=allowed_dirs)
    if output.replace:
        return check_target(Path(output.folder, output.name), allowed_dirs=allowed_dirs)
    name = output.name.replace("{ext}", EXT_BY_FORMAT[image.info.format])
    start = max(above, numbers.get((output.folder, name), 0))
    for number in range(start + 1, _MAX_NUMBER):
        path = Path(output.folder, name if number == 1 else numbered(name, number))
        if _is_free(image, path, taken):
            image.number = number
            if number > 1:
                numbers[output.folder, name] = number
            return check_target(path, allowed_dirs=allowed_dirs)
    raise DeliveryError(f"no free name beside {name} in {output.folder}", "clear the folder")


def sidecar_path(image: Path) -> Path:
    """Where the sidecar of an image file stands."""
    return image.with_name(sidecar_name(image.name))


def is_earlier_try(image: FinishedImage, path: Path) -> bool:
    """Whether an existing file was written by an earlier delivery of the same job."""
    return is_file_of_job(path, job_id=image.claim.job.id, sha256=image.sha256)


def _is_free(image: FinishedImage, path: Path, taken: set[Path]) -> bool:
    if path in taken:
        return False
    try:
        if path.exists() or path.is_symlink():
            return is_earlier_try(image, path)
        sidecar = sidecar_path(path)
        return not sidecar.exists() or is_earlier_try(image, sidecar)
    except OSError as error:
        # A folder that may not be entered, a name that is too long.
        raise DeliveryError(
            f"cannot look for {path}: {error.strerror}", "let this user enter the folder"
        ) from error
