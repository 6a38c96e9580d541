"""Settings by name; a configuration's own fields lie over them."""

from __future__ import annotations

SD15: dict[str, object] = {
    "checkpoint": {
        "base": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "controlnets": {
            "canny": "lllyasviel/sd-controlnet-canny",
            "depth": "lllyasviel/sd-controlnet-depth",
            "pose": "lllyasviel/sd-controlnet-openpose",
            "soft_edges": "lllyasviel/sd-controlnet-hed",
        },
        "resolution_px": 512,
    },
    "prompts": {
        "object": "a {token}{object} is {label}, plain light gray background",
        "object_unlabelled": "a {token}{object}, plain light gray background",
        "identifier_token": "xyz-style",
    },
    "finetune": {
        "method": "full",
        "learning_rate": 2e-6,
        "prior_loss_weight": 0.01,
        "gradient_accumulation": 2,
        "steps": 800,
        "batch_size": 1,
        "class_images": 200,
    },
    "generation": {
        "steps": 50,
        "guidance_scale": 7.5,
        "background_guidance_scale": 7.5,
        "cutout": {"ground_tolerance": 255},
        "min_label_probability": 0,
    },
    "training": {"backbone": "mobilenet_v2", "image_px": 224, "frozen_share": 0},
    "detection": {"weights": "yolov8n.pt", "image_px": 640},
    "resources": {
        "diffusion": {"num_cpus": 4, "num_gpus": 1},
        "generation": {"num_cpus": 4, "num_gpus": 1},
        "training": {"num_cpus": 4, "num_gpus": 1},
    },
}
"""The paper's settings (B.1, B.2) on Stable Diffusion 1.5, which has no text-image encoder to check
labels with and may draw on a plain ground of any grey."""

PRESETS: dict[str, dict[str, object]] = {"home": {}, "sd15": SD15}
