"""Delivers on this host what it asked for: files, sidecars, usage, uploads."""

from imagen.wiring.worker_programs import worker_program

program = worker_program("results")
app = program.app

if __name__ == "__main__":
    program.run()
