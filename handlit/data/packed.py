"""A packed dataset (`handlit.data.packing`) as a data module."""

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.packing.read import Pack, PackedDataset
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable, open_array
from handlit.formats.index import open_arrays
from handlit.geometry.crops import CropRule


class PackedData(HandDataModule):
    """Training, validation and evaluation splits of a packed dataset, as they were when it was packed.

    Args:
        root: Folder that ``handlit pack`` wrote, or its copy behind a URL (``s3://``, ``gs://``, ``https://``).
        image_size: Side of the square crops, pixels.
        crop: Rule that puts the square around the hand; None for the one that was packed for, others are refused.
        batch_size: Samples per process and step.
        num_workers: Loader processes.
        augmentation: Random changes of the training samples, at most those that were packed for.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
        cache: Folder for what is downloaded from a URL; None for the user's cache.

    Raises:
        FileNotFoundError: There is no packed dataset, or a file of it is missing.
        InputError: It is damaged or of another format, or was packed for other crops.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 224,
        crop: CropRule | None = None,
        batch_size: int = 16,
        num_workers: int = 8,
        augmentation: Augmentation | None = None,
        mano_path: str | None = None,
        cache: str | None = None,
    ) -> None:
        self.pack = Pack(root, cache)
        manifest = self.pack.manifest
        rule = manifest["crop"] if crop is None else crop
        super().__init__(image_size, rule, batch_size, num_workers, augmentation, mano_path)
        self.tips = manifest["tips"]
        self.protocol = manifest["protocol"]
        self.box_source = manifest["box_source"]

    def setup(self, stage: str) -> None:
        """Map the labels that the stage needs."""
        splits = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}[stage]
        for split in splits:
            if split not in self.datasets:
                self.datasets[split] = self._open(split)

    def _open(self, split: str) -> PackedDataset:
        packed = self.pack.manifest["splits"]
        if split not in packed:
            raise InputError(
                f"{self.pack.root} holds the splits {', '.join(packed)}, not {split}: pack the dataset with it"
            )
        labels = self.pack.folder / "labels"
        return PackedDataset(
            self.pack,
            FrameTable(**open_arrays(labels / f"table{packed[split]['table']}")),
            self.crop,
            self.image_size,
            augmentation=self.augmentation if split == "train" else None,
            rows=open_array(labels / f"{split}.npy"),
        )
