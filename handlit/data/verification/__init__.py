"""Verify a dataset as it lies on disk: what is there, missing or damaged, and whether its labels fit together."""

from handlit.data.verification.report import Report
from handlit.data.verification.verify import verify

__all__ = ["Report", "verify"]
