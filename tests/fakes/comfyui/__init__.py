"""A ComfyUI server to test against: no GPU, no model, every trap of the real one."""

from tests.fakes.comfyui.server import FakeComfyUI

__all__ = ["FakeComfyUI"]
