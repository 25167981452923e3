"""The node classes the fake knows: how ``/object_info`` describes them, and what they make."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

Inputs = Mapping[str, Any]
Specs = Mapping[str, list[Any]]

DEFAULT_MODELS: Mapping[str, tuple[str, ...]] = {
    "diffusion_models": ("flux1-dev.safetensors", "flux1-schnell.safetensors"),
    "text_encoders": ("clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors"),
    "vae": ("ae.safetensors",),
    "checkpoints": ("flux1-schnell-fp8.safetensors",),
    "loras": ("ink.safetensors", "styles/gouache.safetensors"),
}

_SAMPLERS = ["euler", "euler_ancestral", "heun", "dpmpp_2m"]
_SCHEDULERS = ["simple", "normal", "karras", "beta"]
_SIDE = ["INT", {"default": 1024, "min": 16, "max": 16384, "step": 16}]
_SEED = ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}]
_STEPS = ["INT", {"default": 20, "min": 1, "max": 10000}]
_UNIT = ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0}]
_WIDE = ["FLOAT", {"default": 1.0, "min": 0.0, "max": 100.0}]
_IMAGE = frozenset({"image"})
_TEXT = ["STRING", {"multiline": True}]


@dataclass(frozen=True)
class NodeClass:
    """``makes`` turns input values into the outputs; ``steps`` says how much device time it takes.

    ``loads`` names the input with a model file; ``is_output`` marks nodes that save.
    """

    required: Specs
    returns: tuple[str, ...] = ()
    makes: Callable[[Inputs], tuple[Any, ...]] = field(default=lambda _: (None, None, None))
    steps: Callable[[Inputs], int] | None = None
    loads: str = ""
    is_output: bool = False
    #: Inputs whose values are not compared with their list: the node looks at them itself.
    unchecked: frozenset[str] = frozenset()


def make_nodes(models: Mapping[str, tuple[str, ...]]) -> dict[str, NodeClass]:
    """The catalogue of a server that has these model files, by folder."""

    def files(folder: str) -> list[Any]:
        return [list(models.get(folder, ())), {}]

    latent = {"width": _SIDE, "height": _SIDE, "batch_size": ["INT", {"min": 1, "max": 4096}]}
    return {
        "UNETLoader": NodeClass(
            {
                "unet_name": files("diffusion_models"),
                "weight_dtype": [["default", "fp8_e4m3fn", "fp8_e5m2"], {}],
            },
            ("MODEL",),
            loads="unet_name",
        ),
        "CheckpointLoaderSimple": NodeClass(
            {"ckpt_name": files("checkpoints")}, ("MODEL", "CLIP", "VAE"), loads="ckpt_name"
        ),
        "DualCLIPLoader": NodeClass(
            {
                "clip_name1": files("text_encoders"),
                "clip_name2": files("text_encoders"),
                "type": [["sdxl", "sd3", "flux"], {}],
            },
            ("CLIP",),
        ),
        "LoraLoaderModelOnly": NodeClass(
            {"model": ["MODEL"], "lora_name": files("loras"), "strength_model": _WIDE}, ("MODEL",)
        ),
        "VAELoader": NodeClass({"vae_name": files("vae")}, ("VAE",)),
        "EmptySD3LatentImage": NodeClass(latent, ("LATENT",), _make_latent),
        "EmptyLatentImage": NodeClass(latent, ("LATENT",), _make_latent),
        "CLIPTextEncode": NodeClass(
            {"text": _TEXT, "clip": ["CLIP"]}, ("CONDITIONING",), lambda i: (i["text"],)
        ),
        "FluxGuidance": NodeClass(
            {"guidance": _WIDE, "conditioning": ["CONDITIONING"]},
            ("CONDITIONING",),
            lambda i: (f"{i['conditioning']}|{i['guidance']}",),
        ),
        "ConditioningZeroOut": NodeClass(
            {"conditioning": ["CONDITIONING"]}, ("CONDITIONING",), lambda _: ("",)
        ),
        "ModelSamplingFlux": NodeClass(
            {
                "max_shift": _WIDE,
                "base_shift": _WIDE,
                "width": _SIDE,
                "height": _SIDE,
                "model": ["MODEL"],
            },
            ("MODEL",),
        ),
        "BasicGuider": NodeClass(
            {"model": ["MODEL"], "conditioning": ["CONDITIONING"]},
            ("GUIDER",),
            lambda i: (i["conditioning"],),
        ),
        "KSamplerSelect": NodeClass({"sampler_name": [_SAMPLERS, {}]}, ("SAMPLER",)),
        "BasicScheduler": NodeClass(
            {
                "model": ["MODEL"],
                "scheduler": [_SCHEDULERS, {}],
                "steps": _STEPS,
                "denoise": _UNIT,
            },
            ("SIGMAS",),
            lambda i: (i["steps"],),
        ),
        "RandomNoise": NodeClass({"noise_seed": _SEED}, ("NOISE",), lambda i: (i["noise_seed"],)),
        "SamplerCustomAdvanced": NodeClass(
            {
                "noise": ["NOISE"],
                "guider": ["GUIDER"],
                "sampler": ["SAMPLER"],
                "sigmas": ["SIGMAS"],
                "latent_image": ["LATENT"],
            },
            ("LATENT", "LATENT"),
            lambda i: (_sample(i["latent_image"], i["noise"], i["guider"], i["sigmas"]),) * 2,
            steps=lambda i: int(i["sigmas"]),
        ),
        "KSampler": NodeClass(
            {
                "model": ["MODEL"],
                "seed": _SEED,
                "steps": _STEPS,
                "cfg": _WIDE,
                "sampler_name": [_SAMPLERS, {}],
                "scheduler": [_SCHEDULERS, {}],
                "positive": ["CONDITIONING"],
                "negative": ["CONDITIONING"],
                "latent_image": ["LATENT"],
                "denoise": _UNIT,
            },
            ("LATENT",),
            lambda i: (_sample(i["latent_image"], i["seed"], i["positive"], i["steps"]),),
            steps=lambda i: int(i["steps"]),
        ),
        "VAEDecode": NodeClass(
            {"samples": ["LATENT"], "vae": ["VAE"]}, ("IMAGE",), lambda i: (i["samples"],)
        ),
        "EmptyImage": NodeClass(
            {
                "width": ["INT", {"min": 1, "max": 16384}],
                "height": ["INT", {"min": 1, "max": 16384}],
                "batch_size": ["INT", {"min": 1, "max": 4096}],
                "color": ["INT", {"min": 0, "max": 0xFFFFFF}],
            },
            ("IMAGE",),
            lambda i: (Image.new("RGB", (i["width"], i["height"]), f"#{i['color']:06x}"),),
            steps=lambda _: 1,
        ),
        "SaveImage": NodeClass(
            {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}, is_output=True
        ),
        "PreviewImage": NodeClass({"images": ["IMAGE"]}, is_output=True),
        "PrimitiveString": NodeClass(
            {"value": ["STRING", {}]}, ("STRING",), lambda i: (i["value"],)
        ),
        **_file_nodes(),
    }


def _file_nodes() -> dict[str, NodeClass]:
    """Nodes that open a file of the server; specs as of ComfyUI 0.3.64, read on 2026-11-21.

    ``PickPhoto`` stands for a custom node whose name says nothing.
    """

    def blank(_: Inputs) -> tuple[Any, ...]:
        return (Image.new("RGB", (64, 64)),)

    upload = [["example.png"], {"image_upload": True}]
    remote = {"route": "/internal/files/output", "refresh_button": True}
    output = ["COMBO", {"image_upload": True, "image_folder": "output", "remote": remote}]
    return {
        "LoadImage": NodeClass({"image": upload}, ("IMAGE",), blank, unchecked=_IMAGE),
        "LoadImageOutput": NodeClass({"image": output}, ("IMAGE",), blank, unchecked=_IMAGE),
        "LoadLatent": NodeClass(
            {"latent": [[]]}, ("LATENT",), _make_latent, unchecked=frozenset({"latent"})
        ),
        "PickPhoto": NodeClass(
            {"choice": upload}, ("IMAGE",), blank, unchecked=frozenset({"choice"})
        ),
    }


def describe(name: str, node: NodeClass) -> dict[str, Any]:
    """What ``/object_info`` says of a class, as far as clients read it."""
    return {
        "input": {"required": dict(node.required)},
        "output": list(node.returns),
        "name": name,
        "display_name": name,
        "output_node": node.is_output,
    }


def encode_png(image: Image.Image, graph: Mapping[str, Any]) -> bytes:
    """The file as SaveImage writes it: the whole graph, prompt and all, goes into a text chunk."""
    info = PngInfo()
    info.add_text("prompt", json.dumps(graph))
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=info, compress_level=1)
    return file.getvalue()


def _make_latent(inputs: Inputs) -> tuple[Any, ...]:
    return ((inputs["width"] // 8 * 8, inputs["height"] // 8 * 8),)


def _sample(size: tuple[int, int], seed: int, prompt: str, steps: int) -> Image.Image:
    """A picture that follows from its inputs alone."""
    source = random.Random(f"{seed}|{prompt}|{steps}")  # repeatable on purpose
    small = Image.frombytes("RGB", (8, 8), source.randbytes(8 * 8 * 3))
    return small.resize(size, Image.Resampling.BICUBIC)
