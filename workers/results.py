"""Delivers to this host what was requested there: files, sidecars, usage rows, uploads."""

from imagen.wiring.worker_programs import worker_program

program = worker_program("results")
app = program.app

if __name__ == "__main__":
    program.run()
