"""Names of shipped devices and systems: aliases, spellings, near misses, files of one's own."""

from pathlib import Path

import pytest

from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError, UnknownNameError, canonical
from kvwall.hardware.library import Library, split_count
from kvwall.hardware.system import NODES


@pytest.mark.parametrize("library", [DEVICES, NODES], ids=["devices", "systems"])
def test_no_name_means_two_things(library: Library) -> None:  # type: ignore[type-arg]
    owner: dict[str, str] = {}
    for name, member in library.all().items():
        for alias in {name, member.name, *member.aliases}:
            first = owner.setdefault(canonical(alias), name)
            assert first == name, f"{alias!r} means {first} and {name}"


@pytest.mark.parametrize("library", [DEVICES, NODES], ids=["devices", "systems"])
def test_every_alias_and_full_name_resolves(library: Library) -> None:  # type: ignore[type-arg]
    for name, member in library.all().items():
        for alias in (name, member.name, *member.aliases):
            assert library.resolve(alias) == name
            assert library.resolve(alias.upper().replace(" ", "-")) == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("h100", "h100-sxm5-80gb"),
        ("H100-SXM5", "h100-sxm5-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb"),
        ("h100_pcie", "h100-pcie-80gb"),
        ("h100_nvl", "h100-nvl-94gb"),
        ("H200 SXM", "h200-sxm-141gb"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("a100", "a100-sxm4-80gb"),
        ("a100-40gb", "a100-sxm4-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("b200_sxm", "b200-sxm-180gb"),
        ("b300", "b300-sxm-288gb"),
        ("GB200", "gb200"),
        ("h20", "h20-96gb"),
        ("h800", "h800-sxm5-80gb"),
        ("A10", "a10"),
        ("a10g", "a10g"),
        ("RTX_A6000", "rtx-a6000"),
        ("3090", "rtx-3090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("RTX PRO 6000", "rtx-pro-6000-blackwell-server"),
        ("Tesla T4", "t4"),
        ("v100", "v100-sxm2-32gb"),
        ("MI300X", "mi300x"),
        ("trn2", "trainium2"),
        ("M2 Ultra", "apple-m2-ultra"),
        ("xeon", "cpu-2s-xeon-8480p"),
        ("epyc", "cpu-2s-epyc-9654"),
    ],
)
def test_names_people_use(alias: str, name: str) -> None:
    assert DEVICES.resolve(alias) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("h1000", "unknown device 'h1000'; did you mean 'h100'?"),
        ("mi30", "unknown device 'mi30'; did you mean 'mi300x'?"),
        ("?", "unknown device '?'; 'kvwall list devices' lists all"),
        ("", "unknown device ''; 'kvwall list devices' lists all"),
        ("q" * 500, f"unknown device '{'q' * 60}...'; 'kvwall list devices' lists all"),
    ],
)
def test_an_unknown_name(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        DEVICES.load(name)
    assert str(caught.value) == message


def test_a_path_is_read_as_a_file_of_ones_own(tmp_path: Path) -> None:
    shipped = Path(DEVICES._folder) / "l4.yaml"
    mine = tmp_path / "mine.yaml"
    mine.write_text(shipped.read_text().replace("bandwidth: 300 GB/s", "bandwidth: 600 GB/s", 1))
    assert DEVICES.load(str(mine)).hbm.bandwidth_bytes_per_s == 6e11
    missing = str(tmp_path / "none.yaml")
    with pytest.raises(InputError) as caught:
        DEVICES.load(missing)
    assert str(caught.value) == f"{missing}: cannot be read (No such file or directory)"


def test_a_member_is_read_once() -> None:
    assert DEVICES.load("h100") is DEVICES.load("h100-sxm5-80gb")


def test_a_count_after_the_name() -> None:
    assert split_count("h100:8", "--on") == ("h100", 8)
    assert split_count("h100", "--on") == ("h100", 1)
    assert split_count("my.yaml:4", "--on") == ("my.yaml", 4)
    assert split_count("c:\\my.yaml", "--on") == ("c:\\my.yaml", 1)


@pytest.mark.parametrize("count", ["0", "-1", "x", "", "1.5", "100001", "²", "9" * 30])
def test_a_count_that_is_none(count: str) -> None:
    with pytest.raises(InputError) as caught:
        split_count(f"h100:{count}", "--on")
    assert str(caught.value) == f"--on 'h100:{count}': the count {count!r} is not a whole number from 1 to 100000"
