"""CSV lines as every spreadsheet reads them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence


def csv_line(values: Sequence[object]) -> str:
    """The values as one line of CSV, without its end; nothing stays empty."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()
