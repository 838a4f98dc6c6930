"""Robot logs: MCAP, rosbag2, ROS 1 bags and Rerun recordings as sources, one per topic with pictures."""

from __future__ import annotations

import os

from .base import LogReader, is_bag_folder

__all__ = ["LOG_SUFFIXES", "LogReader", "is_bag_folder", "is_log", "open_log"]

LOG_SUFFIXES = frozenset({".mcap", ".bag", ".db3", ".rrd"})
"""Suffixes of logs. A rosbag2 is a folder of such files with a metadata.yaml."""


def is_log(path: str) -> bool:
    """Return True if `open_log` can open the file or folder, by its name."""
    if os.path.isdir(path):
        return is_bag_folder(path)
    return os.path.splitext(path)[1].lower() in LOG_SUFFIXES


def open_log(path: str) -> LogReader:
    """Open a log for reading.

    Raises:
        MediaError: a library is not installed, it is not such a log, or nothing in it can be read.
    """
    if path.lower().endswith(".mcap") and not os.path.isdir(path):
        from .mcap_reader import McapReader

        return McapReader(path)
    if path.lower().endswith(".rrd") and not os.path.isdir(path):
        from .rrd_reader import RrdReader

        return RrdReader(path)
    from .bags import BagReader

    return BagReader(path)
