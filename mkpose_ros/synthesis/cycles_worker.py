"""Draws exported scenes with Blender Cycles: it runs in the Python that has bpy and knows nothing of mkpose_ros.

``python -I cycles_worker.py`` answers each line on standard input with one line of JSON on standard output: "hello"
with {"version", "folder"}, of which the folder is where scenes are put (see ``cycles_export``) and where images appear;
"draw" with {"seconds"} or {"failed": why}. It ends with its standard input and then removes the folder.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FORMAT", "draw", "read_export"]

FORMAT = 1  # of the folder; another one is refused


def read_export(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The description and the arrays of an exported scene. Raises ValueError for another format."""
    description = json.loads((folder / "scene.json").read_text(encoding="utf-8"))
    if description.get("format") != FORMAT:
        raise ValueError(
            f"{folder}/scene.json: format {description.get('format')!r}, expected {FORMAT}; export it again"
        )
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        return description, {name: stored[name] for name in stored.files}


def draw(folder: Path) -> None:
    """Draw the scene in ``folder`` into radiance.exr there, and into depth.exr and ids.exr if passes are asked for."""
    import bpy

    description, arrays = read_export(folder)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _set_up(bpy, scene, description["settings"])
    _add_camera(bpy, scene, description["camera"])
    _add_environment(bpy, scene, arrays["environment"])
    casters = bpy.data.collections.new("casters")
    for i, thing in enumerate(description["things"]):
        placed = _add_thing(bpy, scene, thing, f"thing{i}_", arrays)
        if thing["casts_shadow"]:
            casters.objects.link(placed)
    _add_sun(bpy, scene, description["sun"], casters)
    if description["settings"]["passes"]:
        _write_passes(scene, folder)
    scene.render.filepath = str(folder / "radiance.exr")
    bpy.ops.render.render(write_still=True)


def _set_up(bpy: Any, scene: Any, settings: dict) -> None:
    scene.render.engine = "CYCLES"
    cycles, render = scene.cycles, scene.render
    cycles.device = "CPU"
    cycles.samples = settings["samples"]
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = settings["denoise"]
    cycles.seed = 0
    cycles.filter_width = settings["filter_px"]
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 8, 3, 3
    cycles.transmission_bounces, cycles.transparent_max_bounces = 8, 8
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 8.0  # fireflies outlive few samples
    render.threads_mode = "FIXED" if settings["threads"] else "AUTO"
    if settings["threads"]:
        render.threads = settings["threads"]
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGB", "32"
    render.use_persistent_data = False


def _add_camera(bpy: Any, scene: Any, camera: dict) -> None:
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width = "HORIZONTAL", camera["sensor_mm"]
    data.lens, data.shift_x, data.shift_y = camera["lens_mm"], camera["shift_x"], camera["shift_y"]
    data.clip_start, data.clip_end = camera["near_m"], camera["far_m"]
    scene.camera = _add_object(bpy, scene, data, camera["T_world_cam"])
    scene.render.resolution_x, scene.render.resolution_y = camera["width"], camera["height"]
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = camera["pixel_aspect_x"], camera["pixel_aspect_y"]


def _add_environment(bpy: Any, scene: Any, environment: np.ndarray) -> None:
    """Blender's equirectangular images run clockwise seen from above and begin at the bottom: both ways the reverse."""
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    texture = nodes.new("ShaderNodeTexEnvironment")
    texture.image = _image(bpy, environment[::-1, ::-1], is_float=True)
    links.new(texture.outputs["Color"], nodes["Background"].inputs["Color"])
    world.cycles.sampling_method = "AUTOMATIC"


def _add_sun(bpy: Any, scene: Any, sun: dict, casters: Any) -> None:
    """The key light; only ``casters`` stand in its way. It means a lamp in the room: walls are behind it."""
    energy = max(sun["irradiance"])
    if energy <= 0.0:
        return
    data = bpy.data.lights.new("sun", "SUN")
    data.energy = energy
    data.color = [v / energy for v in sun["irradiance"]]
    data.angle = sun["angle_rad"]
    data.use_shadow = len(casters.objects) > 0  # to Blender an empty collection means everything
    _add_object(bpy, scene, data, sun["T_world_sun"]).light_linking.blocker_collection = casters


def _add_thing(bpy: Any, scene: Any, thing: dict, prefix: str, arrays: dict[str, np.ndarray]) -> Any:
    vertices, faces = arrays[prefix + "vertices"], arrays[prefix + "faces"]
    mesh = bpy.data.meshes.new(prefix)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("material_index", arrays[prefix + "face_materials"])
    if prefix + "uv" in arrays:
        layer = mesh.uv_layers.new(name="uv")
        layer.uv.foreach_set("vector", arrays[prefix + "uv"][faces.ravel()].ravel())
    for i, material in enumerate(thing["materials"]):
        mesh.materials.append(_material(bpy, material, arrays.get(f"{prefix}texture{i}")))
    mesh.update(calc_edges=True)
    mesh.normals_split_custom_set_from_vertices(arrays[prefix + "normals"].tolist())
    placed = _add_object(bpy, scene, mesh, thing["T_world_obj"])
    placed.pass_index = thing["instance_id"]
    return placed


def _material(bpy: Any, material: dict, texture: np.ndarray | None) -> Any:
    result = bpy.data.materials.new("material")
    result.use_nodes = True
    nodes, links = result.node_tree.nodes, result.node_tree.links
    principled = nodes["Principled BSDF"]
    color = (*material["albedo_linear"], 1.0)
    principled.inputs["Base Color"].default_value = color
    principled.inputs["Roughness"].default_value = material["roughness"]
    principled.inputs["Metallic"].default_value = material["metallic"]
    principled.inputs["IOR"].default_value = 1.5  # reflects 4 % head on, as in the OpenGL shader
    if texture is not None:
        image = nodes.new("ShaderNodeTexImage")
        image.image = _image(bpy, texture[::-1], is_float=False)
        links.new(image.outputs["Color"], principled.inputs["Base Color"])
    if material["transmissive"]:
        principled.inputs["Transmission Weight"].default_value = 1.0
        _let_light_through(nodes, links, principled, color)
    return result


def _let_light_through(nodes: Any, links: Any, principled: Any, color: tuple[float, ...]) -> None:
    """Glass tints the light that falls through it instead of stopping it: few samples never find its caustics."""
    path, through, mix = (nodes.new(f"ShaderNode{kind}") for kind in ("LightPath", "BsdfTransparent", "MixShader"))
    through.inputs["Color"].default_value = color
    links.new(path.outputs["Is Shadow Ray"], mix.inputs["Fac"])
    links.new(principled.outputs["BSDF"], mix.inputs[1])
    links.new(through.outputs["BSDF"], mix.inputs[2])
    links.new(mix.outputs["Shader"], nodes["Material Output"].inputs["Surface"])


def _image(bpy: Any, pixels: np.ndarray, is_float: bool) -> Any:
    """A Blender image of (h, w, 3) pixels, the bottom row first: linear floats, or sRGB bytes."""
    h, w = pixels.shape[:2]
    image = bpy.data.images.new("image", w, h, float_buffer=is_float)
    rgba = np.ones((h, w, 4), np.float32)
    rgba[..., :3] = pixels if is_float else pixels / np.float32(255.0)
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    return image


def _add_object(bpy: Any, scene: Any, data: Any, T_world: list) -> Any:
    from mathutils import Matrix

    thing = bpy.data.objects.new(data.name, data)
    thing.matrix_world = Matrix(T_world)
    scene.collection.objects.link(thing)
    return thing


def _write_passes(scene: Any, folder: Path) -> None:
    """Depth along z and object ids as images of their own; Blender adds the frame's number to their names."""
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_object_index = True
    scene.use_nodes = True
    nodes, links = scene.node_tree.nodes, scene.node_tree.links
    layers = next(n for n in nodes if n.type == "R_LAYERS")
    output = nodes.new("CompositorNodeOutputFile")
    output.base_path = str(folder)
    output.format.file_format, output.format.color_mode, output.format.color_depth = "OPEN_EXR", "RGB", "32"
    output.file_slots.clear()
    for slot, name in (("depth", "Depth"), ("ids", "IndexOB")):
        output.file_slots.new(slot)
        links.new(layers.outputs[name], output.inputs[slot])


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # Blender chats on standard output
    import bpy

    with tempfile.TemporaryDirectory(prefix="mkpose_cycles_") as folder:
        for request in sys.stdin:
            if request == "hello\n":
                answer = {"version": bpy.app.version_string, "folder": folder}
            else:
                answer = _try_to_draw(Path(folder))
            answers.write(json.dumps(answer) + "\n")


def _try_to_draw(folder: Path) -> dict:
    start = time.monotonic()
    try:
        draw(folder)
    except Exception as error:  # the parent raises it
        return {"failed": f"{type(error).__name__}: {error}"}
    return {"seconds": time.monotonic() - start}


if __name__ == "__main__":
    main()
