"""A packed dataset (`handlit.data.packing`) as a data module."""

from typing import Any

from typing_extensions import override

from handlit.data.loading.datamodule import HandDataModule
from handlit.data.packing.read import MAX_GB, Pack, PackedDataset
from handlit.geometry.crops import CropRule


class PackedData(HandDataModule):
    """Training, validation and evaluation splits of a packed dataset, as they were when it was packed.

    Args:
        root: Folder that ``handlit pack`` wrote, or its copy behind a URL (``s3://``, ``gs://``, ``https://``).
        crop: Rule that puts the square around the hand; None for the one that was packed for, others are refused.
        cache: Folder for what is downloaded from a URL; None for the user's cache.
        allow_http: Also fetch from ``http://``, where anybody in between can change what arrives.
        max_gb: How much of a pack behind a URL may be kept on the disk; its labels must fit. Images of chunks that do
            not are fetched one by one whenever they are needed.
        endpoint: Address of the server that keeps ``s3://``, for others than Amazon's; credentials come from the
            environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, a profile).
        **kwargs: Arguments of `HandDataModule`; augmentation at most as it was packed for.

    Raises:
        FileNotFoundError: There is no packed dataset, or a file of it is missing.
        InputError: It is damaged or of another format, cannot be fetched, or was packed for other crops.
    """

    def __init__(
        self,
        root: str,
        crop: CropRule | None = None,
        cache: str | None = None,
        allow_http: bool = False,
        max_gb: float = MAX_GB,
        endpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.pack = Pack(root, cache, allow_http, max_gb, endpoint)
        manifest = self.pack.manifest
        rule = manifest["crop"] if crop is None else crop
        # whether there are masks was decided when packing, as was what to do about damaged files
        super().__init__(crop=rule, masks=False, on_error="raise", max_errors=0, **kwargs)
        self.tips = manifest["tips"]
        self.protocol = manifest["protocol"]
        self.box_source = manifest["box_source"]

    @override
    def setup(self, stage: str) -> None:
        """Map the labels that the stage needs."""
        splits = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}[stage]
        for split in splits:
            if split not in self.datasets:
                self.datasets[split] = self._open(split)

    def _open(self, split: str) -> PackedDataset:
        frames, rows = self.pack.split(split)
        augmentation = self.augmentation if split == "train" else None
        return PackedDataset(self.pack, frames, self.crop, self.image_size, augmentation, rows)
