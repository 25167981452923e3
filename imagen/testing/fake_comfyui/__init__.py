"""A ComfyUI server to test against: no GPU, no model, every trap of the real one."""

from imagen.testing.fake_comfyui.server import FakeComfyUI

__all__ = ["FakeComfyUI"]
