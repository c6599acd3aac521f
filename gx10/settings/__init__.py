"""Cluster file, recipe and image description as frozen, typed, validated models: the only home of values."""

from .cluster import Cluster, Host
from .image import Image
from .load import PROJECT, Draft, Loaded, cluster_name, load, load_image, load_recipe, read
from .problems import Problem, SettingsError
from .recipe import Recipe

__all__ = [
    "PROJECT",
    "Cluster",
    "Draft",
    "Host",
    "Image",
    "Loaded",
    "Problem",
    "Recipe",
    "SettingsError",
    "cluster_name",
    "load",
    "load_image",
    "load_recipe",
    "read",
]
