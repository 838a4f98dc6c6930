"""Having this file here lets every test import what lies in this folder, such as `encoders.fake`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("vidmem", deadline=None)  # a busy machine is no failure
settings.load_profile("vidmem")
