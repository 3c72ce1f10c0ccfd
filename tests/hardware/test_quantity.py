"""What people write as a quantity, and what they are told when it is none."""

import pytest

from kvwall.hardware.quantity import UnitError, parse_quantity

EXAMPLES = {
    "B": "80 GiB",
    "B/s": "3.35 TB/s",
    "FLOP/s": "989 TFLOP/s",
    "s": "5 us",
    "Hz": "1830 MHz",
    "W": "700 W",
    "USD/h": "2.69 USD/h",
    "J/B": "80 pJ/B",
    "J/FLOP": "0.8 pJ/FLOP",
}


def parse(value: object, unit: str, lowest: float = 0.0, highest: float = 1e20) -> float:
    return parse_quantity(value, unit, lowest, highest, EXAMPLES[unit])


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("80 GiB", "B", 80 * 2**30),
        ("80 GB", "B", 80e9),
        ("80GB", "B", 80e9),
        ("81559 MiB", "B", 81559 * 2**20),
        ("228 KiB", "B", 228 * 1024),
        ("512 KB", "B", 512e3),
        ("1,000 GB", "B", 1e12),
        ("1_000 bytes", "B", 1000),
        ("3.35 TB/s", "B/s", 3.35e12),
        ("3.35e3 GB/s", "B/s", 3.35e12),
        ("3.35e12", "B/s", 3.35e12),
        (3_350_000_000_000, "B/s", 3.35e12),
        ("989.4 TFLOP/s", "FLOP/s", 989.4e12),
        ("9 PFLOP/s", "FLOP/s", 9e15),
        ("900 GFLOPS", "FLOP/s", 9e11),
        ("1978.9 TOP/s", "FLOP/s", 1978.9e12),
        ("5 us", "s", 5e-6),
        ("5 µs", "s", 5e-6),
        ("3 ms", "s", 3e-3),
        ("1830 MHz", "Hz", 1.83e9),
        ("1.2 kW", "W", 1200),
        ("2.69 USD/h", "USD/h", 2.69),
        ("2.69 $/h", "USD/h", 2.69),
        ("80 pJ/B", "J/B", 80e-12),
        ("0.84 pJ/FLOP", "J/FLOP", 0.84e-12),
    ],
)
def test_what_people_write(text: object, unit: str, expected: float) -> None:
    number = parse(text, unit)
    assert type(number) is float
    assert number == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        ("3.35 TB", "B/s", "'3.35 TB' has the unit 'B', expected 'B/s' as in '3.35 TB/s'"),
        ("80 GB/s", "B", "'80 GB/s' has the unit 'B/s', expected 'B' as in '80 GiB'"),
        ("80 gb", "B", "'80 gb' has the unit 'gb', expected 'B' as in '80 GiB'"),
        ("200 Gb/s", "B/s", "'200 Gb/s' has the unit 'Gb/s', expected 'B/s' (8 bits are 1 byte) as in '3.35 TB/s'"),
        ("2 EUR/h", "USD/h", "'2 EUR/h' has the unit 'EUR/h', expected 'USD/h' as in '2.69 USD/h'"),
        (
            "1,5 GB",
            "B",
            "'1,5 GB' has a comma that separates no thousands; write a decimal point, for example '80 GiB'",
        ),
        ("fast", "B/s", "'fast' is not a number with a unit, for example '3.35 TB/s'"),
        ("", "W", "'' is not a number with a unit, for example '700 W'"),
        (None, "W", "None is not a quantity; write for example '700 W'"),
        (True, "W", "True is not a quantity; write for example '700 W'"),
        (float("nan"), "W", "nan is not finite; write for example '700 W'"),
        ("inf", "W", "'inf' is not finite; write for example '700 W'"),
        (10**400, "W", f"1{'0' * 39}... is not finite; write for example '700 W'"),
        ("-5 us", "s", "'-5 us' is outside 0 to 1e+20 s; write for example '5 us'"),
    ],
)
def test_messages(value: object, unit: str, message: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(value, unit)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [0.99, 101, "0.5", "1 kB"])
def test_absurd_sizes_are_refused(value: object) -> None:
    with pytest.raises(UnitError, match="is outside 1 to 100 B"):
        parse(value, "B", 1, 100)


def test_the_bounds_themselves_are_allowed() -> None:
    assert parse("1 B", "B", 1, 100) == 1
    assert parse(100, "B", 1, 100) == 100


def test_thousands_of_digits_are_refused_at_once() -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity("9" * 100_000, "B", 1, 1e18, "80 GiB")
    assert str(caught.value) == f"'{'9' * 39}... is not a number with a unit, for example '80 GiB'"
