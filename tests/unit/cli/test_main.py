"""The edge of the command line: help, usage errors, exit codes, and what goes to which stream."""

from __future__ import annotations

import subprocess
import sys

import imagen as package
from imagen.cli import main
from imagen.cli.screen import error_lines as errors


def test_help_imports_no_slow_library():
    program = (
        "import sys\n"
        "from imagen.cli.main import main\n"
        "sys.argv = ['imagen', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'sqlalchemy', 'pydantic', 'yaml', 'PIL', 'celery', 'redis', 'rich', 'requests'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stderr.strip() == "[]"
    assert "generate" in done.stdout


def test_every_listed_command_can_be_asked_for_help(imagen):
    codes = {name: imagen(name, "-h").code for name in main.COMMANDS}

    assert codes == dict.fromkeys(main.COMMANDS, 0)


def test_the_version_is_told_with_a_flag_too(imagen, capsys):
    assert imagen("--version").code == 0
    assert capsys.readouterr().out.strip() == f"imagen {package.__version__}"


def test_a_misspelt_command_ends_with_2_and_names_the_near_one(imagen):
    done = imagen("genrate", "a fox")

    assert done.code == 2
    assert "'genrate'" in done.err
    assert "'generate'" in done.err
    assert done.out == ""


def test_a_misspelt_subcommand_names_the_near_one(imagen):
    assert "'cancel'" in imagen("jobs", "cancle").err


def test_a_misspelt_option_ends_with_2_and_names_the_near_one(imagen):
    done = imagen("generate", "a fox", "--szie", "64x64")

    assert done.code == 2
    assert "'--size'" in done.err
    assert "imagen generate --help" in done.err


def test_a_usage_error_with_json_is_one_object_on_stdout(imagen):
    done = imagen("generate", "a fox", "--nope", "--json")

    assert done.code == 2
    assert done.json["error"]["code"] == "usage"


def test_a_prompt_that_reads_like_the_json_flag_does_not_make_json(imagen):
    done = imagen("generate", "--backend", "nope", "--", "--json")

    assert done.code == 2
    assert done.out == ""


def test_an_unexpected_error_is_one_line_without_its_message(imagen, monkeypatch):
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("a password: hunter2")

    monkeypatch.setattr("imagen.wiring.process.open_process", explode)
    done = imagen("generate", "a fox")

    assert done.code == 1
    assert "RuntimeError" in done.err
    assert "IMAGEN_DEBUG=1" in done.err
    assert "hunter2" not in done.err
    assert "Traceback" not in done.err


def test_the_traceback_is_there_for_those_who_ask(imagen, monkeypatch):
    monkeypatch.setattr("imagen.wiring.process.open_process", lambda *_: 1 / 0)

    assert "Traceback" in imagen("generate", "a fox", env={"IMAGEN_DEBUG": "1"}).err


def test_an_unknown_log_level_is_refused(draw):
    done = draw("a fox", env={"IMAGEN_LOG": "loud"})

    assert done.code == 3
    assert "'loud'" in done.err


def test_several_problems_are_listed_one_a_line(imagen, configure):
    configure("colour: red\nsize: 3\n")
    done = imagen("generate", "a fox")

    assert done.code == 3
    assert "2 problems" in done.err.splitlines()[0]
    assert ":1:" in done.err
    assert ":2:" in done.err


def test_exit_codes_follow_the_class_of_the_error(imagen):
    assert imagen("generate", "a fox", "--size", "0x0").code == 2
    assert imagen("generate", "a fox", "--config", "/nowhere.yaml").code == 3
    assert imagen("generate", "a fox", env={"IMAGEN_DATABASE_URL": "sqlite:////proc/x"}).code == 5


def test_a_broken_pipe_has_an_exit_code_of_its_own():
    program = "from imagen.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "config", "init"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert said == b""
    assert process.returncode == errors.EXIT_BROKEN_PIPE
