"""What the verification of one dataset hands to the checks that all datasets share."""

from dataclasses import dataclass

from handlit.formats.frame_table import FrameTable
from handlit.formats.images import DepthReader, MaskReader
from handlit.skeleton import TipConvention


@dataclass(frozen=True)
class Split:
    """The frames that a list of the dataset names, whatever is wrong with them.

    Attributes:
        name: As the dataset calls it.
        frames: A row for each listed frame: "" for a file that is missing, NaN for a label that is not there.
        tips: Vertices that stand for the finger tips.
        read_masks: Decodes its masks.
        read_depth: Decodes its depth images.
        labelled: How many rows have labels of their own; further rows repeat them with other images.
    """

    name: str
    frames: FrameTable
    tips: TipConvention
    read_masks: MaskReader | None = None
    read_depth: DepthReader | None = None
    labelled: int | None = None
