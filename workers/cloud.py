"""Draws with cloud services: sixteen threads that mostly wait for answers."""

from imagen.wiring.worker_programs import worker_program

program = worker_program("cloud")
app = program.app

if __name__ == "__main__":
    program.run()
