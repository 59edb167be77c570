"""What identifies a packed dataset (`handlit.data.packing`)."""

from handlit.formats.benchmark import DatasetFormat

#: Written last, with the checksums of all files.
MANIFEST = "pack.json"

PACKED = DatasetFormat(
    name="packed",
    title="packed dataset",
    page="docs/how_to/packing.md",
    marks=(MANIFEST,),
    data="handlit.data.packed.PackedData",
)
