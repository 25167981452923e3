"""ComfyUI: FLUX on your own GPU."""

from imagen.backends.comfyui.backend import adapter

__all__ = ["adapter"]
