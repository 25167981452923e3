"""``imagen config``: the sample, the check, the path."""

from __future__ import annotations

from imagen.config.load import sample_text


def test_init_prints_the_sample(imagen):
    assert imagen("config", "init").out == sample_text()


def test_init_writes_a_sample_that_is_valid(imagen, isolated_home):
    done = imagen("config", "init", "--write")

    assert done.out == f"{isolated_home}/.config/imagen.yaml\n"
    assert imagen("config", "validate").out == "~/.config/imagen.yaml is valid\n"


def test_init_replaces_a_file_only_by_force(imagen, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("mine")
    refused = imagen("config", "init", "mine.yaml")

    assert refused.code == 3
    assert mine.read_text() == "mine"
    assert imagen("config", "init", "mine.yaml", "--force").code == 0
    assert mine.read_text() == sample_text()


def test_init_refuses_a_folder(imagen, tmp_path):
    assert imagen("config", "init", str(tmp_path)).code == 3


def test_init_that_cannot_write_leaves_nothing(imagen, tmp_path):
    (tmp_path / "file").write_text("")
    done = imagen("config", "init", "file/imagen.yaml")

    assert done.code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_path_names_the_file_that_would_be_read(imagen, configure, isolated_home):
    done = imagen("config", "path")

    assert done.out == f"{isolated_home}/.config/imagen.yaml\n"
    assert "does not exist" in done.err
    assert imagen("config", "path", env={"IMAGEN_CONFIG": str(configure(""))}).err == ""


def test_validate_names_every_problem_with_file_and_line(imagen, tmp_path):
    (tmp_path / "bad.yaml").write_text("outptu: {}\nqueue:\n  windwo: 3\n")
    done = imagen("config", "validate", "bad.yaml")

    assert done.code == 3
    assert "bad.yaml:1: unknown key 'outptu'; did you mean 'output'?" in done.err
    assert "bad.yaml:3:" in done.err


def test_validate_looks_into_the_backends(imagen, configure):
    configure("backends:\n  m:\n    type: mock\n    latency: 3\n")
    done = imagen("config", "validate", "--json")

    assert done.code == 3
    assert ":4:" in done.json["error"]["message"]
    assert "latency_ms" in done.json["error"]["message"]


def test_a_written_configuration_is_its_users_own(imagen, tmp_path):
    for words in (("imagen.yaml",), ("imagen.yaml", "--force")):
        assert imagen("config", "init", *words).code == 0
        assert (tmp_path / "imagen.yaml").stat().st_mode & 0o777 == 0o600
        (tmp_path / "imagen.yaml").chmod(0o644)
