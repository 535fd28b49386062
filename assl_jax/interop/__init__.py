"""Weights to and from other programs: torchvision, timm, MONAI, safetensors and ONNX."""
