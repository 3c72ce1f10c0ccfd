"""Where a sweep is kept: one Parquet part a chunk, written beside and then renamed, so that nothing is half there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvwall.hardware.document import parse_mapping, read_text
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import kvwall_version
from kvwall.simulator.cli.output import save
from kvwall.simulator.sweeping.pricing import FIGURES, schema
from kvwall.simulator.sweeping.study import Study

if TYPE_CHECKING:
    import pyarrow as pa

_STUDY = "study.json"
_PART = "part-{:06d}.parquet"
#: Texts repeat and figures never do: bytes of one significance beside each other compress a third better.
_ENCODING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [field.name for field in schema() if field.name not in {*FIGURES, "fits"}],
    "use_byte_stream_split": list(FIGURES),
}


class Store:
    """A folder of parts; a single file is such a folder beside it until all parts are there.

    :raises InputError: a folder that holds another study, or cannot be written
    """

    def __init__(self, output: Path, study: Study) -> None:
        self.output, self.study = output, study
        self.single = output.suffix == ".parquet"
        self.folder = output.with_name(output.name + ".parts") if self.single else output
        if self.single and output.is_dir():
            raise InputError(f"-o {output}: is a folder, expected a file that ends in .parquet")
        self._open()

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"-o {self.output}: cannot be made ({error.strerror or error})") from None
        about = self.folder / _STUDY
        if about.exists():
            found = parse_mapping(read_text(about), str(about)).get("fingerprint")
            if found != self.study.fingerprint:
                raise InputError(f"-o {self.output}: holds another study or another version's; give another name")
        elif any(self.folder.iterdir()):
            raise InputError(f"-o {self.output}: is not empty and holds no study; give another name")
        else:
            save(about, json.dumps(self._about(), indent=2) + "\n")

    def _about(self) -> dict[str, Any]:
        return {
            "kvwall_version": kvwall_version(),
            "fingerprint": self.study.fingerprint,
            "study": self.study.model_dump(mode="json"),
        }

    def _metadata(self) -> dict[bytes, bytes]:
        return {b"kvwall": json.dumps(self._about(), sort_keys=True).encode()}

    def has(self, number: int) -> bool:
        """Whether a part is there, whole."""
        return (self.folder / _PART.format(number)).exists()

    def put(self, number: int, table: pa.Table) -> None:
        """Keep a part; the same rows make the same bytes.

        :raises InputError: it cannot be written, as on a full disk; what was there stays
        """
        import pyarrow.parquet as pq

        path = self.folder / _PART.format(number)
        beside = path.with_suffix(".writing")
        try:
            pq.write_table(table.replace_schema_metadata(self._metadata()), beside, **_ENCODING)
            os.replace(beside, path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise InputError(f"-o {self.output}: cannot be written ({error.strerror or error})") from None

    def close(self, parts: int) -> None:
        """Join all parts to the single file that was asked for."""
        if not self.single:
            return
        import pyarrow.parquet as pq

        beside = self.output.with_suffix(".writing")
        try:
            described = schema().with_metadata(self._metadata())
            with pq.ParquetWriter(beside, described, **_ENCODING) as writer:
                for number in range(parts):
                    writer.write_table(pq.read_table(self.folder / _PART.format(number), schema=schema()))
            os.replace(beside, self.output)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise InputError(f"-o {self.output}: cannot be written ({error.strerror or error})") from None
        for number in range(parts):
            (self.folder / _PART.format(number)).unlink()
        (self.folder / _STUDY).unlink()
        self.folder.rmdir()
