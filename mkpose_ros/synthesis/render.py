"""The renderer: OpenGL 3.3 off screen (moderngl over EGL); colour, depth, ids and NOCS maps in one pass.

On a machine without a GPU Mesa's llvmpipe draws on the CPU; on a GPU machine EGL picks the GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mkpose_ros.geometry.rotations import invert_pose
from mkpose_ros.synthesis import shaders
from mkpose_ros.synthesis.gpu import Mesh, MeshCache, Targets, open_context
from mkpose_ros.synthesis.lighting import irradiance_coefficients, linear_from_srgb, octahedral_levels
from mkpose_ros.synthesis.scene import Placed, Scene
from mkpose_ros.types import CameraIntrinsics

__all__ = ["Renderer", "Rendering", "projection"]

_NEAR_M, _FAR_M = 0.05, 30.0
_SHADOW_PX = 1024
_DARKENING = 0.05  # a sphere with this sine of its radius seen from a thing takes 1/400 of its light: too little


@dataclass(frozen=True)
class Rendering:
    """What one pass yields; arrays (H, W, ...), row 0 at the top."""

    radiance: np.ndarray  # (H, W, 3) float16 linear
    depth_m: np.ndarray  # (H, W) float32 along z, 0 where nothing is hit
    behind_m: np.ndarray  # (H, W) float32 the same without glass
    ids: np.ndarray  # (H, W) uint8, 0 is background
    handle: np.ndarray  # (H, W) bool
    nocs: np.ndarray  # (H, W, 3) float32, 0 outside objects
    cosine: np.ndarray  # (H, W) uint8, 255 |cos| between ray and surface normal
    infrared: np.ndarray  # (H, W) uint8 albedo that a depth sensor meets
    gloss: np.ndarray  # (H, W) uint8, 0 matt .. 200 mirror; 255 is glass
    whole_px: dict[int, float]  # pixels that each object would cover if nothing stood before it


def projection(intrinsics: CameraIntrinsics, near_m: float = _NEAR_M, far_m: float = _FAR_M) -> np.ndarray:
    """The (4, 4) clip matrix of a pinhole whose pixel centres are integers; image row 0 is the framebuffer's first.

    Pixel u has its centre at (u + 0.5) of the framebuffer, hence the half pixel beside the principal point.
    """
    k = intrinsics
    P = np.zeros((4, 4))
    P[0, 0], P[0, 2] = 2.0 * k.fx / k.width, (2.0 * k.cx + 1.0) / k.width - 1.0
    P[1, 1], P[1, 2] = 2.0 * k.fy / k.height, (2.0 * k.cy + 1.0) / k.height - 1.0
    P[2, 2], P[2, 3] = (far_m + near_m) / (far_m - near_m), -2.0 * far_m * near_m / (far_m - near_m)
    P[3, 2] = 1.0
    return P


class Renderer:
    """Draws scenes; owns an OpenGL context, so make it in the process that uses it. Meshes and
    textures stay on the GPU, oldest out.

    Raises DependencyError without moderngl, EngineError without a working EGL.
    """

    def __init__(self, cached_meshes: int = 256) -> None:
        self._gl = open_context()
        self._gl.front_face = "cw"  # the projections do not flip y, so outsides turn clockwise
        self._surfaces = {
            (mapped, glass): self._gl.program(shaders.SURFACE_VERTEX, shaders.surface_fragment(mapped, glass))
            for mapped in (False, True)
            for glass in (False, True)
        }
        self._background = self._gl.program(shaders.BACKGROUND_VERTEX, shaders.BACKGROUND_FRAGMENT)
        self._silhouette = self._gl.program(shaders.POSITION_VERTEX, shaders.EMPTY_FRAGMENT)
        self._sky = self._gl.vertex_array(self._background, [])
        self._meshes = MeshCache(self._gl, self._surfaces, self._silhouette, cached_meshes)
        self._shadow_map = self._gl.depth_texture((_SHADOW_PX, _SHADOW_PX))
        self._shadow_map.compare_func = "<="
        self._shadow_buffer = self._gl.framebuffer(depth_attachment=self._shadow_map)
        self._targets: dict[tuple[int, int], Targets] = {}
        self._environment: tuple | None = None  # the last image, its texture and harmonics

    @property
    def device(self) -> str:
        """What draws, such as "llvmpipe (LLVM 15.0.6, 256 bits)"."""
        return self._gl.info["GL_RENDERER"]

    def render(self, scene: Scene) -> Rendering:
        """Draw the scene as its camera sees it."""
        with self._gl:  # makes this renderer's context the current one: a process may have several
            return self._render(scene)

    def _render(self, scene: Scene) -> Rendering:
        k = scene.camera.intrinsics
        T_cam_world = invert_pose(scene.camera.T_world_cam)
        size = (k.width, k.height)
        if size not in self._targets:
            self._targets[size] = Targets(self._gl, size)
        targets = self._targets[size]
        things = _front_to_back(scene)
        drawn = [(thing, self._meshes.get(thing.shape)) for thing in things]
        shadow_from_world = self._draw_shadow(scene, drawn)
        self._set_frame(scene, shadow_from_world @ scene.camera.T_world_cam)
        self._gl.enable(self._gl.DEPTH_TEST)
        self._gl.depth_func = "<="  # the sky lies at the cleared depth
        targets.clear_depth()
        self._draw_surfaces(drawn, T_cam_world, transmissive=False)
        self._gl.disable(self._gl.CULL_FACE)
        self._sky.render(self._gl.TRIANGLES, vertices=3)  # last: it fills what is left, so no colour is cleared
        behind = None
        if any(g.material.transmissive for _, mesh in drawn for g in mesh.groups):
            behind = targets.read_geometry()[..., 3].copy()
            targets.copy_color()
            targets.buffer.use()
            targets.behind.use(3)
            self._draw_surfaces(drawn, T_cam_world, transmissive=True)
        whole = self._draw_silhouettes(targets, drawn, projection(k) @ T_cam_world)
        self._meshes.trim()
        code, geometry = targets.read_code(), targets.read_geometry()
        return Rendering(
            radiance=targets.read_radiance(),
            depth_m=geometry[..., 3],
            behind_m=geometry[..., 3] if behind is None else behind,
            ids=code[..., 0] & 127,
            handle=code[..., 0] >= 128,
            nocs=np.where((code[..., :1] & 127) > 0, geometry[..., :3], np.float32(0.0)),
            cosine=code[..., 1],
            infrared=code[..., 2],
            gloss=code[..., 3],
            whole_px=whole,
        )

    def close(self) -> None:
        """Free the OpenGL context and all that it holds."""
        self._gl.release()

    def _set_frame(self, scene: Scene, shadow_from_cam: np.ndarray) -> None:
        R_world_cam = scene.camera.T_world_cam[:3, :3]
        light = scene.lighting
        texture, harmonics = self._load_environment(light.environment)
        texture.use(1)
        self._shadow_map.use(2)
        k = scene.camera.intrinsics
        P = projection(k)
        for program in (*self._surfaces.values(), self._background):
            program["R_world_cam"].write(_gl(R_world_cam))
            program["environment"].value = 1
        self._background["pinhole"].value = (P[0, 0], P[1, 1], P[0, 2], P[1, 2])
        for (mapped, glass), s in self._surfaces.items():
            s["projection"].write(_gl(P))
            s["shadow_from_cam"].write(_gl(shadow_from_cam))
            s["irradiance"].write(harmonics.astype("f4").tobytes())
            s["environment_levels"].value = 4.0
            s["light_dir"].value = tuple(R_world_cam.T @ light.light_dir_world)
            s["light_radiance"].value = tuple(float(v) for v in light.light_radiance)
            s["shadow_map"].value = 2
            s["shadow_blur"].value = float(light.shadow_blur_m * 0.5 * np.linalg.norm(shadow_from_cam[0, :3]))
            if mapped:
                s["albedo_map"].value = 0
            if glass:
                s["behind"].value = 3

    def _draw_surfaces(self, drawn: list, T_cam_world: np.ndarray, transmissive: bool) -> None:
        casters = [thing for thing, _ in drawn if thing.casts_shadow][: shaders.MAX_BLOCKERS]
        spheres = {id(thing): _blocker(thing) for thing in casters}
        for thing, mesh in drawn:
            blockers, count = _blockers_of(thing, spheres, T_cam_world)
            for group in mesh.groups:
                material = group.material
                if material.transmissive != transmissive:
                    continue
                self._leave_out_backs(mesh)
                s = self._surfaces[group.kind]
                s["T_cam_obj"].write(_gl(T_cam_world @ thing.T_world_obj))
                s["nocs_scale"].value = 1.0 / max(float(np.linalg.norm(thing.shape.size_m)), 1e-6)
                s["instance_id"].value = thing.instance_id
                s["blockers"].write(blockers)
                s["blocker_count"].value = count
                s["roughness"].value = float(np.clip(material.roughness, 0.03, 1.0))
                s["metallic"].value = float(material.metallic)
                if group.texture is not None:
                    group.texture.use(0)
                else:
                    s["albedo"].value = tuple(float(v) for v in linear_from_srgb(np.array(material.albedo)))
                mesh.surfaces[group.kind].render(self._gl.TRIANGLES, vertices=group.count, first=group.first)

    def _leave_out_backs(self, mesh: Mesh) -> None:
        """Skip what faces away where other faces hide it: shaded first, it would double the work."""
        (self._gl.enable if mesh.closed else self._gl.disable)(self._gl.CULL_FACE)

    def _draw_shadow(self, scene: Scene, drawn: list) -> np.ndarray:
        """Fill the shadow map; the (4, 4) clip matrix of the light from the world."""
        casters = [(t, m) for t, m in drawn if t.casts_shadow]
        clip = _light_matrix(scene.lighting.light_dir_world, [t for t, _ in casters])
        self._shadow_buffer.use()
        self._shadow_buffer.clear(depth=1.0)
        self._gl.enable(self._gl.DEPTH_TEST)
        for thing, mesh in casters:
            self._leave_out_backs(mesh)
            self._silhouette["clip_from_obj"].write(_gl(clip @ thing.T_world_obj))
            mesh.silhouette.render(self._gl.TRIANGLES)
        return clip

    def _draw_silhouettes(self, targets: Targets, drawn: list, clip_from_world: np.ndarray) -> dict[int, float]:
        """How many pixels each object would cover alone in the image, from drawings side by side in one buffer."""
        objects = [(t, m) for t, m in drawn if t.instance_id]
        counts: dict[int, float] = {}
        self._gl.disable(self._gl.DEPTH_TEST)
        for start in range(0, len(objects), targets.tile_count):
            batch = objects[start : start + targets.tile_count]
            targets.tiles.use()
            targets.tiles.clear()
            for i, (thing, mesh) in enumerate(batch):
                self._leave_out_backs(mesh)
                targets.tiles.viewport = targets.tile(i)
                self._silhouette["clip_from_obj"].write(_gl(clip_from_world @ thing.T_world_obj))
                mesh.silhouette.render(self._gl.TRIANGLES)
            counts |= {t.instance_id: n for (t, _), n in zip(batch, targets.count_tiles(), strict=False)}
        self._gl.enable(self._gl.DEPTH_TEST)
        return counts

    def _load_environment(self, image: np.ndarray) -> tuple[object, np.ndarray]:
        if self._environment is None or self._environment[0] is not image:
            if self._environment is not None:
                self._environment[1].release()
            levels = octahedral_levels(image)
            texture = self._gl.texture(levels[0].shape[:2], 4, dtype="f4")
            texture.build_mipmaps(0, len(levels) - 1)
            for level, blurred in enumerate(levels):
                texture.write(blurred.tobytes(), level=level)
            texture.filter = (self._gl.LINEAR_MIPMAP_NEAREST, self._gl.LINEAR)
            texture.repeat_x = texture.repeat_y = False
            self._environment = (image, texture, irradiance_coefficients(image))
        return self._environment[1], self._environment[2]


def _gl(matrix: np.ndarray) -> bytes:
    """A matrix as OpenGL takes it: float32, column by column."""
    return np.asarray(matrix, dtype=np.float32).T.tobytes()


def _front_to_back(scene: Scene) -> list[Placed]:
    """The things in an order in which most hidden pixels are never shaded: small ones by distance, then the room's."""
    eye = scene.camera.T_world_cam[:3, 3]
    return sorted(scene.things, key=lambda thing: (not thing.casts_shadow, float(_distance(thing, eye))))


def _distance(thing: Placed, points: np.ndarray) -> np.ndarray:
    """From a thing's box to points (..., 3) of the world."""
    half = 0.5 * thing.shape.size_m
    local = (points - thing.T_world_obj[:3, 3]) @ thing.T_world_obj[:3, :3]
    return np.linalg.norm(local - np.clip(local, -half, half), axis=-1)


def _blockers_of(thing: Placed, spheres: dict[int, np.ndarray], T_cam_world: np.ndarray) -> tuple[bytes, int]:
    """The shader's table of the spheres that darken a thing, in the camera frame, and how many they are."""
    table = np.zeros((shaders.MAX_BLOCKERS, 4), np.float32)
    others = np.reshape([sphere for key, sphere in spheres.items() if key != id(thing)], (-1, 4))
    others = others[others[:, 3] > _DARKENING * _distance(thing, others[:, :3])]
    table[: len(others), :3] = others[:, :3] @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
    table[: len(others), 3] = others[:, 3]
    return table.tobytes(), len(others)


def _blocker(thing: Placed) -> np.ndarray:
    """The sphere (x, y, z, radius) that stands for a thing when it darkens its surroundings: its lower part."""
    size = np.abs(thing.T_world_obj[:3, :3]) @ thing.shape.size_m  # of the upright box in the world
    radius = 0.5 * min(size[2], 0.5 * (size[0] + size[1]))
    centre = thing.T_world_obj[:3, 3] - [0.0, 0.0, 0.5 * size[2] - radius]
    return np.array([*centre, radius])


def _light_matrix(light_dir: np.ndarray, casters: list[Placed]) -> np.ndarray:
    """The (4, 4) orthographic clip matrix of a far light that covers the sphere around all casters."""
    if not casters:
        return np.eye(4)
    centres = np.array([t.T_world_obj[:3, 3] for t in casters])
    radii = np.array([0.5 * np.linalg.norm(t.shape.size_m) for t in casters])
    middle = 0.5 * (centres.min(axis=0) + centres.max(axis=0))
    radius = float(np.max(np.linalg.norm(centres - middle, axis=1) + radii)) * 1.02
    z = -light_dir
    x = np.cross(z, [1.0, 0.0, 0.0] if abs(z[0]) < 0.9 else [0.0, 1.0, 0.0])
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z]) / radius
    M = np.eye(4)
    M[:3, :3], M[:3, 3] = R, -R @ middle
    return M
