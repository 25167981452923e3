"""``python -m imagen`` is the command line."""

from __future__ import annotations

from imagen.cli.main import main

if __name__ == "__main__":
    main()
