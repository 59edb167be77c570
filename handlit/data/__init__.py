"""Datasets and their LightningDataModules, one file each, and the synthesis of look-alikes."""
