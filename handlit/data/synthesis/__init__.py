"""Synthetic hands that hold things, in the on-disk layout of public datasets."""

from handlit.data.synthesis.generate import synthesise
from handlit.data.synthesis.presets import PRESETS, PresetName, ScenePreset

__all__ = ["PRESETS", "PresetName", "ScenePreset", "synthesise"]
