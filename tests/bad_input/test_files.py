"""Files that are broken, hostile or of another kind, given by their path on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

Refusal = Callable[[str], str]

H100 = (files("kvwall.hardware") / "devices" / "h100-sxm5-80gb.yaml").read_text(encoding="utf-8")
BANDWIDTH = "bandwidth: 3.35 TB/s"


@pytest.fixture
def device(tmp_path: Path, refusal: Refusal) -> Callable[[bytes | str], str]:
    """The refusal of a device file with the given content, without the path it starts with."""

    def refused(content: bytes | str) -> str:
        path = tmp_path / "device.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        message = refusal(f"step llama-3.1-8b --on {path}")
        assert message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

    return refused


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bandwidth: 3.35 TB", "hbm.bandwidth: '3.35 TB' has the unit 'B', expected 'B/s' as in '3.35 TB/s'"),
        ("bandwidth: -1 B/s", "hbm.bandwidth: '-1 B/s' is outside 100000 to 1e+16 B/s; write for example '3.35 TB/s'"),
        ("bandwidth: 0", "hbm.bandwidth: 0 is outside 100000 to 1e+16 B/s; write for example '3.35 TB/s'"),
        ("bandwidth: .nan", "hbm.bandwidth: nan is not finite; write for example '3.35 TB/s'"),
        ("bandwidth: .inf", "hbm.bandwidth: inf is not finite; write for example '3.35 TB/s'"),
        ("bandwidth: 3e30", "hbm.bandwidth: '3e30' is outside 100000 to 1e+16 B/s; write for example '3.35 TB/s'"),
        ("bandwidth: [3.35 TB/s]", "hbm.bandwidth: ['3.35 TB/s'] is not a quantity; write for example '3.35 TB/s'"),
        ("bandwidth:", "hbm.bandwidth: None is not a quantity; write for example '3.35 TB/s'"),
        (
            "bandwith: 3.35 TB/s",
            "unknown key 'hbm.bandwith'; did you mean 'bandwidth'? "
            "(allowed: bandwidth, basis, bus, capacity, source, type) (and 1 more)",
        ),
    ],
)  # fmt: skip
def test_a_device_with_a_wrong_line(device: Callable[[str], str], line: str, message: str) -> None:
    assert device(H100.replace(BANDWIDTH, line)) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("- 1", "expected a mapping of keys to values, found list"),
        (b"\0\1\2", "is a binary file, expected text"),
        (b"name: caf\xe9", "is not UTF-8 text (byte 9)"),
        ("name: x".encode("utf-16"), "is a binary file, expected text"),
        (H100[:700], "line 20: not YAML (found unexpected end of stream)"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "YAML aliases (*name) are not allowed"),
        ("a: " + "[" * 100_000, "line 1: not YAML (exceeded maximum nesting depth)"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ("count: " + "9" * 5000, "line 1: not YAML (a number of thousands of digits)"),
        ("count: 0x" + "f" * 5000, "line 1: not YAML (a number of thousands of digits)"),
        ('{"count": ' + "9" * 5000 + "}", "cannot be parsed (a number of thousands of digits)"),
        ("name: a\x07b", "not YAML (control characters are not allowed)"),
        (
            "name: !!python/object/apply:os.system [ls]",
            "line 1: not YAML (could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system')",
        ),
    ],
)
def test_a_device_that_is_no_document(device: Callable[[bytes | str], str], content: bytes | str, message: str) -> None:
    assert device(content) == message


def test_a_file_of_a_hundred_megabytes_is_not_read(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "device.yaml"
    path.touch()
    os.truncate(path, 100_000_000)
    for command in (f"step llama-3.1-8b --on {path}", f"need {path}", f"step llama-3.1-8b --on h100 --engine {path}"):
        assert refusal(command) == f"{path}: 100,000,000 bytes is too large (at most 2,000,000)"


def test_a_device_file_with_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kvwall.simulator.cli.main import main

    path = tmp_path / "mine.yaml"
    path.write_text(H100, encoding="utf-8")
    assert main(["step", "llama-3.1-8b", "--on", f"{path}:8", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["device"], answer["gpus"]) == (str(path), 8)


@pytest.mark.parametrize("option", ["--on", "--engine", "--weights", "--calibration", "--contexts"])
def test_a_path_that_leads_nowhere(tmp_path: Path, refusal: Refusal, option: str) -> None:
    path = tmp_path / "none.yaml"
    on = "" if option == "--on" else "--on h100"
    message = refusal(f"step llama-3.1-8b {on} {option} {path}")
    assert message == f"{path}: cannot be read (No such file or directory)"


def test_a_file_of_another_kind(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "device.yaml"
    path.write_text(H100, encoding="utf-8")
    assert refusal(f"step {path} --on h100") == f"{path}: missing key 'model_type'"
    message = refusal(f"step llama-3.1-8b --on h100 --calibration {path}")
    allowed = "device, fits, framework, name, source, versions"
    assert message == f"{path}: unknown key 'aliases' (allowed: {allowed}) (and 23 more)"


@pytest.mark.parametrize("option", ["--weights", "--calibration"])
def test_a_description_of_ones_own_is_taken_by_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    from kvwall.simulator.cli.main import main

    package, shipped = {
        "--weights": ("kvwall.workloads", "weights/fp8.yaml"),
        "--calibration": ("kvwall.hardware", "calibrations/uncalibrated.yaml"),
    }[option]
    path = tmp_path / "mine.yaml"
    path.write_text((files(package) / shipped).read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["step", "llama-3.1-8b", "--on", "h100", option, str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[option.removeprefix("--")] == str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "llama", "hid', "line 1: not JSON (Unterminated string starting at)"),
        ("{}", "missing key 'model_type'"),
        ('{"model_type": 3}', "model_type: 3 is not a text"),
        ('{"model_type": "llama"}', "missing key 'num_hidden_layers'"),
        ('{"model_type": "llama", "model_type": "opt"}', "not JSON (the key 'model_type' stands twice)"),
        (
            '{"model_type": "llama", "num_hidden_layers": -32}',
            "num_hidden_layers: -32 is not a whole number from 1 to 100000000",
        ),
        (
            '{"model_type": "llama", "num_hidden_layers": "32"}',
            "num_hidden_layers: '32' is not a whole number from 1 to 100000000",
        ),
        (
            '{"model_type": "llama", "num_hidden_layers": NaN}',
            "num_hidden_layers: nan is not a whole number from 1 to 100000000",
        ),
    ],
)
def test_a_config_that_describes_no_model(tmp_path: Path, refusal: Refusal, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert refusal(f"step {tmp_path} --on h100") == f"{tmp_path / 'config.json'}: {message}"


def test_an_unknown_architecture_names_the_nearest_and_all(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "lama"}')
    message = refusal(f"fit {path} --on h100")
    assert message.startswith(f"{path}: model_type: unknown 'lama'; did you mean 'llama'? (allowed: bamba, ")


def test_a_folder_without_a_config(tmp_path: Path, refusal: Refusal) -> None:
    assert refusal(f"need {tmp_path}") == f"{tmp_path}: the folder has no config.json"


def test_an_answer_that_cannot_be_written(tmp_path: Path, refusal: Refusal) -> None:
    missing = tmp_path / "none" / "schema.json"
    assert refusal(f"schema step -o {missing}") == f"{missing}: cannot be written (No such file or directory)"
    assert refusal(f"schema step -o {tmp_path}") == f"{tmp_path}: is a folder, expected the name of a file"
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_sequences_with_a_wrong_line(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "lengths.txt"
    path.write_text("8k*30\n128q*2  # two long ones\n")
    expected = "line 2: '128q' is not a whole number from 1 to 1000000000; write for example '8k*30,128k*2'"
    assert refusal(f"step llama-3.1-8b --on h100 --contexts {path}") == f"{path}: {expected}"
