"""Reports: one HTML page on the folders that the other commands wrote."""

from grsap.reporting.report import Report

__all__ = ["Report"]
