"""Draws on the hardware of this host: two threads, so that the next job waits inside ComfyUI."""

from imagen.wiring.worker_programs import worker_program

program = worker_program("gpu")
app = program.app

if __name__ == "__main__":
    program.run()
