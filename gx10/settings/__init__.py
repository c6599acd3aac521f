"""Cluster file, recipe and image description as frozen, typed, validated models: the only home of values."""

from gx10.settings.cluster import Cluster, Host
from gx10.settings.image import Image
from gx10.settings.load import PROJECT, Draft, Loaded, cluster_name, load, load_image, load_recipe, read
from gx10.settings.problems import Problem, SettingsError
from gx10.settings.recipe import Recipe

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
