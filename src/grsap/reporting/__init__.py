"""Reports: one page from what the other verbs left."""

from grsap.reporting.report import Report

__all__ = ["Report"]
