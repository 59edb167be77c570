"""Adds ``configs/`` to the package as ``handlit/configs``; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["handlit*"]), "handlit.configs"], package_dir={"handlit.configs": "configs"})
